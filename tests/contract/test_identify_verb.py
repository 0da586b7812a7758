"""`weft identify`, as typed in a shell."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from weft.cli import main

NM = np.linspace(900, 1700, 161)
WOOL = 0.2 + np.exp(-(((NM - 1200) / 90) ** 2))  # the tiny bundle's formula calls this wool


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "a swatch.csv"
    path.write_text(
        "nm,absorbance\n" + "\n".join(f"{nm:.2f},{a:.5f}" for nm, a in zip(NM, WOOL, strict=True))
    )
    return path


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    counts = np.zeros((10, 8, len(NM)))
    counts[...] = 100 + 2000 * 10**-WOOL
    counts[:, :3] = 100 + 2000 * 0.02  # a dark belt
    counts.astype("<u2").tofile(tmp_path / "cube.raw")
    np.full((1, 8, len(NM)), 2100, "<u2").tofile(tmp_path / "white.raw")
    np.full((1, 8, len(NM)), 100, "<u2").tofile(tmp_path / "dark.raw")
    path = tmp_path / "cube.hdr"
    path.write_text(
        f"ENVI\nsamples = 8\nlines = 10\nbands = {len(NM)}\ndata type = 12\ninterleave = bip\n"
        "wavelength units = nm\nwavelength = {" + ",".join(f"{nm:.2f}" for nm in NM) + "}\n"
    )
    return path


def weft(*words: object) -> Result:
    return CliRunner().invoke(main, ["identify", *map(str, words)])


def test_a_scan_is_answered_as_a_table_with_bars(scan: Path, tiny_fibre_bundle: Path) -> None:
    result = weft(scan, "--bundle", tiny_fibre_bundle)

    assert result.exit_code == 0, result.output
    first, second = result.output.splitlines()[:2]
    assert first == "a swatch.csv: absorbance, 161 points from 900 to 1700 nm"
    assert second.split()[:2] == ["wool", "WO"]
    assert "█" * 20 in second
    assert "by tiny-composition 1, trained on simulated data" in result.output


def test_json_is_what_the_service_would_answer(scan: Path, tiny_fibre_bundle: Path) -> None:
    answer = json.loads(weft(scan, "--bundle", tiny_fibre_bundle, "--json").output)

    assert [item["fibre"] for item in answer["shares"]] == ["cotton", "wool", "polyester", "nylon"]
    assert sum(item["share"] for item in answer["shares"]) == pytest.approx(1, abs=1e-6)
    assert set(answer["shares"][0]) == {"fibre", "code", "share", "low", "high"}
    assert answer["map"] is None
    assert answer["bundle"]["trained_on"] == "simulated"


def test_a_cube_of_raw_counts_is_answered_with_its_references(
    cube: Path, tiny_fibre_bundle: Path, tmp_path: Path
) -> None:
    references = ("--white", tmp_path / "white.raw", "--dark", tmp_path / "dark.raw")

    result = weft(cube, *references, "--bundle", tiny_fibre_bundle, "--map", tmp_path / "map.npy")

    assert result.exit_code == 0, result.output
    assert "8 x 10 pixels, 62% of them foreground" in result.output
    assert "100% of the area" in result.output
    found = np.load(tmp_path / "map.npy")
    assert (found[:, :3] == -1).all()
    assert (found[:, 3:] == 1).all()


def test_raw_counts_alone_end_in_one_line(cube: Path, tiny_fibre_bundle: Path) -> None:
    result = weft(cube, "--bundle", tiny_fibre_bundle)

    assert result.exit_code == 1
    assert result.output.startswith("Error: cube.hdr: raw counts")
    assert len(result.output.splitlines()) == 1


def test_what_a_file_does_not_say_can_be_stated(tmp_path: Path, tiny_fibre_bundle: Path) -> None:
    path = tmp_path / "mute.txt"
    path.write_text("\n".join(f"{1e7 / nm:.3f} {100 * 10**-a:.4f}" for nm, a in zip(NM, WOOL, strict=True)))

    mute = weft(path, "--bundle", tiny_fibre_bundle)
    stated = weft(path, "--unit", "cm-1", "--quantity", "reflectance_percent", "--bundle", tiny_fibre_bundle)

    assert mute.exit_code == 1
    assert "state unit nm, cm-1 or um" in mute.output
    assert stated.exit_code == 0, stated.output
    assert "wool" in stated.output.splitlines()[1]


def test_a_map_of_a_single_spectrum_is_refused(scan: Path, tiny_fibre_bundle: Path, tmp_path: Path) -> None:
    result = weft(scan, "--bundle", tiny_fibre_bundle, "--map", tmp_path / "map.npy")

    assert result.exit_code == 2
    assert "--map belongs to a cube" in result.output


def test_a_weight_bundle_is_refused_in_one_line(scan: Path, tiny_weight_bundle: Path) -> None:
    result = weft(scan, "--bundle", tiny_weight_bundle)

    assert result.exit_code == 1
    assert "a bundle for weight, needed one for composition" in result.output


def test_a_composition_that_cannot_be_declared_says_why(scan: Path, tiny_fibre_bundle: Path) -> None:
    result = weft(scan, "--bundle", tiny_fibre_bundle, "--declare", "eu", "--language", "de")

    assert result.exit_code == 0, result.output
    assert "cannot be declared under Regulation (EU) No 1007/2011, because" in result.output
    assert "the model was trained on simulated scans" in result.output
    assert "draft, not to be used: 100 % Wolle" in result.output


def test_what_stands_against_a_label_is_in_the_json(
    scan: Path, write_fibre_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = write_fibre_bundle(tmp_path / "real.onnx", trained_on="real")  # its margins: 10 points

    answer = json.loads(weft(scan, "--bundle", bundle, "--declare", "cn", "--json").output)["declaration"]

    assert (answer["standard"], answer["language"], answer["holds"]) == ("cn", "zh", False)
    assert answer["label"] is None
    assert answer["draft"] == "羊毛 100%"
    assert any("fibres that the label would not name" in reason for reason in answer["reasons"])


def test_a_label_in_a_language_that_its_standard_is_not_written_in_is_refused(
    scan: Path, tiny_fibre_bundle: Path
) -> None:
    result = weft(scan, "--bundle", tiny_fibre_bundle, "--declare", "cn", "--language", "fr")

    assert result.exit_code == 1
    assert "is written in zh, not in fr" in result.output


def test_a_fibre_that_is_not_there_cannot_be_decorative(scan: Path, tiny_fibre_bundle: Path) -> None:
    result = weft(scan, "--bundle", tiny_fibre_bundle, "--declare", "eu", "--decorative", "silk")

    assert result.exit_code == 1
    assert "the answer names no silk" in result.output


def test_options_of_a_label_without_a_standard_are_refused(scan: Path, tiny_fibre_bundle: Path) -> None:
    result = weft(scan, "--bundle", tiny_fibre_bundle, "--language", "de")

    assert result.exit_code == 2
    assert "add --declare eu or --declare cn" in result.output


def test_a_language_that_the_standard_has_not_is_said_before_any_answer(
    scan: Path, tiny_fibre_bundle: Path
) -> None:
    result = weft(scan, "--bundle", tiny_fibre_bundle, "--declare", "cn", "--language", "fr")

    assert result.exit_code != 0
    assert "%" not in result.output
