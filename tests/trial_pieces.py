"""Rows of a trial's table of pieces, as `weft line plan` reads them; for `runpy`, as tests are no package."""

from typing import Any


def row(cotton: float, margin: float, truth: dict[str, float], **fields: Any) -> dict[str, Any]:
    """A piece of cotton and polyester, read with these shares and margins, and what it truly was."""
    shares = [
        {"fibre": name, "share": share, "low": max(0.0, share - margin), "high": min(1.0, share + margin)}
        for name, share in (("cotton", cotton), ("polyester", 1 - cotton))
    ]
    return {
        "line": "demo",
        "number": 1,
        "seen_at": "2026-05-04T10:00:00Z",
        "place": {"first_mm": 0, "last_mm": 600, "left_mm": 100, "right_mm": 500},
        "outline_mm": [],
        "area_cm2": 2_400,
        "pixels": 900,
        "voted": 800,
        "unknown": 0.02,
        "bundle_sha256": "0",
        "shares": shares,
        "mass": {"grams": 200, "low_grams": 150, "high_grams": 260},
        "truth": truth,
        **fields,
    }
