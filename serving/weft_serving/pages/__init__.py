"""What people see: one page with two tabs, drawn by plain modules on the public API. No bundler."""

from weft_serving.pages.router import install

__all__ = ["install"]
