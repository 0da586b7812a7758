"""A photo beside a scan, or alone, where the bundle takes one."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from weft.bundle import load_bundle
from weft.declaration import declare
from weft.errors import UnsupportedPhotoError, WrongPhotosError
from weft.identifier import Identifier
from weft.spectra import Cube, Scan, make_scan
from weft.verbs import identify

NM = np.linspace(900, 1700, 81)


def jpeg(red: int, green: int, blue: int, *, height: int = 240, width: int = 320) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(-20, 20, (height, width, 1))
    pixels = np.clip(np.full((height, width, 3), (red, green, blue)) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def scan_of(centre_nm: float, height: float = 1.0) -> Scan:
    band = height * np.exp(-(((NM - centre_nm) / 90) ** 2))
    return make_scan(values=band, quantity="absorbance", wavelength_nm=NM)


def main_of(found: object) -> str:
    return max(found.shares, key=lambda item: item.share).fibre  # pyright: ignore


@pytest.fixture(scope="module")
def pair(tiny_pair_bundle: Path) -> Identifier:
    return Identifier(load_bundle(tiny_pair_bundle))


def test_without_its_photo_a_scan_is_answered_as_by_a_bundle_of_scans_alone(
    pair: Identifier, tiny_fibre_bundle: Path
) -> None:
    alone = Identifier(load_bundle(tiny_fibre_bundle)).identify(scan_of(1200))

    found = pair.identify(scan_of(1200))

    assert found.shares == alone.shares
    assert found.unknown == alone.unknown


def test_a_photo_tells_where_the_scan_hardly_does_and_not_where_it_does(pair: Identifier) -> None:
    blue = pair.photo(jpeg(30, 30, 250))  # for polyester

    assert main_of(pair.identify(scan_of(1200, height=0.1), blue)) == "polyester"
    assert main_of(pair.identify(scan_of(1200, height=1.5), blue)) == "wool"


def test_a_photo_alone_is_answered_as_far_as_it_tells(pair: Identifier) -> None:
    told = pair.identify_photo(pair.photo(jpeg(250, 20, 20)))
    grey = pair.identify_photo(pair.photo(jpeg(120, 120, 120)))

    assert main_of(told) == "cotton"
    assert told.unknown < 0.5
    assert "from a photo alone" in told.warnings[0]
    assert grey.unknown > 0.9
    assert "does not tell the fibre" in grey.warnings[0]


def test_a_cubes_mean_is_told_with_the_photo_and_its_map_without(pair: Identifier) -> None:
    spectra = np.tile(scan_of(1200, height=0.2).absorbance, (4, 5, 1)).astype(np.float32)
    cube = Cube(NM, spectra, np.ones((4, 5), bool), "absorbance")

    found = pair.identify_cube(cube, pair.photo(jpeg(30, 30, 250)))

    assert main_of(found) == "polyester"
    assert found.map is not None
    assert set(found.map.ravel().tolist()) == {1}  # wool, as each pixel by itself says


def test_a_bundle_of_scans_alone_refuses_a_photo_and_says_which_one_takes_it(tiny_fibre_bundle: Path) -> None:
    with pytest.raises(WrongPhotosError, match=r"reads scans alone and was sent a photo; leave it out"):
        Identifier(load_bundle(tiny_fibre_bundle)).photo(jpeg(10, 10, 200))


def test_what_is_no_photo_is_refused_before_it_is_decoded(pair: Identifier) -> None:
    with pytest.raises(UnsupportedPhotoError):
        pair.photo(b"<svg onload=alert(1)>")


@pytest.fixture
def ask(tiny_pair_bundle: Path, tmp_path: Path) -> Callable[..., object]:
    (tmp_path / "blue.jpg").write_bytes(jpeg(30, 30, 250))
    weak = scan_of(1200, height=0.1)
    lines = [f"{nm:.1f},{value:.6f}" for nm, value in zip(NM, weak.absorbance, strict=True)]
    (tmp_path / "scan.csv").write_text("\n".join(lines))

    def asked(*arguments: str, bundle: Path = tiny_pair_bundle) -> object:
        given = [str(tmp_path / one) if "." in one else one for one in arguments]
        return CliRunner().invoke(identify, [*given, "--bundle", str(bundle)])

    return asked


def test_the_shell_takes_a_scan_a_photo_or_both(ask: Callable[..., object]) -> None:
    scan = ("scan.csv", "--unit", "nm", "--quantity", "absorbance")

    alone, both, photo = ask(*scan), ask(*scan, "--photo", "blue.jpg"), ask("--photo", "blue.jpg")

    assert [reply.exit_code for reply in (alone, both, photo)] == [0, 0, 0]  # pyright: ignore
    first = [reply.output.splitlines()[1].split()[0] for reply in (alone, both, photo)]  # pyright: ignore
    assert first == ["wool", "polyester", "polyester"]
    assert "photo blue.jpg, 320 x 240 pixels" in both.output  # pyright: ignore


def test_the_shell_names_what_is_lacking(ask: Callable[..., object], tiny_fibre_bundle: Path) -> None:
    assert "name a SCAN, or a --photo, or both" in ask().output  # pyright: ignore
    refused = ask("--photo", "blue.jpg", bundle=tiny_fibre_bundle)
    assert "blue.jpg: bundle tiny-composition reads scans alone" in str(refused.exception)  # pyright: ignore


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 400), (400, 1)])
def test_a_photo_that_is_too_small_has_no_say(pair: Identifier, height: int, width: int) -> None:
    tiny = pair.photo(jpeg(30, 30, 250, height=height, width=width))
    weak = scan_of(1200, height=0.1)

    found = pair.identify(weak, tiny)

    assert found.shares == pair.identify(weak).shares
    assert found.photo_heard is False
    assert "photo: it had no say, being too small" in found.warnings
    with pytest.raises(WrongPhotosError, match=f"a photo of {width} x {height} pixels came alone"):
        pair.identify_photo(tiny)


def test_a_dark_photo_is_heard(pair: Identifier) -> None:
    found = pair.identify(scan_of(1200, height=0.1), pair.photo(jpeg(0, 0, 60)))

    assert found.photo_heard is True
    assert any(warning.startswith("photo: Too dark") for warning in found.warnings)


def test_a_photo_that_is_trusted_with_nothing_is_said_to_have_had_no_say(tiny_pair_bundle: Path) -> None:
    untrusting = Identifier(load_bundle(tiny_pair_bundle))
    section = untrusting.card.photo
    assert section is not None
    untrusting.card = untrusting.card.model_copy(update={"photo": section.model_copy(update={"trust": 0.0})})

    found = untrusting.identify(scan_of(1200), untrusting.photo(jpeg(30, 30, 250)))

    assert found.photo_heard is False
    assert "photo: it had no say, since photos told nothing of swatches left out" in found.warnings


def test_a_blurred_photo_is_no_reason_against_a_label() -> None:
    blurred = declare(
        (), standard="eu", trained_on="real", warnings=("photo: Blurred", "points are far apart")
    )

    assert "photo: Blurred" not in blurred.reasons
    assert "points are far apart" in blurred.reasons


def test_the_shell_refuses_what_belongs_to_a_scan_beside_a_photo_alone(ask: Callable[..., object]) -> None:
    of_scan = ask("--photo", "blue.jpg", "--unit", "nm")
    of_cube = ask("--photo", "blue.jpg", "--map", "map.npy")

    assert "got a photo alone and --unit, which belong to a scan" in of_scan.output  # pyright: ignore
    assert "--map belongs to a cube; name one as SCAN" in of_cube.output  # pyright: ignore
