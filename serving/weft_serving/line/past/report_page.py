"""A shift's report as one HTML file, with its tables once more as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, Final

import jinja2

from weft_serving.line.past.balance import COVERAGE, NO_COMPOSITION, Total
from weft_serving.line.past.purity import CONFIDENCE, Purity
from weft_serving.line.past.report import LaneSum, Shift
from weft_serving.line.past.report_drawings import (
    GREY,
    colours,
    lane_bars,
    latency_columns,
    span,
    time_columns,
)
from weft_serving.line.stream.whole_files import write_whole

_PAGES: Final = Path(__file__).parents[2] / "pages"
_MOST_FIBRES: Final = 7  # columns of a table that is still read on a phone; the others are summed up
_MOST_ALARMS: Final = 40  # one by one; a longer list is in the table
_OTHERS: Final = "other fibres"


def report_html(shift: Shift) -> str:
    """Nothing to fetch and no script; times are those of the zone in which the report was asked for."""
    zone = shift.start.tzinfo
    assert zone is not None
    fibres = [name for name in shift.fibres if name != NO_COMPOSITION]
    shown = fibres[:_MOST_FIBRES] if len(fibres) > _MOST_FIBRES + 1 else fibres
    painted, lanes = colours(shown), colours(list(shift.lanes), grey=shift.rest)
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_PAGES), autoescape=True)
    environment.filters |= {"kg": _kg, "percent": _percent, "span": span}
    return environment.get_template("line_report.html").render(
        shift=shift,
        clock=partial(_clock, zone=zone),
        zone=shift.start.strftime("UTC%z"),
        lanes=list(shift.lanes.values()),
        fibres=_columns(shift, shown),
        rows={lane: _row(shift, lane, shown) for lane in shift.lanes},
        sums=_sums(shift, shown),
        recovered=_recovered(shift, shown),
        fibre_keys=[
            *painted.items(),
            *([(_OTHERS, GREY)] if len(_columns(shift, shown)) > len(shown) else []),
        ],
        lane_keys=list(lanes.items()),
        bars=lane_bars(shift, shown, painted),
        times=time_columns(shift, lanes, zone),
        latencies=latency_columns(shift.latency) if shift.latency else "",
        measured={lane.lane: _measured(lane.measured) for lane in shift.lanes.values()},
        minutes=_minutes(shift),
        alarm_kinds=_alarm_kinds(shift),
        most_alarms=_MOST_ALARMS,
        coverage=COVERAGE,
        confidence=CONFIDENCE,
    )


def write_report(shift: Shift, out: Path, csv_out: Path | None) -> list[Path]:
    """Write the page, and the tables as NAME.csv, NAME-lanes.csv, NAME-alarms.csv and NAME-times.csv.

    Args:
        csv_out: NAME.csv, the mass balance; the others lie beside it.

    Raises:
        StoreError: A file cannot be written.
    """
    files = {out: report_html(shift)}
    if csv_out is not None:
        for name, rows in report_tables(shift).items():
            end = f"-{name}" if name != "balance" else ""
            files[csv_out.with_name(f"{csv_out.stem}{end}{csv_out.suffix or '.csv'}")] = _csv(rows)
    for path, text in files.items():
        write_whole(path, text.encode())
    return list(files)


def report_tables(shift: Shift) -> dict[str, list[dict[str, Any]]]:
    """The tables as plain rows. Times are UTC; `low` and `high` if pieces err independently, `least` and
    `most` if all err one way."""
    balance = [
        {"lane": lane, "fibre": fibre, "pieces": total.pieces, **_grams(total)}
        | {"share_of_fibre": round(shift.recovery(lane, fibre) or 0.0, 4), "simulated": shift.simulated > 0}
        for lane in shift.lanes
        for fibre in shift.fibres
        if (total := shift.balance.get((lane, fibre))) is not None
    ]
    return {
        "balance": balance,
        "lanes": [_lane_row(shift, lane) for lane in shift.lanes.values()],
        "alarms": [
            {
                "code": alarm.code,
                "since": alarm.since.isoformat(),
                "until": alarm.until.isoformat() if alarm.until else "",
                "seconds_in_shift": round(shift.alarm_s(alarm), 1),
                "count": alarm.count,
                "cause": alarm.cause,
            }
            for alarm in shift.alarms
        ],
        "times": [
            {"start": each.start.isoformat(), "seconds": shift.bin_s, "grams": round(each.grams, 1)}
            | {f"pieces_{lane}": each.pieces.get(lane, 0) for lane in shift.lanes}
            for each in shift.bins.values()
        ],
    }


def _lane_row(shift: Shift, lane: LaneSum) -> dict[str, Any]:
    found = lane.measured
    return {
        "lane": lane.lane,
        "pieces": lane.pieces,
        "without_mass": lane.without_mass,
        **_grams(lane.total),
        **{f"{name}_here": lane.outcomes.get(name, 0) for name in ("fired", "passed", "late", "held")},
        "late_for_it": lane.missed.get("late", 0),
        "held_for_it": lane.missed.get("held", 0),
        "missed_grams": round(lane.missed_grams, 1),
        "expected_purity": _rounded(lane.expected),
        "checked": found.checked if found else 0,
        "right": found.right if found else "",
        "measured_purity": _rounded(found.share if found else None),
        "measured_low": _rounded(found.low if found else None),
        "measured_high": _rounded(found.high if found else None),
        "measured_purity_by_mass": _rounded(found.mass_share if found else None),
        "measured_by_mass_low": _rounded(found.mass_low if found else None),
        "measured_by_mass_high": _rounded(found.mass_high if found else None),
        "simulated": shift.simulated > 0,
    }


def _grams(total: Total) -> dict[str, float]:
    values = {
        "": total.grams,
        "_low": total.low,
        "_high": total.high,
        "_least": total.least,
        "_most": total.most,
    }
    return {f"grams{name}": round(value, 1) for name, value in values.items()}


def _columns(shift: Shift, shown: Sequence[str]) -> list[str]:
    left_over = [name for name in shift.fibres if name not in shown and name != NO_COMPOSITION]
    none = [NO_COMPOSITION] if NO_COMPOSITION in shift.fibres else []
    return [*shown, *([_OTHERS] if left_over else []), *none]


def _row(shift: Shift, lane: str, shown: Sequence[str]) -> list[Total]:
    parts = {fibre: total for (at, fibre), total in shift.balance.items() if at == lane}
    return _totals(parts, _columns(shift, shown), shown)


def _sums(shift: Shift, shown: Sequence[str]) -> list[Total]:
    return _totals(shift.fibres, _columns(shift, shown), shown)


def _totals(parts: Mapping[str, Total], columns: Sequence[str], shown: Sequence[str]) -> list[Total]:
    found = {name: Total() for name in columns}
    for fibre, total in parts.items():
        into = found[fibre if fibre in shown or fibre == NO_COMPOSITION else _OTHERS]
        into.pieces += total.pieces
        into.grams += total.grams
        into.variance += total.variance
        into.least += total.least
        into.most += total.most
    return [found[name] for name in columns]


def _recovered(shift: Shift, shown: Sequence[str]) -> list[tuple[str, list[float | None]]]:
    """For each fibre the share of its mass that each lane got."""
    return [
        (fibre, [shift.recovery(lane, fibre) for lane in shift.lanes])
        for fibre in shown
        if shift.fibres[fibre].grams >= 0.001 * max(1.0, shift.total.grams)
    ]


def _alarm_kinds(shift: Shift) -> list[tuple[str, int, float]]:
    """Code, how often, seconds in all; the longest first."""
    codes = {alarm.code for alarm in shift.alarms}
    found = [
        (code, [shift.alarm_s(alarm) for alarm in shift.alarms if alarm.code == code])
        for code in sorted(codes)
    ]
    return sorted(((code, len(each), sum(each)) for code, each in found), key=lambda kind: -kind[2])


def _minutes(shift: Shift) -> float:
    """From the first piece to the last; pauses count."""
    if shift.first is None or shift.last is None:
        return 0.0
    return max(1.0, (shift.last - shift.first).total_seconds() / 60)


def _measured(found: Purity | None) -> str:
    if found is None:
        return ""
    said = (
        f"{_percent(found.share)} ({_percent(found.low)} to {_percent(found.high)}), "
        f"{found.right} of {found.checked} pieces"
    )
    if found.mass_share is None:
        return said
    said += f"; by mass {_percent(found.mass_share)}"
    if found.mass_low is None or found.mass_high is None:
        return said
    return f"{said} ({_percent(found.mass_low)} to {_percent(found.mass_high)})"


def _kg(grams: float) -> str:
    kg = grams / 1000
    return f"{kg:,.0f}" if kg >= 100 else f"{kg:.1f}" if kg >= 1 else f"{kg:.2f}"


def _percent(share: float | None) -> str:
    if share is None or 0 < share < 0.0005:
        return ""
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if 0.9 < share < 1 or 0 < share < 0.1 else f"{100 * share:.0f} %"


def _rounded(share: float | None) -> float | str:
    return "" if share is None else round(share, 4)


def _clock(moment: datetime, zone: tzinfo) -> str:
    return moment.astimezone(zone).strftime("%d %b %H:%M:%S")


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
