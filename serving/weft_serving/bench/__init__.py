"""`weft bench`: what a request costs here, against the same work with nothing around it."""
