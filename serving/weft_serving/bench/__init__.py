"""`weft bench`: what a request costs here, against the same work with nothing around it."""

PARTS = ("photo", "photo_mark", "frame_http", "frame_ws", "start", "overload")
