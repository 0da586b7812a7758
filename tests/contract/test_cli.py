import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from weft import __version__, cli
from weft.errors import RunError


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    y, x = np.mgrid[:480, :640]
    pixels = np.where((x // 40 + y // 40) % 2, 140, 60)
    path = tmp_path / "bag.jpg"
    Image.fromarray(np.repeat(pixels[..., None], 3, axis=2).astype(np.uint8)).save(path, "JPEG", quality=95)
    return path


def weft(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_help_lists_every_verb_in_one_line_each() -> None:
    code, out, _ = weft("--help")

    assert code == 0
    for verb in ("estimate", "inspect", "train"):
        assert f"\n  {verb} " in out


def test_help_imports_no_verb_and_is_instant() -> None:
    watch = (
        "import sys; from weft.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'fastapi', 'onnxruntime', 'weft.verbs', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 10  # 0.2 s on an idle machine


def test_the_version_is_the_packages() -> None:
    assert weft("--version")[1] == f"weft, version {__version__}\n"


def test_estimate_answers_in_words(photo: Path, tiny_weight_bundle: Path) -> None:
    code, out, _ = weft("estimate", photo, "--bundle", tiny_weight_bundle)

    assert code == 0
    assert out.splitlines()[0] == "1100 g (880 to 1375 g with 90%)"
    assert f"{photo}: used" in out
    assert "trained on simulated data" in out


def test_estimate_answers_as_json(photo: Path, tmp_path: Path, tiny_weight_bundle: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:3000])
    known = ("--season", "winter", "--mark", "qr", "--mark-mm", "60")
    code, out, _ = weft("estimate", photo, broken, "--bundle", tiny_weight_bundle, "--json", *known)
    answer = json.loads(out)

    assert code == 0
    assert answer["grams"] == pytest.approx(1200, rel=0.01)
    assert answer["low_grams"] <= answer["grams"] <= answer["high_grams"]
    assert [each["advice"] for each in answer["photos"]] == [[], ["broken"]]
    assert answer["photos"][0]["mark"] is None
    assert answer["bundle"] == {
        "name": "tiny-weight",
        "version": "1",
        "sha256": tiny_weight_bundle.read_bytes()[-64:].decode(),
        "trained_on": "simulated",
    }


def test_a_mark_without_its_size_is_a_slip_of_usage(photo: Path, tiny_weight_bundle: Path) -> None:
    code, _, err = weft("estimate", photo, "--bundle", tiny_weight_bundle, "--mark", "qr")

    assert code == 2
    assert "give --mark and --mark-mm together" in err


@pytest.mark.parametrize("verb", ["estimate", "inspect"])
def test_our_errors_are_one_line_and_exit_1(verb: str, photo: Path, tmp_path: Path) -> None:
    fake = tmp_path / "fake.onnx"
    fake.write_bytes(b"no bundle")
    arguments = (verb, photo, "--bundle", fake) if verb == "estimate" else (verb, fake)
    code, out, err = weft(*arguments)

    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {fake}: not a Weft bundle")
    assert err.count("\n") == 1


def test_a_photo_that_is_none_is_refused_in_one_line(tmp_path: Path, tiny_weight_bundle: Path) -> None:
    text = tmp_path / "bag.jpg"
    text.write_text("hello")

    assert weft("estimate", text, "--bundle", tiny_weight_bundle)[::2] == (
        1,
        f"Error: {text}: this is not an image; send a JPEG, PNG, WebP or HEIC photo\n",
    )


def test_inspect_shows_card_graph_metrics_proof_and_seal(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path
) -> None:
    weight = weft("inspect", tiny_weight_bundle)[1]
    fibre = weft("inspect", tiny_fibre_bundle)[1]

    for words in ("tiny-weight 1", "200-2400", "photos", "alde", "holds here", "sha256", "seed: 0", "90%"):
        assert words in weight
    assert "900 to 1700, 81 points" in fibre
    assert "cotton, wool, polyester, nylon" in fibre


def test_inspect_says_on_how_few_subjects_a_margin_rests_and_what_is_unfamiliar(
    tmp_path: Path, write_weight_bundle: Callable[..., Path]
) -> None:
    shift = {"strange_above": 0.3, "false_alarm_rate": 1 / 13, "then": "widen", "subjects": 12}
    told = weft(
        "inspect",
        write_weight_bundle(tmp_path / "few.onnx", calibration_subjects=12, weight={"shift": shift}),
    )[1]

    assert "90%, calibrated on 12 subjects: too few to judge whether it holds" in told
    assert "a photo stranger than 0.3 widens the interval" in told
    assert "at most 7.7% of 12 held-out subjects' photos" in told


def test_inspect_as_json_holds_the_whole_card(tiny_fibre_bundle: Path) -> None:
    answer = json.loads(weft("inspect", tiny_fibre_bundle, "--json")[1])

    assert answer["card"]["composition"]["needed_nm"] == [950.0, 1650.0]
    assert answer["inputs"][0] == {"name": "wavelength_nm", "type": "tensor(float)", "shape": ["L"]}
    assert len(answer["sha256"]) == 64


def point(value: str, extra: str = "") -> EntryPoint:
    return EntryPoint(name="spin", group=cli.GROUP, value=f"{value} [{extra}]" if extra else value)


def install(monkeypatch: pytest.MonkeyPatch, found: EntryPoint, wanted: list[str]) -> None:
    """An install with this one verb, whose `weft` asks for these requirements."""
    monkeypatch.setattr(cli, "entry_points", lambda group: [found])
    monkeypatch.setattr(cli, "requires", lambda package: wanted)


def test_a_verb_whose_extra_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["numpy>=1.26", "click; extra == 'train'", 'no-such-loom>=2,<3; extra == "train"']
    install(monkeypatch, point("nowhere:spin", "train"), wanted)

    assert weft("spin")[::2] == (1, "Error: `weft spin` needs no-such-loom; install weft[train]\n")
    help_text = weft("--help")[1]
    assert "With weft[train] installed also: spin." in help_text
    assert "\n  spin " not in help_text


def test_an_extra_that_asks_for_another_extra_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ['weft[data]; extra == "train"', 'no-such-loom; extra == "data"', 'unasked; extra == "dev"']
    install(monkeypatch, point("nowhere:spin", "train"), wanted)

    assert cli.missing("train") == ["no-such-loom"]
    assert cli.missing("serve") == []


def test_a_module_that_is_missing_all_the_same_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, point("no_such_module:spin", "train"), [])

    assert weft("spin")[::2] == (1, "Error: `weft spin` needs no_such_module; install weft[train]\n")


def test_any_weft_error_inside_a_verb_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def spin() -> None:
        raise RunError("the run has no checkpoint; train it first")

    monkeypatch.setattr(EntryPoint, "load", lambda self: spin)
    install(monkeypatch, point("anywhere:spin"), [])

    assert weft("spin")[::2] == (1, "Error: the run has no checkpoint; train it first\n")


def test_an_unknown_verb_is_a_slip_of_usage() -> None:
    code, _, err = weft("weave")

    assert code == 2
    assert "No such command 'weave'" in err


def test_every_entry_point_of_the_project_has_its_line_of_help() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    section = project.split(f'[project.entry-points."{cli.GROUP}"]')[1].split("[")[0]
    verbs = {line.split("=")[0].strip() for line in io.StringIO(section) if "=" in line}

    assert verbs <= set(cli.ABOUT)
