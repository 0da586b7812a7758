"""A report's drawings as SVG text: no library, no script, sharp on paper."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from html import escape
from typing import Final

from weft_serving.line.past.report import Latency, Shift

COLOURS: Final = (
    "#2a6f97", "#c8553d", "#588157", "#b8860b", "#8e5572",
    "#3d8f8b", "#7f5539", "#6a7fc1", "#9b2226", "#6a994e",
)  # fmt: skip
GREY: Final = "#a9b2ae"
ALARM: Final = "#b03030"
_WIDE: Final = 720
_LEFT: Final = 92
_RIGHT: Final = 14


def colours(names: Sequence[str], *, grey: str = "") -> dict[str, str]:
    """A colour for each name, in order; one of them may be grey."""
    coloured = [name for name in names if name != grey]
    found = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(coloured)}
    return found | ({grey: GREY} if grey in names else {})


def lane_bars(shift: Shift, shown: Sequence[str], painted: Mapping[str, str]) -> str:
    """Each lane's kilograms, divided by fibre, with the margin of their sum as a whisker.

    Args:
        shown: Fibres with a colour of their own; the others are drawn together in grey.
    """
    most = max((lane.total.high for lane in shift.lanes.values()), default=0.0)
    if most <= 0:
        return ""
    step, high, parts = 34, 26, list[str]()
    scale = (_WIDE - _LEFT - _RIGHT) / most
    tick = round_step(most / 1000, 6)
    count = int(most / 1000 / tick)
    bottom = step * len(shift.lanes)
    for place in range(count + 1):
        x = _LEFT + 1000 * tick * place * scale
        parts.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{bottom}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{tick * place:g} kg</text>')
    for row, lane in enumerate(shift.lanes.values()):
        y, x = row * step + 4, float(_LEFT)
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 17}" text-anchor="end">{escape(lane.lane)}</text>')
        for fibre in (*shown, ""):
            grams = _grams(shift, lane.lane, fibre, shown)
            if grams <= 0:
                continue
            said = f"{lane.lane}, {fibre or 'other fibres'}: {grams / 1000:.1f} kg"
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{grams * scale:.1f}" height="{high}" '
                f'fill="{painted.get(fibre, GREY)}"><title>{escape(said)}</title></rect>'
            )
            x += grams * scale
        low, top = (_LEFT + value * scale for value in (lane.total.low, lane.total.high))
        middle = y + high / 2
        parts.append(f'<path d="M{low:.1f} {middle - 5}v10m0-5H{top:.1f}m0-5v10" class="whisker"/>')
    return _svg(parts, bottom + 22, "Kilograms by lane and fibre")


def time_columns(shift: Shift, painted: Mapping[str, str], zone: tzinfo) -> str:
    """Pieces by lane over the shift, one column a bin, and under it when an alarm was on."""
    length = (shift.end - shift.start).total_seconds()
    most = max((sum(each.pieces.values()) for each in shift.bins.values()), default=0)
    if most == 0:
        return ""
    floor, foot, parts = 150, 168, list[str]()
    wide = _WIDE - _LEFT - _RIGHT
    step = wide * shift.bin_s / length
    scale = (floor - 10) / most
    for place, found in shift.bins.items():
        y = float(floor)
        start = _clock(found.start, zone)
        for lane, number in ((name, found.pieces.get(name, 0)) for name in shift.lanes):
            if number:
                y -= number * scale
                x = _LEFT + place * step + 0.5
                broad = max(0.5, min(step - 1, _WIDE - _RIGHT - x))  # the last one may end after the shift
                parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{broad:.1f}" '
                    f'height="{number * scale:.1f}" fill="{painted.get(lane, GREY)}">'
                    f"<title>{start}, {escape(lane)}: {number} pieces</title></rect>"
                )
    for alarm in shift.alarms:
        begun = max(0.0, (alarm.since - shift.start).total_seconds())
        x, long = _LEFT + wide * begun / length, wide * shift.alarm_s(alarm) / length
        parts.append(
            f'<rect x="{x:.1f}" y="{floor + 4}" width="{max(2.0, long):.1f}" height="8" fill="{ALARM}">'
            f"<title>{escape(alarm.code)} from {_clock(alarm.since, zone)}</title></rect>"
        )
    parts.append(f'<line x1="{_LEFT}" y1="{floor}" x2="{_WIDE - _RIGHT}" y2="{floor}" class="axis"/>')
    parts.append(f'<text x="{_LEFT - 8}" y="{floor + 12}" text-anchor="end">alarms</text>')
    parts.append(f'<text x="{_LEFT - 8}" y="18" text-anchor="end">{most}</text>')
    parts.append(f'<text x="{_LEFT - 8}" y="32" text-anchor="end">in {span(shift.bin_s)}</text>')
    for share in range(5):
        moment = shift.start + (shift.end - shift.start) * (share / 4)
        anchor = ("start", "middle", "middle", "middle", "end")[share]
        x = _LEFT + wide * share / 4
        parts.append(
            f'<text x="{x:.1f}" y="{foot + 14}" text-anchor="{anchor}">{_clock(moment, zone)}</text>'
        )
    return _svg(parts, foot + 20, "Pieces over time by lane")


def latency_columns(latency: Latency) -> str:
    """How long decisions took, up to the slowest of a thousand."""
    most = max(latency.counts)
    floor, parts = 110, list[str]()
    step = (_WIDE - _LEFT - _RIGHT) / len(latency.counts)
    for place, count in enumerate(latency.counts):
        tall = (floor - 10) * count / most
        said = f"{latency.edges_ms[place]:.0f} to {latency.edges_ms[place + 1]:.0f} ms: {count} pieces"
        parts.append(
            f'<rect x="{_LEFT + place * step + 0.5:.1f}" y="{floor - tall:.1f}" width="{step - 1:.1f}" '
            f'height="{tall:.1f}" fill="{COLOURS[0]}"><title>{said}</title></rect>'
        )
    top = latency.edges_ms[-1]
    for name, value in (("half", latency.half), ("99 of 100", latency.p99)):
        x = _LEFT + (_WIDE - _LEFT - _RIGHT) * min(1.0, value / top)
        side = "end" if value > 0.8 * top else "start"
        parts.append(f'<line x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="{floor}" class="mark"/>')
        parts.append(
            f'<text x="{x + (-5 if side == "end" else 5):.1f}" y="14" text-anchor="{side}">'
            f"{name}: {value:.0f} ms</text>"
        )
    parts.append(f'<line x1="{_LEFT}" y1="{floor}" x2="{_WIDE - _RIGHT}" y2="{floor}" class="axis"/>')
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        x = _LEFT + (_WIDE - _LEFT - _RIGHT) * share
        parts.append(f'<text x="{x:.1f}" y="{floor + 16}" text-anchor="{anchor}">{top * share:.0f} ms</text>')
    parts.append(f'<text x="{_LEFT - 8}" y="18" text-anchor="end">{most}</text>')
    return _svg(parts, floor + 22, "Time to decide")


def span(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def round_step(most: float, ticks: int) -> float:
    """A round step that divides 0 to `most` into at most so many."""
    tens = 10.0 ** (len(str(int(most / ticks))) - 3)
    steps = (tens * factor * ten for ten in (1, 10, 100, 1000) for factor in (1, 2, 5))
    return next((step for step in steps if step > 0 and most / step <= ticks), most or 1.0)


def _grams(shift: Shift, lane: str, fibre: str, shown: Sequence[str]) -> float:
    """Of one fibre in one lane; of all that are not shown for the empty name."""
    if fibre:
        found = shift.balance.get((lane, fibre))
        return found.grams if found else 0.0
    return sum(total.grams for (at, name), total in shift.balance.items() if at == lane and name not in shown)


def _clock(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).strftime("%H:%M")


def _svg(parts: Sequence[str], high: float, said: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDE} {high:.0f}" role="img" aria-label="{escape(said)}">{"".join(parts)}</svg>'
    )
