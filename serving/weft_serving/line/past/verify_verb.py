"""What `weft line verify` does and says, in the order in which it is usually asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from weft.errors import LineError
from weft_serving.line.past.checks import Checks
from weft_serving.line.past.purity import CONFIDENCE, Purity
from weft_serving.line.past.verify import export_checked, measured_lanes, take_sheet, write_sheet
from weft_serving.store import Store


@dataclass(frozen=True, slots=True)
class Asked:
    """The verb's options; None: not asked."""

    draw: int | None
    lanes: tuple[str, ...]
    start: datetime
    end: datetime
    seed: int | None
    sheet: Path | None
    checked: Path | None
    manifest: Path | None


def verify_line(store: Store, line: str, asked: Asked) -> Iterator[str]:
    """Do what was asked and say it, a line each.

    Raises:
        LineError: Nothing can be drawn or measured, or the filled sheet cannot be taken.
        StoreError: The database or a file cannot be used.
    """
    checks = Checks(store)
    if asked.checked is not None:
        yield f"{asked.checked}: took the truth of {take_sheet(store, line, asked.checked)} pieces"
    if asked.draw is not None:
        yield from _draw(checks, line, asked)
    if asked.sheet is not None:
        drawn = checks.drawn(line, checked=False)
        if not drawn:
            raise LineError(f"no piece of line {line!r} waits to be checked; draw some with --draw 50")
        for path in write_sheet(drawn, asked.sheet):
            yield f"{path}: {len(drawn)} pieces to check"
    if asked.manifest is not None:
        yield f"{asked.manifest}: {export_checked(store, line, asked.manifest)} hand-checked pieces"
    if asked.draw is None and asked.sheet is None and asked.manifest is None:
        yield from _result(store, checks, line)


def _draw(checks: Checks, line: str, asked: Asked) -> Iterator[str]:
    there = checks.lanes(line)
    strange = [lane for lane in asked.lanes if lane not in there]
    if strange or not there:
        known = ", ".join(there) or "none"
        what = f"lane {strange[0]!r}" if strange else "any lane"
        raise LineError(f"no piece of line {line!r} went to {what}; lanes with pieces: {known}")
    for lane in asked.lanes or there:
        assert asked.draw is not None
        found = checks.draw(line, lane, asked.start, asked.end, most=asked.draw, seed=asked.seed)
        start, end = (moment.isoformat(" ", "minutes") for moment in (asked.start, asked.end))
        yield f"{lane}: drew {len(found)} of the pieces seen from {start} to {end}"


def _result(store: Store, checks: Checks, line: str) -> Iterator[str]:
    drawn = checks.drawn(line)
    if not drawn:
        raise LineError(f"no piece of line {line!r} was ever drawn; draw some with --draw 50 --sheet FILE")
    found = measured_lanes(store, line)
    open_ones = sum(each.truth is None for each in drawn)
    if open_ones:
        yield f"{open_ones} of {len(drawn)} drawn pieces are not checked; they may be the odd ones"
    if any(each.decision.simulated for each in drawn):
        yield "simulated pieces are among them: this says nothing of a real plant"
    if not found:
        raise LineError(f"no drawn piece of line {line!r} is checked; give the filled sheet with --checked")
    yield f"measured purity, {CONFIDENCE:.0%} interval (Clopper and Pearson by piece, bootstrap by mass):"
    yield from (_said(purity) for purity in found)


def _said(found: Purity) -> str:
    said = (
        f"  {found.lane}: {found.share:.1%} of pieces ({found.low:.1%} to {found.high:.1%}), "
        f"{found.right} of {found.checked} right"
    )
    if found.mass_share is not None:
        said += f"; {found.mass_share:.1%} by mass"
    if found.mass_low is not None and found.mass_high is not None:
        said += f" ({found.mass_low:.1%} to {found.mass_high:.1%})"
    return said
