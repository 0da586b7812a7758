"""Weft weighs and sorts used clothes by sight. This package is what training and serving agree on."""

__version__ = "0.1.0"
