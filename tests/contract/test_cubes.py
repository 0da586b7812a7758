"""ENVI cubes from disk and from zips: every layout, references, foreground, and headers that lie."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spectral.io import envi

from weft.errors import (
    BrokenScanError,
    QuantityError,
    ReferenceNeededError,
    ScanError,
    ScanTooLargeError,
    UnsupportedScanError,
)
from weft.foreground import otsu
from weft.scans import cube as cube_module
from weft.scans import read_scan, read_scan_path
from weft.scans.archive import unpack
from weft.spectra import Cube

H, W, L = 6, 5, 24
NM = np.linspace(950, 1640, L)
CUBES = Path(__file__).parents[2] / ".." / "shared" / "data" / "spectra" / "hsi_cubes"
RNG = np.random.default_rng(5)
SHADE = RNG.uniform(0.5, 1.0, (H, W, 1))
R = (0.5 + 0.3 * np.sin(NM / 80)) * SHADE  # (H, W, L) reflectance
DARK = RNG.integers(80, 120, (W, L))
WHITE = DARK + RNG.integers(2800, 3000, (W, L))
COUNTS = (DARK + R * (WHITE - DARK)).round().astype(np.uint16)


def header(**changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "description": "{reflectance of a swatch}",
        "samples": W,
        "lines": H,
        "bands": L,
        "header offset": 0,
        "data type": 4,
        "interleave": "bip",
        "byte order": 0,
        "wavelength units": "nm",
        "wavelength": "{" + ",\n ".join(f"{nm:.4f}" for nm in NM) + "}",
    }
    fields |= {key.replace("_", " "): value for key, value in changes.items()}
    return (
        "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in fields.items() if value is not None)
    ).encode()


def body(values: np.ndarray = R, dtype: str = "<f4", interleave: str = "bip") -> bytes:
    order = {"bil": (0, 2, 1), "bip": (0, 1, 2), "bsq": (2, 0, 1)}[interleave]
    return values.transpose(order).astype(dtype).tobytes()


def zipped(method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def cube_of(data: bytes, **stated: Any) -> Cube:
    cube = read_scan("cube.zip", data, **stated)
    assert isinstance(cube, Cube)
    return cube


@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
@pytest.mark.parametrize(
    ("dtype", "code", "order"), [("<f4", 4, 0), (">f4", 4, 1), ("<f8", 5, 0), (">f8", 5, 1)]
)
def test_every_layout_of_a_cube_gives_the_same_absorbance(
    interleave: str, dtype: str, code: int, order: int, tmp_path: Path
) -> None:
    text = header(interleave=interleave, data_type=code, byte_order=order)
    (tmp_path / "a cube.hdr").write_bytes(text)
    (tmp_path / "a cube.dat").write_bytes(body(R, dtype, interleave))

    cube = read_scan_path(tmp_path / "a cube.hdr")

    assert isinstance(cube, Cube)
    np.testing.assert_allclose(cube.absorbance, -np.log10(R), atol=1e-6)
    np.testing.assert_allclose(cube.wavelength_nm, NM, atol=1e-3)
    oracle = envi.open(str(tmp_path / "a cube.hdr")).open_memmap(interleave="bip")
    np.testing.assert_allclose(10.0**-cube.absorbance, oracle, rtol=1e-5)


@pytest.mark.parametrize("suffix", ["", ".dat", ".raw", ".img", ".bil", ".DAT", ".something"])
def test_the_data_is_found_beside_the_header_under_any_usual_ending(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "line 4.hdr").write_bytes(header())
    (tmp_path / f"line 4{suffix}").write_bytes(body())
    (tmp_path / "line 4.png").write_bytes(b"a quick look")
    (tmp_path / "line 40.dat").write_bytes(b"another cube")

    assert read_scan_path(tmp_path / "line 4.hdr").absorbance.shape == (H, W, L)


def test_a_data_file_is_read_with_the_header_beside_it(tmp_path: Path) -> None:
    (tmp_path / "cube.dat.hdr").write_bytes(header())
    (tmp_path / "cube.dat").write_bytes(body())

    assert read_scan_path(tmp_path / "cube.dat").absorbance.shape == (H, W, L)


def test_wavelengths_in_descending_wavenumbers_are_turned() -> None:
    axis = "{" + ",".join(f"{1e7 / nm:.3f}" for nm in NM[::-1]) + "}"
    text = header(wavelength=axis, wavelength_units="cm-1")

    cube = cube_of(zipped(**{"a.hdr": text, "a.dat": body(R[..., ::-1])}))

    np.testing.assert_allclose(cube.wavelength_nm, NM, rtol=1e-4)
    np.testing.assert_allclose(cube.absorbance, -np.log10(R), atol=1e-6)


def test_bad_bands_are_left_out_and_scaled_integers_are_reflectance() -> None:
    good = "{" + ",".join("0" if place in (0, 5) else "1" for place in range(L)) + "}"
    text = header(bbl=good, data_type=12, **{"reflectance scale factor": 10000})

    cube = cube_of(zipped(**{"a.hdr": text, "a.img": body((R * 10000).round(), "<u2")}))

    kept = [place for place in range(L) if place not in (0, 5)]
    np.testing.assert_allclose(cube.absorbance, -np.log10(R[..., kept]), atol=1e-3)


@pytest.mark.parametrize("lines", [1, 7])
@pytest.mark.parametrize("own_header", [True, False])
def test_raw_counts_are_calibrated_by_the_references_in_the_zip(lines: int, own_header: bool) -> None:
    text = header(data_type=12, interleave="bil")
    members = {"scan/a cube.hdr": text, "scan/a cube.raw": body(COUNTS, "<u2", "bil")}
    for name, level in (("WHITEREF_a cube", WHITE), ("darkref a cube", DARK)):
        frame = np.broadcast_to(level, (lines, W, L))
        members[f"scan/{name}.raw"] = body(frame, "<u2", "bil")
        if own_header:
            members[f"scan/{name}.hdr"] = header(data_type=12, interleave="bil", lines=lines)

    cube = cube_of(zipped(**members))

    np.testing.assert_allclose(cube.absorbance, -np.log10(R), atol=1e-3)
    assert cube.quantity == "reflectance"


def test_references_may_be_sent_beside_the_zip_or_named_on_disk(tmp_path: Path) -> None:
    text = header(data_type=12)
    frames = {name: body(level[None], "<u2") for name, level in (("white", WHITE), ("dark", DARK))}
    for name, content in {"c.hdr": text, "c.dat": body(COUNTS, "<u2")}.items():
        (tmp_path / name).write_bytes(content)
    for name, content in frames.items():
        (tmp_path / f"{name}.raw").write_bytes(content)

    sent = cube_of(zipped(**{"c.hdr": text, "c.dat": body(COUNTS, "<u2")}), **frames)
    packed = cube_of(
        zipped(**{"c.hdr": text, "c.dat": body(COUNTS, "<u2")}),
        **{
            name: zipped(**{"x.hdr": header(data_type=12, lines=1), "x.raw": content})
            for name, content in frames.items()
        },
    )
    named = read_scan_path(tmp_path / "c.hdr", white=tmp_path / "white.raw", dark=tmp_path / "dark.raw")

    np.testing.assert_array_equal(sent.absorbance, named.absorbance)
    np.testing.assert_array_equal(sent.absorbance, packed.absorbance)
    np.testing.assert_allclose(named.absorbance, -np.log10(R), atol=1e-3)


def with_references(white: np.ndarray = WHITE, dark: np.ndarray = DARK, **changes: Any) -> bytes:
    members = {"c.hdr": header(data_type=12), "c.raw": body(COUNTS, "<u2")}
    for name, level in (("white", white), ("dark", dark)):
        members[f"{name}.raw"] = body(level[None], "<u2")
    return zipped(**(members | changes))


def pair(values: np.ndarray = R, **changes: Any) -> bytes:
    return zipped(**{"c.hdr": header(**changes), "c.dat": body(values)})


RAW = {"c.hdr": header(data_type=12), "c.raw": body(COUNTS, "<u2")}
MICRO = "{" + ",".join(f"{3000 + 9 * n}" for n in range(L)) + "}"
LIES = "describes 2,880 bytes, the data has 2,876"


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (zipped(**RAW), ReferenceNeededError, "raw counts .median .* send the white and the dark"),
        (
            zipped(**RAW, **{"white.raw": body(WHITE[None], "<u2")}),
            ReferenceNeededError,
            "the dark reference is",
        ),
        (with_references(white=DARK, dark=WHITE), ReferenceNeededError, "band .* must exceed dark"),
        (with_references(white=np.full((W, L), 4095)), ReferenceNeededError, "saturated at 4095"),
        (with_references(**{"white.raw": b"xyz"}), ReferenceNeededError, "no whole lines"),
        (zipped(**{"c.hdr": header(), "c.dat": body()[:-4]}), BrokenScanError, LIES),
        (zipped(**{"c.hdr": header(), "c.dat": body() + b"more"}), BrokenScanError, "the data has 2,884"),
        (pair(lines=10**9), ScanTooLargeError, "claims 1000000000 lines"),
        (pair(bands=20000), ScanTooLargeError, "20000 bands, 10000 is the most"),
        (pair(bands=3), BrokenScanError, "3 bands, at least 8"),
        (pair(lines=0), BrokenScanError, "'lines' is '0'"),
        (pair(lines=-5), BrokenScanError, "'lines' is '-5'"),
        (pair(samples="five"), BrokenScanError, "'samples' is 'five'"),
        (pair(bands=None), BrokenScanError, "no 'bands' in the header"),
        (pair(data_type=6), UnsupportedScanError, "data type 6 is not read"),
        (pair(interleave="bop"), UnsupportedScanError, "interleave is 'bop'"),
        (pair(wavelength=None), BrokenScanError, "no wavelengths in the header"),
        (pair(wavelength="{1,2}"), BrokenScanError, "2 wavelengths for 24 bands"),
        (
            pair(wavelength="{" + ",".join(["x"] * L) + "}"),
            BrokenScanError,
            "a wavelength is no number",
        ),
        (
            pair(wavelength="{" + "1000," * L + "}"),
            BrokenScanError,
            "wavelength 1000 nm is there twice",
        ),
        (pair(wavelength="{1, 2"), BrokenScanError, "brace .* is never closed"),
        (
            pair(wavelength_units=None, wavelength=MICRO),
            QuantityError,
            "states no wavelength unit .3000 to 3207.; state unit",
        ),
        (pair(R * np.nan), BrokenScanError, "no numbers in any"),
        (pair(R * 60, description=None), QuantityError, "names no quantity"),
        (pair(R * 6000, description=None), ReferenceNeededError, "raw counts"),
        (zipped(**{"c.hdr": header()}), UnsupportedScanError, "no data for c.hdr in the zip"),
        (zipped(**{"c.dat": body()}), UnsupportedScanError, "0 ENVI headers in the zip"),
        (zipped(**{"c.hdr": header(), "d.hdr": header()}), UnsupportedScanError, "2 ENVI headers"),
        (zipped(**{"c.hdr": b"PNG\0", "c.dat": body()}), BrokenScanError, "does not begin with ENVI"),
        (zipped(), UnsupportedScanError, "0 ENVI headers"),
        (header(), UnsupportedScanError, "an ENVI header without its data; send both in one zip"),
    ],
)
def test_a_cube_that_cannot_be_read_right_is_refused(data: bytes, kind: type[ScanError], words: str) -> None:
    with pytest.raises(kind, match=words):
        read_scan("cube.zip", data)


def test_a_few_hot_and_dead_pixels_do_not_spoil_a_cube() -> None:
    values = R.copy()
    values[1, 1, 3], values[2, 2, 4] = 400, -5

    cube = cube_of(pair(values))

    assert cube.warnings == ()
    assert np.isfinite(cube.absorbance).all()


@pytest.mark.parametrize(
    ("factor", "words"), [(0.001, "almost no light"), (9, "times as bright as the white")]
)
def test_references_that_do_not_belong_to_the_cube_are_warned_of(factor: float, words: str) -> None:
    counts = (DARK + factor * R * (WHITE - DARK)).round()

    cube = cube_of(with_references(**{"c.raw": body(counts, "<u2")}))

    assert any(words in warning for warning in cube.warnings), cube.warnings


def test_pixels_without_numbers_are_left_out_and_counted() -> None:
    values = R.copy()
    values[2, 3, 7] = np.nan
    values[0, 0] = -9999

    cube = cube_of(zipped(**{"c.hdr": header(**{"data ignore value": -9999}), "c.dat": body(values)}))

    assert not cube.foreground[2, 3]
    assert not cube.foreground[0, 0]
    assert any("2 of 30 pixels hold no numbers" in warning for warning in cube.warnings)
    assert np.isfinite(cube.absorbance).all()


def test_what_the_header_leaves_out_is_assumed_with_a_warning() -> None:
    cube = cube_of(
        zipped(**{"c.hdr": header(wavelength_units=None, description=None, byte_order=None), "c.dat": body()})
    )

    assert cube.warnings == (
        "the header states no wavelength unit; nanometres were assumed",
        "the header names no quantity; reflectance was assumed",
    )


def test_a_stated_quantity_counts_more_than_a_guess() -> None:
    cube = cube_of(
        zipped(**{"c.hdr": header(description=None), "c.dat": body(-np.log10(R))}), quantity="absorbance"
    )

    np.testing.assert_allclose(cube.absorbance, -np.log10(R), atol=1e-6)


def scene(background: float, noise: float = 0.004) -> tuple[np.ndarray, np.ndarray]:
    """A textile of 12 x 10 on a flat background of 30 x 20, reflectance, and where it lies."""
    rng = np.random.default_rng(1)
    truth = np.zeros((30, 20), bool)
    truth[8:20, 5:15] = True
    textile = 0.5 + 0.15 * np.sin(NM / 60)
    values = np.where(truth[..., None], textile, background) + rng.normal(0, noise, (30, 20, L))
    return values * rng.uniform(0.9, 1.1, (30, 20, 1)), truth


@pytest.mark.parametrize("background", [0.02, 0.98])
def test_the_foreground_is_the_textile_on_a_dark_belt_and_on_a_white_tile(background: float) -> None:
    values, truth = scene(background)

    cube = cube_of(zipped(**{"c.hdr": header(lines=30, samples=20), "c.dat": body(values)}))

    assert (cube.foreground == truth).mean() > 0.99
    np.testing.assert_allclose(
        cube.mean_scan().absorbance, -np.log10(0.5 + 0.15 * np.sin(NM / 60)), atol=0.02
    )


def test_a_cube_full_of_one_thing_is_all_foreground() -> None:
    values, truth = scene(0.02)

    cube = cube_of(zipped(**{"c.hdr": header(lines=12, samples=10), "c.dat": body(values[8:20, 5:15])}))

    assert truth.any()
    assert cube.foreground.all()


def test_otsus_threshold_lies_between_two_groups_and_says_how_far_apart_they_are() -> None:
    rng = np.random.default_rng(0)
    apart = np.concatenate([rng.normal(0, 1, 500), rng.normal(20, 1, 100)]).astype(np.float32)

    threshold, share = otsu(apart)

    assert 3 < threshold < 17
    assert share > 0.95
    assert otsu(rng.normal(0, 1, 5000).astype(np.float32))[1] < 0.7
    assert otsu(np.ones(50, np.float32))[1] == 0


def test_a_large_cube_lives_in_a_file_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped(**{"c.hdr": header(), "c.dat": body()})
    small = cube_of(data)
    monkeypatch.setattr(cube_module, "_IN_MEMORY", 100)
    monkeypatch.setattr(cube_module, "_BLOCK_BYTES", 1)

    large = cube_of(data)

    assert isinstance(large.absorbance, np.memmap)
    np.testing.assert_array_equal(large.absorbance, small.absorbance)
    np.testing.assert_array_equal(large.foreground, small.foreground)


def test_names_in_a_zip_never_become_paths(tmp_path: Path) -> None:
    found = unpack(
        "z", zipped(**{"a b/ü c.hdr": b"x", "__MACOSX/._c.hdr": b"y", ".DS_Store": b"z"}), tmp_path
    )

    assert [path.name for path in found.values()] == ["000"]
    assert list(found) == ["a b/ü c.hdr"]


@pytest.mark.real_data
def test_a_real_cube_of_raw_counts_asks_for_references() -> None:
    if not CUBES.is_dir():
        pytest.skip("needs the measurements in ../shared/data")
    with pytest.raises(ReferenceNeededError, match=r"raw counts .median 4322, uint16. without references"):
        read_scan_path(CUBES / "afalty_grid.hdr")


@pytest.mark.real_data
def test_a_real_cube_of_raw_counts_is_calibrated(tmp_path: Path) -> None:
    if not CUBES.is_dir():
        pytest.skip("needs the measurements in ../shared/data")
    for name, level in (("white", 14600), ("dark", 10)):
        np.full((2, 256, 20), level, "<u2").tofile(tmp_path / f"{name}.raw")
    cube = read_scan_path(CUBES / "afalty_grid.hdr", white=tmp_path / "white.raw", dark=tmp_path / "dark.raw")

    oracle = np.asarray(envi.open(str(CUBES / "afalty_grid.hdr")).open_memmap(interleave="bip"), np.float64)
    np.testing.assert_allclose(10.0**-cube.absorbance, np.maximum((oracle - 10) / 14590, 1e-4), rtol=1e-5)
    assert cube.wavelength_nm[[0, -1]] == pytest.approx([962.401817, 2492.541856])


@pytest.mark.real_data
def test_a_real_map_without_byte_order_names_its_quantity_in_its_plot_titles() -> None:
    if not CUBES.is_dir():
        pytest.skip("needs the measurements in ../shared/data")
    cube = read_scan_path(CUBES / "openspecy_CA_tiny_map.zip")

    assert isinstance(cube, Cube)
    assert cube.quantity == "absorbance"
    assert cube.absorbance.shape == (13, 16, 427)
    assert cube.wavelength_nm[[0, -1]] == pytest.approx([1e7 / 4003.67, 1e7 / 717.42])
    with zipfile.ZipFile(CUBES / "openspecy_CA_tiny_map.zip") as archive:
        raw = np.frombuffer(archive.read("CA small UF.dat"), "<f4").reshape(13, 16, 427)
    np.testing.assert_allclose(cube.absorbance, raw[..., ::-1])
