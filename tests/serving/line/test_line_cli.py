"""`weft line check` and `weft line plan`: what they print, and how they end."""

import json
import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from weft.cli import main

LINES = Path("configs/lines")
TRIAL = runpy.run_path(str(Path(__file__).parents[2] / "trial_pieces.py"))


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["line", *map(str, words)])


def changed(path: Path, old: str, new: str) -> Path:
    text = (LINES / "demo.yaml").read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["demo.yaml", "fx17.yaml"])
def test_the_lines_that_come_along_can_be_decided_by(name: str) -> None:
    found = run("check", LINES / name)

    assert found.exit_code == 0, found.output
    assert "error" not in found.output
    assert "takes" in found.output
    assert "at most 5 %" in found.output
    assert "everything else" in found.output
    assert "can be decided by, with " in found.output


def test_the_full_line_takes_every_spectrum_of_its_camera() -> None:
    found = run("check", LINES / "fx17.yaml")

    assert "640 pixels x 224 bands, 935-1720 nm, 670 lines/s (428,800 spectra/s)" in found.output
    assert "the first ejector must be told within 388 ms" in found.output


def test_a_misspelt_fibre_ends_with_an_error_and_the_nearest_name(tmp_path: Path) -> None:
    file = changed(tmp_path / "l.yaml", "take: cotton >= 95 %", "take: coton >= 95 % or coten > 3 %")
    found = run("check", file)

    assert found.exit_code == 1
    assert "'coten': no fibre is called 'coten'; did you mean 'cotton'?" in found.output
    assert "these lanes cannot be decided by" in found.output


def test_all_errors_are_printed_not_the_first_alone(tmp_path: Path) -> None:
    file = changed(tmp_path / "l.yaml", "max_contamination: 5 %", "max_contamination: 5")
    text = file.read_text(encoding="utf-8").replace("take: polyester >= 95 %", "take: silc >= 95 %")
    file.write_text(text, encoding="utf-8")
    found = run("check", file)

    assert found.exit_code == 1
    assert "max_contamination: got '5', needed a percentage; write it as 2 %" in found.output
    assert "'silc': no fibre is called 'silc'; did you mean 'silk'?" in found.output


def test_a_line_that_does_not_hang_together_ends_in_one_line(tmp_path: Path) -> None:
    found = run("check", changed(tmp_path / "l.yaml", "position_mm: 400", "position_mm: -400"))

    assert found.exit_code == 1
    assert "must lie downstream of the NIR camera" in found.output
    assert "Traceback" not in found.output


def piece(number: int, cotton: float) -> str:
    truth = {"cotton": cotton, "polyester": 1 - cotton} if 0 < cotton < 1 else {"cotton": 1.0}
    return json.dumps(TRIAL["row"](cotton, 0.004, truth, number=number, mass=None, simulated=True))


def test_a_plan_prints_its_table_and_writes_its_page(tmp_path: Path) -> None:
    pieces = tmp_path / "pieces.jsonl"
    pieces.write_text("\n".join(piece(at, 1.0 if at % 2 else 0.5) for at in range(1, 41)), encoding="utf-8")
    found = run("plan", LINES / "demo.yaml", "--pieces", pieces, "--out", tmp_path / "plan.html")

    assert found.exit_code == 0, found.output
    assert "40 simulated pieces, 3.8 kg" in found.output
    assert "100.0 % (83.9 to 100.0)" in found.output
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3


def test_a_plan_as_json_can_be_read_by_a_machine(tmp_path: Path) -> None:
    (tmp_path / "pieces.jsonl").write_text(piece(1, 1.0), encoding="utf-8")
    found = run("plan", LINES / "demo.yaml", "--pieces", tmp_path, "--json")

    told = json.loads(found.output)
    assert told["simulated"] is True
    assert told["lanes"]["cotton"]["recovery"] == 1.0


@pytest.mark.slow
def test_a_plan_without_pieces_is_made_by_those_that_the_bundle_carries() -> None:
    found = run("plan", LINES / "demo.yaml", "--json")

    told = json.loads(found.output)
    assert told["simulated"] is True
    assert told["pieces"] > 300
    assert told["lanes"]["polyester"]["recovery"] > 0.7


def test_a_camera_that_the_bundle_does_not_read_is_told(tmp_path: Path) -> None:
    found = run("check", changed(tmp_path / "l.yaml", "first_nm: 935", "first_nm: 960"))

    assert found.exit_code == 1
    assert "the camera has 224 bands, 960-1720 nm" in found.output
