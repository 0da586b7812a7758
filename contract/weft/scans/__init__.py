"""Readers of scan files: each kind in a module, `read_scan` in front of them that looks at the content."""

from weft.scans.open import read_scan, read_scan_path

__all__ = ["read_scan", "read_scan_path"]
