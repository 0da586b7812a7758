"""Which models answer: loaded, proven, swapped while the service runs, tried beside each other."""
