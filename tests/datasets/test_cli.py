from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from weft.cli import main
from weft_datasets.manifest import read_manifest

Photos = Callable[..., Path]


def weft(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def mine(tmp_path: Path, write_photo: Photos) -> Path:
    lines = ["garment_id,path,grams,cotton_pct"]
    for number in range(6):
        write_photo(tmp_path / "data" / f"{number}.jpg", seed=number)
        lines.append(f"g{number // 2},{number}.jpg,{300 + number // 2},100")
    (tmp_path / "data" / "captures.csv").write_text("\n".join(lines))
    return tmp_path


def test_import_then_check_says_what_there_is(mine: Path) -> None:
    out = mine / "out" / "m.parquet"

    made = weft("import", "folder", mine / "data", "--out", out, "--column", "subject=garment_id")
    checked = weft("check", out, "--html", mine / "report.html")

    assert made.exit_code == 0, made.output
    assert "6 captures (photo) of 3 subjects" in made.output
    assert f"next: weft check {out}" in made.output
    assert checked.exit_code == 0, checked.output
    assert "3 subjects: intervals cannot be judged below 20" in checked.output
    assert (mine / "report.html").is_file()
    assert read_manifest(out).frame["path"].iloc[0] == "../data/0.jpg"


def test_check_exits_1_on_what_would_spoil_a_training(mine: Path) -> None:
    out = mine / "m.parquet"
    weft("import", "folder", mine / "data", "--out", out, "--column", "subject=garment_id")
    (mine / "data" / "2.jpg").unlink()

    checked = weft("check", out)

    assert checked.exit_code == 1
    assert "SPOILS  1 file missing: data/2.jpg" in checked.output


def test_bad_values_are_imported_with_the_fault_said(mine: Path) -> None:
    table = mine / "data" / "captures.csv"
    table.write_text(table.read_text().replace(",100\n", ",80\n", 1))
    out = mine / "m.parquet"

    made = weft("import", "folder", table, "--out", out, "--column", "subject=garment_id")

    assert made.exit_code == 0
    assert "fault: 1 compositions do not sum to 100 %: 0.jpg (80 %)" in made.output
    assert weft("check", out).exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["folder", "{data}", "--out", "m.parquet"], "say --column subject=garment_id"),
        (["folder", "{data}", "--out", "m.parquet", "--column", "subject"], "write OURS=YOURS"),
        (["ducks", "{data}", "--out", "m.parquet"], "holds no weight.xls, frames"),
        (["ducks", "{data}", "--out", "m.parquet", "--axis", "nm"], "are for folder, not ducks"),
        (["geese", "{data}", "--out", "m.parquet"], "no importer is called 'geese'"),
    ],
)
def test_a_wrong_call_is_one_sentence(mine: Path, arguments: list[str], words: str) -> None:
    result = weft("import", *(text.format(data=mine / "data") for text in arguments))

    assert result.exit_code != 0
    assert words in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_check_of_nothing_is_one_sentence(tmp_path: Path) -> None:
    result = weft("check", tmp_path / "none.parquet")

    assert result.exit_code == 1
    assert "no such manifest; make one with `weft import" in result.output


def test_simulated_spectra_pass_the_check(tmp_path: Path) -> None:
    made = weft("simulate", "spectra", "--out", tmp_path, "--subjects", "40", "--seed", "3")
    checked = weft("check", tmp_path / "manifest.parquet")

    assert made.exit_code == 0, made.output
    assert "of 40 subjects, simulated" in made.output
    assert checked.exit_code == 0, checked.output


def test_simulated_parcels_pass_the_check(tmp_path: Path) -> None:
    options = ["--subjects", "6", "--seed", "3", "--photos", "1", "2", "--size-px", "96"]

    made = weft("simulate", "parcels", "--out", tmp_path, *options)
    checked = weft("check", tmp_path / "manifest.parquet")

    assert made.exit_code == 0, made.output
    assert "of 6 subjects, simulated" in made.output
    assert checked.exit_code == 0, checked.output
