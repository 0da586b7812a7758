"""The whole loop on a simulated belt: train, export, run a line, fire, and see where it landed."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from weft.bundle import load_bundle
from weft.line.description import read_description
from weft.line.reader import BeltReader
from weft.line.rules import rules_from_text
from weft_datasets.belt.stream import Belt
from weft_training.export import export_run
from weft_training.fit import fit_run, make_fabric
from weft_training.recipe import load_recipe
from weft_training.run import create_run

ROOT = Path(__file__).parents[1]
# Limits that a net of half a minute's training can keep.
LANES = """
rest: rest
lanes:
  - {name: cotton, take: cotton >= 80 %, ejector: e1, max_contamination: 30 %, price_per_kg: 0.6}
  - {name: polyester, take: polyester >= 80 %, ejector: e2, max_contamination: 30 %, price_per_kg: 0.4}
"""


@pytest.mark.slow
def test_a_belt_sorted_by_a_bundle_that_was_just_trained_lands_where_its_rules_say(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "configs" / "smoke-belt.yaml")
    run = create_run(recipe, tmp_path / "runs")
    fit_run(run, make_fabric(recipe))
    report = export_run(run, tmp_path / "belt.onnx")
    reader = BeltReader(load_bundle(report.path, task="belt", threads=1))
    line = read_description(ROOT / "configs" / "lines" / "demo.yaml")
    rules = rules_from_text(LANES, line, reader.fibres)
    bench: dict[str, Any] = runpy.run_path(str(ROOT / "benchmarks" / "line_sorting.py"))

    sorted_belt = bench["sort"](Belt(line, seconds=30, seed=8_000, tail_mm=2_500), rules, reader)
    found = bench["report"]([sorted_belt], rules)

    assert found["simulated"]
    assert len(sorted_belt.truth) > 20
    assert found["outcomes"]["fired"] >= 5
    assert "late" not in found["outcomes"]
    assert found["lanes"]["cotton"]["purity"] >= 0.7
    assert found["lanes"]["cotton"]["recovery"] >= 0.3
    assert found["lanes"]["polyester"]["purity"] >= 0.7
