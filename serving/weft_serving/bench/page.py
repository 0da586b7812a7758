"""The page that `--html` writes: one file with its plots inside, nothing fetched."""

from html import escape
from typing import Any, Final

from weft_serving.bench.report import ABOUT, lines

# Told apart by lightness as well as by hue, and each is named beside the plot.
_COLOURS: Final = {"decode": "#1f5673", "run": "#5b9bb8", "receive": "#c9dfe8", "search": "#e0b44c"}
_OWN: Final = "#b4472f"
_LINES: Final = ("#1f5673", "#e0b44c", "#b4472f", "#6b8e4e")
_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .3rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; } tr { border-bottom: 1px solid #ddd; }
svg { width: 100%; height: auto; } svg text { font: 13px system-ui, sans-serif; fill: #222; }
pre { background: #f5f5f2; padding: 1rem; overflow-x: auto; font-size: 13px; } .quiet { color: #666; }
.key span { display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em; vertical-align: -.1em; }
"""


def page(told: dict[str, Any]) -> str:
    """A whole HTML document of what `weft bench --json` prints."""
    parts = {name: told[name] for name in ABOUT if name in told}
    machine = told["machine"]
    body = [
        "<h1>weft bench</h1>",
        f"<p>{escape(told['measured_at'][:16].replace('T', ' '))} UTC, {machine['cores']} cores "
        f"({escape(machine['processor'])}), {escape(told['bundle'])} on {escape(told['engine'])}, "
        f"{told['plan']['clients']} clients, medians of {told['plan']['rounds']} rounds.</p>",
        _table(parts) if parts else "",  # none with `--only start,overload`
        _sentences(told),
        *(_plots(parts) if parts else ()),
        f"<h2>As printed</h2><pre>{escape(chr(10).join(lines(told)))}</pre>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>weft bench</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        + "".join(body)
        + "</body></html>\n"
    )


def _plots(parts: dict[str, Any]) -> list[str]:
    return [
        "<h2>CPU time of a request, beside its floor</h2>",
        _key(parts),
        _bars(parts),
        "<h2>Latency at half of capacity</h2>",
        '<p class="quiet">Share of requests answered within so many milliseconds; they come at random.</p>',
        _curves(parts),
        "<h2>Round by round</h2>",
        '<p class="quiet">CPU milliseconds a request: the server (dots), the floor beside it (rings).</p>',
        _rounds(parts),
    ]


def _table(parts: dict[str, Any]) -> str:
    columns = {
        "cpu_ms": "CPU ms", "floor_cpu_ms": "floor", "ratio": "ratio",
        "rps": "requests/s", "p50_ms": "p50 ms", "p99_ms": "p99 ms",
    }  # fmt: skip
    head = "".join(f"<th>{title}</th>" for title in columns.values())
    rows = "".join(
        f"<tr><td>{escape(ABOUT[name])}</td>"
        + "".join(f"<td>{_shown(part[key])}</td>" for key in columns)
        + "</tr>"
        for name, part in parts.items()
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _sentences(told: dict[str, Any]) -> str:
    said = [line for line in lines(told) if line.startswith(("last byte", "process start", "most memory"))]
    return "".join(f"<p>{escape(line[0].upper() + line[1:])}.</p>" for line in said)


def _key(parts: dict[str, Any]) -> str:
    used = [name for name in _COLOURS if any(part.get("floor", {}).get(name) for part in parts.values())]
    shown = [(name, _COLOURS[name]) for name in used] + [("the server", _OWN)]
    return (
        '<p class="key">'
        + "".join(f'<span style="background:{colour}"></span>{name}' for name, colour in shown)
        + "</p>"
    )


def _bars(parts: dict[str, Any]) -> str:
    most = max([part[key] or 0 for part in parts.values() for key in ("cpu_ms", "floor_cpu_ms")] + [0.001])
    made: list[str] = []
    for n, (name, part) in enumerate(parts.items()):
        top, at = 10 + 74 * n, 0.0
        made.append(f'<text x="0" y="{top + 12}">{escape(ABOUT[name])}</text>')
        for piece, colour in _COLOURS.items():
            width = 640 * part.get("floor", {}).get(piece, 0) / most
            made.append(
                f'<rect x="{at:.1f}" y="{top + 18}" width="{width:.1f}" height="18" fill="{colour}"/>'
            )
            at += width
        made.append(f'<text x="{at + 6:.1f}" y="{top + 32}">floor {_shown(part["floor_cpu_ms"])} ms</text>')
        if part["cpu_ms"] is not None:
            width = 640 * part["cpu_ms"] / most
            words = f"{_shown(part['cpu_ms'])} ms, {_shown(part['ratio'])} times the floor"
            made.append(f'<rect x="0" y="{top + 40}" width="{width:.1f}" height="18" fill="{_OWN}"/>')
            made.append(f'<text x="{width + 6:.1f}" y="{top + 54}">{words}</text>')
    return _svg(900, 10 + 74 * len(parts), made)


def _curves(parts: dict[str, Any]) -> str:
    most = 1.05 * max(max(part["quantiles_ms"].values()) for part in parts.values())
    made = [_axis(f"{100 - 25 * n} %", 30 + 55 * n, to=670) for n in range(5)]
    made += [f'<text x="{60 + 600 * n / 5:.0f}" y="270">{most * n / 5:.0f} ms</text>' for n in range(6)]
    for n, (name, part) in enumerate(parts.items()):
        points = " ".join(
            f"{60 + 600 * ms / most:.1f},{250 - 2.2 * float(share):.1f}"
            for share, ms in part["quantiles_ms"].items()
        )
        colour = _LINES[n % len(_LINES)]
        made.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        made.append(f'<rect x="690" y="{34 + 44 * n}" width="14" height="14" fill="{colour}"/>')
        made.append(f'<text x="712" y="{46 + 44 * n}">{escape(ABOUT[name])}</text>')
        said = f"p99 is {part['p99_over_p50']:g} times p50"
        made.append(f'<text x="712" y="{63 + 44 * n}">{said}</text>')
    return _svg(960, 285, made)


def _rounds(parts: dict[str, Any]) -> str:
    most = 1.1 * max([ms for part in parts.values() for key in ("cpu_ms", "floor_cpu_ms")
                      for ms in part["rounds"].get(key, [])] + [0.001])  # fmt: skip
    made = [_axis(f"{most * (4 - n) / 4:.0f}", 30 + 55 * n) for n in range(5)]
    step = 820 / max(1, len(parts))
    for n, (name, part) in enumerate(parts.items()):
        left = 70 + step * n
        made.append(f'<text x="{left:.0f}" y="285">{escape(ABOUT[name])}</text>')
        for key, look in (
            ("cpu_ms", f'fill="{_OWN}"'),
            ("floor_cpu_ms", f'fill="none" stroke="{_COLOURS["decode"]}"'),
        ):
            values = part["rounds"].get(key, [])
            for turn, ms in enumerate(values):
                x = left + (turn + 0.5) * (step - 30) / max(1, len(values))
                made.append(
                    f'<circle cx="{x:.1f}" cy="{250 - 220 * ms / most:.1f}" r="5" stroke-width="2" {look}/>'
                )
    return _svg(900, 295, made)


def _axis(words: str, y: float, *, to: int = 890) -> str:
    return (
        f'<text x="50" y="{y + 4:.0f}" text-anchor="end">{words}</text>'
        f'<line x1="56" x2="{to}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>'
    )


def _svg(width: int, height: int, made: list[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img">{"".join(made)}</svg>'


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"
