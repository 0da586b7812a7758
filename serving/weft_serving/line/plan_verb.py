"""What `weft line check` and `weft line plan` do, apart from their options."""

import os
from pathlib import Path
from typing import Final

from weft.bundle import load_bundle
from weft.errors import LineError
from weft.line.decide import Decider
from weft.line.description import LineDescription, read_description
from weft.line.outcomes import read_pieces, trial_outcomes, trial_pieces
from weft.line.plan import Plan, plan_lanes
from weft.line.plan_drawing import percent, purity_words
from weft.line.reader import BeltReader
from weft.line.rule_table import columns, findings_text, lanes_table
from weft.line.rule_tree import number
from weft.line.rules import read_rules
from weft_serving.run import find_bundle
from weft_serving.settings import read_settings

_USUAL_COVERAGE: Final = 0.9  # of margins where the bundle does not tell theirs


def check_line(file: Path, bundle: Path | None) -> str:
    """The lanes as a table, then what was found about them.

    Raises:
        LineDescriptionError, RuleError: The line cannot run so, or not with this bundle.
    """
    description = read_description(file)
    reader = _reader(bundle)
    reader.check_axis(description.nir.wavelength_nm)
    rules = read_rules(file, description, reader.fibres)
    card = reader.bundle.card
    said = (
        f"rules {rules.version} can be decided by, with {card.name} {card.version} ({reader.bundle.source})"
    )
    parts = [about(description), lanes_table(rules, description), findings_text(rules.findings), said]
    return "\n\n".join(part for part in parts if part)


def about(description: LineDescription) -> str:
    camera, speed = description.nir, description.belt.speed_mm_per_s
    first = min(description.ejectors, key=lambda ejector: ejector.position_mm)
    late_ms = 1_000 * (first.position_mm - camera.position_mm) / speed - first.delay_ms
    return (
        f"line {description.name}: {camera.pixels} pixels x {len(camera.wavelength_nm)} bands, "
        f"{camera.wavelength_nm[0]:g}-{camera.wavelength_nm[-1]:g} nm, {camera.lines_per_s:g} lines/s "
        f"({camera.pixels * camera.lines_per_s:,.0f} spectra/s); at {speed / 1_000:g} m/s the first ejector "
        f"must be told within {late_ms:.0f} ms"
    )


def plan_line(file: Path, pieces: Path | None, bundle: Path | None) -> Plan:
    """Try the rules of a line on pieces of known composition, or on those that a bundle carries.

    A bundle's own pieces calibrate the chances, as they do while the line runs. Where they are also what is
    planned by, two halves of them calibrate each other.
    """
    description = read_description(file)
    reader = _reader(bundle)
    rules = read_rules(file, description, reader.fibres)
    coverage = reader.bundle.card.coverage or _USUAL_COVERAGE
    if pieces is not None:
        outcomes = trial_outcomes(reader)
        decider = Decider(rules, description=description, coverage=coverage, outcomes=outcomes)
        return plan_lanes(rules, read_pieces(pieces), [decider])
    known = trial_pieces(reader)
    if not known:
        raise LineError(f"{reader.bundle.source} carries no pieces to plan by; name some with --pieces")
    halves = [[each.outcome for each in known[start::2]] for start in (1, 0)]
    return plan_lanes(rules, known, [Decider(rules, coverage=coverage, outcomes=half) for half in halves])


def plan_table(plan: Plan) -> str:
    """For a terminal; says where the pieces are simulated."""
    heads = ("lane", "belong", "taken", "needed", "purity (95 % interval)", "recovery", "no limit", "lost")
    rows = [
        (
            each.lane.name,
            f"{each.belonging:,}",
            f"{each.held.pieces:,}",
            f"{number(100 * (1 - each.lane.max_contamination))} %",
            purity_words(each.held),
            percent(each.held.recovery),
            percent(each.free.recovery),
            percent(each.lost),
        )
        for each in plan.lanes
    ]
    kind = "simulated pieces" if plan.simulated else "pieces"
    rest = plan.rest_kilograms / plan.kilograms
    head = f"{plan.pieces:,} {kind}, {plan.kilograms:,.1f} kg; {rest:.0%} of it go to {plan.rules.rest}"
    return f"{head}\n{columns([heads, *rows])}"


def _reader(bundle: Path | None) -> BeltReader:
    """Of the file named, or of that which `weft serve` would take."""
    return BeltReader(load_bundle(bundle or find_bundle(read_settings(os.environ), "belt"), task="belt"))
