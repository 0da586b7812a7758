"""A plan as one HTML page that needs nothing else: a table, and for each lane its curve as SVG."""

import html
import math
from typing import Final

import numpy as np

from weft.line.plan import LanePlan, Plan, Yield
from weft.line.rule_tree import number

_WIDE, _HIGH = 360, 270  # of one drawing, about a phone's width, so that letters keep their size there
_LEFT, _RIGHT, _TOP, _FOOT = 44, 346, 14, 226
_INK, _CURVE, _LIMIT, _FAINT = "#22313f", "#2b6f9e", "#c8692b", "#dfe4e8"
_STYLE: Final = """
:root { color-scheme: light }
body { margin: 0 auto; max-width: 1160px; padding: 16px; font: 15px/1.45 system-ui, sans-serif;
       color: #22313f; background: #f5f7f8 }
h1 { font-size: 22px; margin: 0 0 4px } h2 { font-size: 17px; margin: 0; overflow-wrap: anywhere }
p { margin: 4px 0 } .mind { background: #fdf0e6; border-left: 4px solid #c8692b; padding: 8px 12px }
.wide { overflow-x: auto; margin: 14px 0 } table { border-collapse: collapse; background: #fff; width: 100% }
th, td { padding: 6px 10px; text-align: right; border-bottom: 1px solid #dfe4e8; white-space: nowrap }
th:first-child, td:first-child { text-align: left } thead th { font-weight: 600; vertical-align: bottom }
.lanes { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)) }
figure { margin: 0; padding: 12px; background: #fff; border-radius: 8px; display: flex;
         flex-direction: column }
figcaption { margin-bottom: 6px } svg { width: 100%; height: auto; margin-top: auto }
code { font-size: 13px; overflow-wrap: anywhere } .bad { color: #a8321e; font-weight: 600 }
small { color: #5b6b78 }
"""


def draw_plan(plan: Plan) -> str:
    """The whole page, which loads nothing."""
    mind = (
        '<p class="mind">Measured on <b>simulated</b> pieces: it shows how these rules weigh purity against '
        "recovery, not what a plant's own clothes will yield.</p>"
        if plan.simulated
        else ""
    )
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Purity against recovery, rules {plan.rules.version}</title>",
            f"<style>{_STYLE}</style></head><body>",
            "<h1>Purity against recovery</h1>",
            f"<p>Rules <code>{plan.rules.version}</code> on {plan.pieces:,} pieces of known composition, "
            f"{plan.kilograms:,.1f} kg, of which {plan.rest_kilograms:,.1f} kg "
            f"({plan.rest_kilograms / plan.kilograms:.0%}) go to {html.escape(plan.rules.rest)}.</p>",
            mind,
            _table(plan),
            '<div class="lanes">',
            *(_figure(lane) for lane in plan.lanes),
            "</div>",
            "<p><small>Purity: of the grams in a lane, the share that truly belongs there, with its 95 % "
            "interval by the number of pieces. Recovery: of the grams that truly belong there, the share "
            "that is in it. By value alone: where every piece would go if no lane had a limit.</small></p>",
            "</body></html>",
        ]
    )


def percent(value: float | None, digits: int = 1) -> str:
    return "none" if value is None else f"{100 * value:.{digits}f} %"


def purity_words(found: Yield) -> str:
    """`97.8 % (95.1 to 99.0)`"""
    if found.purity is None or found.purity_low is None or found.purity_high is None:
        return "none came"
    return f"{percent(found.purity)} ({100 * found.purity_low:.1f} to {100 * found.purity_high:.1f})"


def _table(plan: Plan) -> str:
    rows: list[str] = []
    for each in plan.lanes:
        name, needed = html.escape(each.lane.name), 100 * (1 - each.lane.max_contamination)
        bad = ' class="bad"' if each.verdict == "passed" else ""
        cells = (
            f"{each.belonging:,}",
            f"{each.held.pieces:,}",
            f"{number(needed)} %",
            f"<span{bad}>{purity_words(each.held)}</span>",
            percent(each.held.recovery),
            percent(each.free.recovery),
            percent(each.lost),
            f"{each.value:,.2f}",
        )
        rows.append(f"<tr><td>{name}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = (
        "lane",
        "belong",
        "taken",
        "needed purity",
        "purity",
        "recovery",
        "by value alone",
        "lost to the limit",
        "value",
    )
    head = "".join(f"<th>{word}</th>" for word in heads)
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _figure(plan: LanePlan) -> str:
    lane = plan.lane
    return (
        f"<figure><figcaption><h2>{html.escape(lane.name)}</h2><p><code>{html.escape(lane.take)}</code></p>"
        f"<p>{_verdict(plan)}</p></figcaption>{draw_lane(plan)}</figure>"
    )


def _verdict(plan: LanePlan) -> str:
    if not plan.belonging:
        return "No piece of the table belongs here."
    if plan.held.purity is None:
        return "Nothing was sure enough to be taken."
    said = f"{percent(plan.held.recovery)} of it recovered, {percent(plan.held.purity)} pure"
    if plan.lost is not None and plan.lost >= 0.0005:
        said += (
            f"; its limit of {percent(plan.lane.max_contamination)} costs {percent(plan.lost)} of recovery"
        )
    elif plan.verdict == "kept":
        said += "; its limit costs nothing"
    if plan.verdict == "luck":
        return f"{said}. That is less than needed, by no more than luck may do to {plan.held.pieces} pieces."
    return f"{said}." if plan.verdict == "kept" else f'<span class="bad">{said}: its limit is passed.</span>'


def draw_lane(plan: LanePlan) -> str:
    """Purity over recovery as the threshold on the chance falls, the limit, and where the lane will run."""
    lane = plan.lane
    marks = [value for value in (plan.held.purity, plan.free.purity, 1 - lane.max_contamination) if value]
    # So low that both marks and the limit show; where the curve falls below, it leaves the drawing.
    floor = max(0.0, math.floor((min(marks) - 0.02) * 10) / 10)
    limit = _y(1 - lane.max_contamination, floor)
    shown = int(np.count_nonzero(np.cumsum(plan.purity < floor) <= 1))  # and the first point below
    curve = zip(plan.recovery[:shown].tolist(), plan.purity[:shown].tolist(), strict=True)
    points = " ".join(f"{_x(r):.1f},{_y(max(p, floor), floor):.1f}" for r, p in curve)
    step = 0.1 if floor < 0.75 else 0.05
    ticks = [floor + step * at for at in range(round((1 - floor) / step) + 1)]
    title = html.escape(f"purity against recovery of lane {lane.name}")
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" font-size="12" '
            f'font-family="sans-serif" fill="{_INK}" role="img" aria-label="{title}">',
            *(f'<path d="M{_LEFT} {_y(t, floor):.1f}H{_RIGHT}" stroke="{_FAINT}"/>' for t in ticks),
            *(_text(_LEFT - 6, _y(t, floor) + 4, f"{100 * t:.0f}", "end") for t in ticks),
            *(_text(_x(t), _FOOT + 17, f"{100 * t:.0f}", "middle") for t in (0, 0.25, 0.5, 0.75, 1)),
            f'<path d="M{_LEFT} {limit:.1f}H{_RIGHT}" stroke="{_LIMIT}" stroke-dasharray="5 4"/>',
            _text(
                _LEFT + 6,
                limit + 15,
                f"needed: {number(100 * (1 - lane.max_contamination))} % pure",
                fill=_LIMIT,
            ),
            f'<polyline points="{points}" fill="none" stroke="{_CURVE}" stroke-width="2.5" '
            'stroke-linejoin="round"/>',
            *_dot(plan.free, floor, filled=False),
            *_dot(plan.held, floor, filled=True),
            _text(_RIGHT, _HIGH - 8, "recovery, %", "end"),
            _text(_LEFT, _HIGH - 8, "up: purity, %"),
            f'<circle cx="{_LEFT + 96}" cy="{_HIGH - 12}" r="5" fill="{_CURVE}"/>',
            _text(_LEFT + 105, _HIGH - 8, "as it runs"),
            f'<circle cx="{_LEFT + 172}" cy="{_HIGH - 12}" r="4.5" fill="white" stroke="{_CURVE}" '
            'stroke-width="2"/>',
            _text(_LEFT + 181, _HIGH - 8, "no limit"),
            "</svg>",
        ]
    )


def _dot(found: Yield, floor: float, *, filled: bool) -> list[str]:
    if found.purity is None or found.recovery is None:
        return []
    x, y = _x(found.recovery), _y(max(found.purity, floor), floor)
    look = f'r="6" fill="{_CURVE}"' if filled else f'r="5" fill="white" stroke="{_CURVE}" stroke-width="2"'
    return [f'<circle cx="{x:.1f}" cy="{y:.1f}" {look}/>']


def _text(x: float, y: float, words: str, anchor: str = "start", *, fill: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{words}</text>'


def _x(recovery: float) -> float:
    return _LEFT + recovery * (_RIGHT - _LEFT)


def _y(purity: float, floor: float) -> float:
    return _FOOT - (purity - floor) / (1 - floor) * (_FOOT - _TOP)
