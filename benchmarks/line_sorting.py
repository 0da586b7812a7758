"""Simulated belts through the line engine and simulated ejectors: what is sorted right, how clean lanes are.

    python benchmarks/line_sorting.py                     five belts of three minutes, the table
    python benchmarks/line_sorting.py --pieces FILE       and each piece with its truth, for `weft line plan`

Everything runs as in service but for time: the engine's clock is the belt's own, so a slow machine decides
no worse. Belts have seeds 9000 and up, which nothing was trained or tuned on. All of it is simulated.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from weft.bundle import BUNDLED, load_bundle
from weft.line.description import LineDescription, read_description
from weft.line.frames import Frame, jpeg_frame, lines_frame
from weft.line.reader import BeltReader
from weft.line.records import Alarm, Decision, LineState, Place
from weft.line.rules import LaneRules, read_rules
from weft_datasets.belt.ejector import Fire, landed
from weft_datasets.belt.sorted import Sorted, sorted_by
from weft_datasets.belt.stream import Belt, Picture
from weft_datasets.belt.truth import PieceTruth
from weft_serving.line.engine import LineEngine, Tools
from weft_serving.line.see.references import make_references
from weft_serving.line.sinks import Evidence
from weft_serving.line.timing import Command, Withdrawal

FIRST_SEED: Final = 9_000
TAIL_MM: Final = 2_500.0  # of empty belt at the end, so that the last piece passes every ejector
START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class BeltClock:
    """Time as the belt's own frames tell it."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def seconds(self) -> float:
        return self.at_s

    def now(self) -> datetime:
        return START + timedelta(seconds=self.at_s)


@dataclass
class Told:
    """What the engine said, by piece; the last word counts."""

    decisions: dict[int, Decision] = field(default_factory=dict)
    fires: dict[int, Fire] = field(default_factory=dict)
    alarms: list[Alarm] = field(default_factory=list)

    def decided(self, decision: Decision, evidence: Evidence) -> None:
        del evidence
        self.decisions[decision.piece.number] = decision

    def alarmed(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)

    def stood(self, state: LineState) -> None:
        pass

    def close(self) -> None:
        pass

    def ordered(self, order: Command | Withdrawal) -> None:
        if isinstance(order, Command):
            self.fires[order.piece] = Fire(order.ejector, order.fire_encoder, order.hold_encoder)
        else:
            self.fires.pop(order.piece, None)


@dataclass(frozen=True)
class Run:
    """One belt, sorted."""

    seed: int
    truth: list[PieceTruth]
    told: Told
    where: dict[int, str | None]  # by true piece, the ejector that took it


def frames(belt: Belt) -> Iterator[Frame]:
    """What the cameras would have sent, in order of time."""
    nir = colour = 0
    for event in belt.events():
        if isinstance(event, Picture):
            colour += 1
            yield jpeg_frame(
                event.jpeg,
                number=colour,
                encoder=event.encoder,
                timestamp_ns=event.timestamp_ns,
                simulated=True,
            )
            continue
        nir += 1
        yield lines_frame(
            np.ascontiguousarray(event.counts.transpose(0, 2, 1)),
            number=nir,
            encoder=event.encoder,
            timestamp_ns=int(event.timestamp_ns[-1]),
            simulated=True,
        )


def sort(belt: Belt, rules: LaneRules, reader: BeltReader) -> Run:
    """Run one belt through the engine as fast as it goes, and its commands through the ejectors."""
    line = belt.description
    clock = BeltClock()
    white, dark = belt.references()
    references = make_references(white, dark, line.nir, taken_at=START, max_age_s=line.references.max_age_s)
    engine = LineEngine(line, rules, Tools(reader, clock, references, threads=1))
    told = Told()
    engine.subscribe(told)
    engine.listen(told.ordered)
    began: int | None = None
    for frame in frames(belt):
        began = frame.timestamp_ns if began is None else began
        clock.at_s = max(clock.at_s, (frame.timestamp_ns - began) / 1e9)
        engine.take(frame)
        engine.step()
    for _ in range(20):
        clock.at_s += 0.1
        engine.step()
    engine.close()
    truth = belt.truth
    return Run(belt.seed, truth, told, landed(truth, told.fires.values(), line, seed=belt.seed))


def matched(run: Run) -> Iterator[tuple[Decision, PieceTruth]]:
    """Decisions with the one true piece that covers the same place; those that cover several are left out."""
    for decision in run.told.decisions.values():
        place = decision.piece.place
        found = [piece for piece in run.truth if _overlap(place, piece) > 0.5]
        if len(found) == 1:
            yield decision, found[0]


def _overlap(place: Place, piece: PieceTruth) -> float:
    """Of the smaller rectangle's area, the part that both cover."""
    along = min(place.last_mm, piece.last_mm) - max(place.first_mm, piece.first_mm)
    across = min(place.right_mm, piece.right_mm) - max(place.left_mm, piece.left_mm)
    one = (place.last_mm - place.first_mm) * (place.right_mm - place.left_mm)
    other = (piece.last_mm - piece.first_mm) * (piece.right_mm - piece.left_mm)
    return max(along, 0.0) * max(across, 0.0) / max(min(one, other), 1e-9)


def write_pieces(runs: list[Run], out: Path) -> int:
    """Each decided piece with its truth, as `weft line plan` reads it; how many there are."""
    number = 0
    with out.open("w", encoding="utf-8") as file:
        for run in runs:
            for decision, truth in matched(run):
                number += 1
                row: dict[str, Any] = decision.piece.model_dump(mode="json")
                row |= {
                    "number": number,
                    "truth": truth.composition,
                    "truth_colour": truth.colour,
                    "truth_grams": truth.grams,
                    "simulated": True,
                }
                file.write(json.dumps(row) + "\n")
    return number


def together(runs: list[Run], rules: LaneRules) -> Sorted:
    """All belts as one: pieces get numbers of their own."""
    truth: list[PieceTruth] = []
    where: dict[int, str | None] = {}
    for at, run in enumerate(runs):
        first = at * 1_000_000
        for piece in run.truth:
            truth.append(replace(piece, piece=first + piece.piece))
            where[first + piece.piece] = run.where[piece.piece]
    return sorted_by(truth, where, rules)


def outcomes(runs: list[Run]) -> dict[str, int]:
    found: dict[str, int] = {}
    for run in runs:
        for decision in run.told.decisions.values():
            found[decision.outcome] = found.get(decision.outcome, 0) + 1
    return found


def report(runs: list[Run], rules: LaneRules) -> dict[str, Any]:
    """The figures over all belts, and each lane's purity belt by belt."""
    whole = together(runs, rules)
    each = [sorted_by(run.truth, run.where, rules) for run in runs]
    limits = {lane.name: lane.max_contamination for lane in rules.lanes}
    answer = whole.as_json()
    answer["sorted_right_all"] = whole.sorted_right_all
    answer["outcomes"] = outcomes(runs)
    answer["seeds"] = [run.seed for run in runs]
    answer["purity_by_seed"] = {name: [result.lanes[name].purity for result in each] for name in limits}
    answer["limit_kept"] = {
        name: [purity is None or 1 - purity <= limits[name] for purity in answer["purity_by_seed"][name]]
        for name in limits
    }
    answer["alarms"] = sorted({alarm.code for run in runs for alarm in run.told.alarms})
    return answer


def run_belts(
    line: LineDescription, rules: LaneRules, reader: BeltReader, *, seeds: Sequence[int], seconds: float
) -> list[Run]:
    runs: list[Run] = []
    for seed in seeds:
        runs.append(sort(Belt(line, seconds=seconds, seed=seed, tail_mm=TAIL_MM), rules, reader))
        told = f"belt {seed}: {len(runs[-1].truth)} pieces, {len(runs[-1].told.decisions)} decisions"
        print(told, file=sys.stderr, flush=True)
    return runs


def _shown(found: dict[str, Any]) -> list[str]:
    def percent(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f} %"

    lines = [
        f"simulated belts {found['seeds'][0]} to {found['seeds'][-1]}",
        "",
        "| class | pieces | sorted right |",
    ]
    lines += ["|---|---|---|"]
    lines += [
        f"| {name} | {found['pieces'][name]} | {percent(share)} |"
        for name, share in found["sorted_right"].items()
    ]
    lines += ["", "| lane | pieces | purity | recovery | limit kept, belt by belt |", "|---|---|---|---|---|"]
    for name, lane in found["lanes"].items():
        kept = found["limit_kept"].get(name)
        said = "" if kept is None else f"{sum(kept)} of {len(kept)}"
        purity, recovery = percent(lane["purity"]), percent(lane["recovery"])
        lines.append(f"| {name} | {lane['pieces']} | {purity} | {recovery} | {said} |")
    lines += ["", f"outcomes {found['outcomes']}, alarms {', '.join(found['alarms']) or 'none'}"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="What a line sorts right on simulated belts")
    parser.add_argument("--line", type=Path, default=Path("configs/lines/demo.yaml"))
    parser.add_argument("--bundle", type=Path, default=BUNDLED / "belt.onnx")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="tune on others: 7000 and up")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--pieces", type=Path, help="Write pieces with their truth here (JSON Lines).")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    line = read_description(given.line)
    reader = BeltReader(load_bundle(given.bundle, task="belt", threads=1))
    rules = read_rules(given.line, line, reader.fibres)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    runs = run_belts(line, rules, reader, seeds=seeds, seconds=given.seconds)
    found = report(runs, rules)
    if given.pieces is not None:
        written = write_pieces(runs, given.pieces)
        print(f"{given.pieces}: {written} pieces with their truth, simulated", file=sys.stderr)
    print(json.dumps(found) if given.json else "\n".join(_shown(found)))


if __name__ == "__main__":
    main()
