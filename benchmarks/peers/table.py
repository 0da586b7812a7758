"""What was found, as a table in Markdown and as a picture."""

from pathlib import Path
from typing import Any

from benchmarks.peers.compare import CELLS

_HEADS = (
    "photo 12 MP, as documented, 4 clients", "frame 640x480, as documented, 16 clients",
    "photo, given our reduced decode, 16 clients", "frame, likewise, 16 clients", "ready after",
    "memory under load",
)  # fmt: skip


def markdown(found: dict[str, Any]) -> str:
    """The table of speed, then that of hostile bodies where they were thrown."""
    made = ["| | " + " | ".join(_HEADS) + " |", "|---" * (len(_HEADS) + 1) + "|"]
    floor = found.get("floor", {})
    if floor:
        made.append(
            "| floor | {0} | {1} | {0} | {1} | - | - |".format(
                *(f"{floor[n]:.1f}" for n in ("photo", "frame"))
            )
        )
    for row in found["rows"].values():
        cells = [_cell(row.get(cell)) for cell in CELLS]
        ready = f"{row['ready_s']:.1f} s" if "ready_s" in row else "-"
        low, high = row.get("memory_mib", (None, None))
        memory = "-" if low is None else f"{low} MiB" if low == high else f"{low}-{high} MiB"
        made.append(f"| {row['title']} | " + " | ".join([*cells, ready, memory]) + " |")
    for row in found["rows"].values():
        made += [f"\n{row['title']}: {words}" for words in row.get("failed", ())]
    if found.get("hostile"):
        made += ["", *_hostile(found)]
    return "\n".join(made) + "\n"


def _cell(cell: dict[str, Any] | None) -> str:
    return "-" if cell is None else f"{cell['cpu_ms']:.1f} ({cell['rps']:.1f})"


def _hostile(found: dict[str, Any]) -> list[str]:
    thrown = next(list(each) for each in found["hostile"].values() if "failed" not in each)
    thrown = [name for name in thrown if name != "answers_afterwards"]
    made = ["| | " + " | ".join(thrown) + " |", "|---" * (len(thrown) + 1) + "|"]
    for name, each in found["hostile"].items():
        title = found["rows"].get(name, {}).get("title", name)
        if "failed" in each:
            made.append(f"| {title} | {each['failed']} |" + " |" * (len(thrown) - 1))
            continue
        cells = (f"{each[body]['status']} (+{max(0, each[body]['mib'])} MiB)" for body in thrown)
        made.append(f"| {title} | " + " | ".join(cells) + " |")
    return made


def draw(found: dict[str, Any], out: Path) -> None:
    """Bars of CPU time a request, one panel a column, a line at the floor."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 4, figsize=(15, 4.2), sharey=True)
    rows = list(found["rows"].values())[::-1]
    for panel, (cell, (name, _, _)), head in zip(panels, CELLS.items(), _HEADS, strict=False):
        values = [row.get(cell, {}).get("cpu_ms", 0.0) for row in rows]
        colours = ["#b4472f" if row["title"].startswith("Weft") else "#5b9bb8" for row in rows]
        panel.barh([row["title"] for row in rows], values, color=colours)
        for at, value in enumerate(values):
            panel.text(value, at, f" {value:.1f}" if value else " not measured", va="center", fontsize=9)
        if name in found.get("floor", {}):
            panel.axvline(found["floor"][name], color="#222", linestyle=":", linewidth=1.2)
        panel.set_title(head.replace(", ", ",\n", 1), fontsize=10)
        panel.set_xlim(0, 1.25 * max([*values, 1.0]))
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"Server CPU milliseconds a request (dotted: the floor), {found['measured_at'][:10]}, "
        f"{found['machine']['cores']} cores ({found['machine']['processor']})",
        fontsize=11,
    )
    figure.tight_layout()
    figure.savefig(out, dpi=110)
