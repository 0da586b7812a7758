"""Dashboard and alert rules: every figure they name is there, every alert of /ops is a rule, and told of."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from weft_serving.line.exposition import LineFigures
from weft_serving.ops import alerts
from weft_serving.watch.metrics import Metrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "weft.json"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian: apt-get install prometheus)"
)


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """Of the dashboard, with what Grafana would put in for its variables."""
    board = json.loads(DASHBOARD.read_text())
    told = [target["expr"] for panel in panels() for target in panel["targets"]]
    told += [note["expr"] for note in board["annotations"]["list"]]
    for each in told:
        yield each.replace("$__rate_interval", "5m").replace("$instance", ".*")


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """Names of series, as they stand in the documentation, which another test compares with /metrics."""
    text = (ROOT / "docs" / "watching.md").read_text()
    named = set(re.findall(r"^\| `(weft_\w+)", text, re.MULTILINE))
    counters = {family.name for family in Metrics().registry.collect() if family.type == "counter"}
    counters |= {"weft_bundle_changes", "weft_trial_answers"}
    histograms = {family.name for family in Metrics().registry.collect() if family.type == "histogram"}
    plain = named - counters - histograms - {"weft_bundle"}
    process = {"process_cpu_seconds_total", "process_resident_memory_bytes", "up"}
    spread = {f"{name}_{end}" for name in histograms for end in ("bucket", "sum", "count")}
    return plain | {f"{name}_total" for name in counters} | spread | process | {"weft_bundle_info"}


def named_in(expression: str) -> set[str]:
    bare = re.sub(r'"[^"]*"|\{[^}]*\}', "", expression)
    return set(re.findall(r"\b(?:weft|process)_\w+", bare))


def test_every_figure_of_the_rules_and_the_dashboard_is_there(exported: set[str]) -> None:
    asked = {name for rule in rules() for name in named_in(rule["expr"])}
    asked |= {name for expression in expressions() for name in named_in(expression)}

    assert asked - exported == set()
    assert len(asked) > 30


def test_the_dashboard_shows_all_that_is_counted_about_answers_and_load() -> None:
    shown = " ".join(expressions())
    missing = [
        family.name
        for family in [*Metrics().registry.collect(), *LineFigures({}).collect()]
        if family.name.startswith("weft_") and family.name not in shown
    ]

    assert missing == [
        "weft_line_grams",
        "weft_line_outcomes",
        "weft_line_speed_mm_per_s",
    ]  # the line's own page


def test_the_alerts_of_the_page_are_those_of_the_rules_and_of_the_documentation() -> None:
    source = ast.parse(Path(alerts.__file__).read_text())
    on_the_page = {
        node.value
        for node in ast.walk(source)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"Weft\w+", node.value)
    }
    text = (ROOT / "docs" / "watching.md").read_text()
    documented = set(re.findall(r"^\| `(Weft\w+)`", text, re.MULTILINE))
    in_rules = {rule["alert"] for rule in rules()}

    assert on_the_page | {"WeftDown"} == in_rules == documented


def test_rule_and_page_wake_for_the_same_alerts() -> None:
    text = (ROOT / "docs" / "watching.md").read_text()

    for rule in rules():
        level = rule["labels"]["severity"]
        assert re.search(rf"^\| `{rule['alert']}` \({level}", text, re.MULTILINE), rule["alert"]
        assert rule["annotations"]["do"].endswith(".")


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("WeftShedding", alerts.SHED_SHARE),
        ("WeftSlow", alerts.SLOW_MS / 1_000),
        ("WeftFaults", alerts.FAULT_SHARE),
        ("WeftLoopLag", alerts.LAG_MS / 1_000),
        ("WeftMemory", alerts.MEMORY_SHARE),
        ("WeftUnreadable", alerts.UNREADABLE_SHARE),
    ],
)
def test_rule_and_page_have_the_same_threshold(name: str, threshold: float) -> None:
    (expression,) = [rule["expr"] for rule in rules() if rule["alert"] == name]

    assert re.search(rf"> ?=? {threshold:g}\b", expression), expression


def test_panels_stand_beside_each_other_and_not_on_top() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in json.loads(DASHBOARD.read_text())["panels"]]
    assert len(ids) == len(set(ids))


@needs_promtool
def test_promtool_takes_the_rules_and_their_tests_hold() -> None:
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run(
            [str(PROMTOOL), *command], cwd=RULES.parent, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_reads_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    made = [{"record": f"panel:{place}", "expr": each} for place, each in enumerate(expressions())]
    path = tmp_path / "dashboard.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": made}]}))

    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
