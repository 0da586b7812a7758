"""The command `weft`: a thin shell whose verbs are entry points, imported only when they are asked for.

An entry point names its extra (`weft_training.cli:train [train]`). A verb whose extra is not installed is not
listed among the others, and asking for it says what to install instead of a traceback.
"""

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points, requires
from typing import Any, Final

import click

from weft import __version__
from weft.errors import WeftError

GROUP: Final = "weft.verbs"

# One line a verb and the order of `weft --help`, here because asking the verbs themselves would import them.
ABOUT: Final[Mapping[str, str]] = {
    "estimate": "Weigh what is in one or more photos.",
    "identify": "Name the fibres of a scan or a cube.",
    "explain": "Show which parts of a photo or scan carried the answer.",
    "inspect": "Show what a bundle is, takes and is worth.",
    "label": "Print scale marks: QR labels, a ruler, a dot.",
    "serve": "Answer over HTTP, with pages.",
    "bundles": "Show or change the bundles of a running server.",
    "bench": "Measure a server: CPU a request against the floor.",
    "line": "Describe, check and look back on a sorting line.",
    "replay": "Stream a recorded belt to a line at true speed.",
    "harvest": "Turn kept, weighed estimates into training data.",
    "import": "Bring a data set into a manifest.",
    "check": "Report what would spoil a training.",
    "simulate": "Make labelled parcels or spectra without hardware.",
    "train": "Train from a recipe.",
    "search": "Try settings of a recipe, and write the best.",
    "evaluate": "Measure a bundle on a manifest.",
    "export": "Write a run's model as one sealed bundle.",
    "recalibrate": "Move a fibre bundle by a few known swatches.",
    "admit": "Measure another engine for a bundle, and write its bound.",
    "quantize": "Write an int8 or fp16 bundle, if it loses little.",
    "promote": "Put a registered bundle into service.",
    "leaderboard": "Measure the promised lines and write the table.",
}
_WANTED: Final = re.compile(
    r"""^\s*([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?.*?(?:;.*extra\s*==\s*['"]([^'"]+)['"])?\s*$"""
)


class Verbs(click.Group):
    """The verbs that are installed. Ours end as one line and exit code 1, not as a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        order = list(ABOUT)
        return sorted(_found(), key=lambda name: (order.index(name) if name in ABOUT else len(order), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = _found().get(cmd_name)
        if point is None:
            return None
        for extra in point.extras:
            if absent := missing(extra):
                raise click.ClickException(
                    f"`weft {cmd_name}` needs {', '.join(absent)}; install weft[{extra}]"
                )
        try:
            verb: Any = point.load()
        except ModuleNotFoundError as error:
            extra = f"weft[{point.extras[0]}]" if point.extras else "weft again"
            raise click.ClickException(f"`weft {cmd_name}` needs {error.name}; install {extra}") from error
        if not isinstance(verb, click.Command):
            raise click.ClickException(f"`weft {cmd_name}`: {point.value} is no command; install weft again")
        return verb

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        points = _found()
        names = self.list_commands(ctx)
        absent = {name: extra for name in names for extra in points[name].extras if missing(extra)}
        if rows := [(name, ABOUT.get(name, "")) for name in names if name not in absent]:
            with formatter.section("Verbs"):
                formatter.write_dl(rows)
        for extra in dict.fromkeys(absent.values()):
            verbs = ", ".join(name for name, needed in absent.items() if needed == extra)
            formatter.write_paragraph()
            formatter.write_text(f"With weft[{extra}] installed also: {verbs}.")

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WeftError as error:
            raise click.ClickException(str(error)) from error


def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def missing(extra: str, *, package: str = "weft") -> list[str]:
    """Distributions that `package[extra]` asks for and that are not installed."""
    absent: list[str] = []
    try:
        lines = requires(package) or []
    except PackageNotFoundError:  # run from a folder, not installed: importing will tell
        return absent
    for line in lines:
        found = _WANTED.match(line)
        if found is None or found.group(3) != extra:
            continue
        name, nested = found.group(1), found.group(2)
        if name == package:
            absent += [each for inner in (nested or "").split(",") for each in missing(inner.strip())]
            continue
        try:
            distribution(name)
        except PackageNotFoundError:
            absent.append(name)
    return absent


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="weft")
def main() -> None:
    """Weft weighs and sorts used clothes by sight."""
