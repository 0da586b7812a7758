"""Lanes as a table for a terminal."""

from collections.abc import Sequence

from weft.line.description import LineDescription
from weft.line.lanes import Finding, LaneRules
from weft.line.rule_tree import number


def lanes_table(rules: LaneRules, description: LineDescription) -> str:
    """One row a lane, in the order of the belt."""
    position = {ejector.name: ejector.position_mm for ejector in description.ejectors}
    ordered = sorted(rules.lanes, key=lambda lane: position.get(lane.ejector or "", float("inf")))
    rows = [("lane", "takes", "ejector", "contamination", "price per kg")]
    for lane in ordered:
        at = f"{lane.ejector} at {position[lane.ejector]:g} mm" if lane.ejector in position else "none"
        most = f"at most {number(100 * lane.max_contamination)} %"
        rows.append((lane.name, lane.take, at, most, f"{lane.price_per_kg:.2f}"))
    rows.append((rules.rest, "everything else", "none", "any", f"{rules.rest_price_per_kg:.2f}"))
    return columns(rows)


def findings_text(findings: Sequence[Finding]) -> str:
    return "\n".join(f"{finding.level}: {finding}" for finding in findings)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equally many cells, set under each other."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
