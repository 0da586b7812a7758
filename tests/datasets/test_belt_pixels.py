"""Pixels of a simulated garment, and the counts of the camera that sees them."""

from pathlib import Path

import numpy as np
import pytest

from weft.line.description import read_description
from weft_datasets.belt.camera import Camera, drawn_camera
from weft_datasets.belt.labels import class_of, drawn_label
from weft_datasets.belt.pixels import (
    STATES,
    Garment,
    States,
    drawn_belt,
    drawn_garment,
    drawn_states,
    reflectance,
    spectra_on,
)

DEMO = Path(__file__).parents[2] / "configs" / "lines" / "demo.yaml"
COTTON, POLYESTER = {"cotton": 1.0}, {"polyester": 1.0}


@pytest.fixture(scope="module")
def camera() -> Camera:
    return drawn_camera(np.random.default_rng(3), read_description(DEMO).nir)


def garment(seed: int, shares: dict[str, float]) -> Garment:
    return drawn_garment(np.random.default_rng(seed), shares=shares)


def smooth(layers: float) -> States:
    """One pixel that differs in nothing from its garment's mean."""
    return States(
        layers=np.full(1, layers, np.float32),
        by_state=np.zeros((1, len(STATES)), np.float32),
        shade=np.zeros(1, np.float32),
        shine=np.zeros(1, np.float32),
    )


def test_a_smooth_pixel_reflects_as_the_physics_of_its_cloth_says(camera: Camera) -> None:
    cloth = garment(1, COTTON)
    spectra = spectra_on(cloth, camera.true_nm, resolution_nm=2.0)

    for step in range(4):
        seen = reflectance(spectra, smooth(2.0**step))[0]
        true = np.interp(camera.true_nm, np.linspace(880, 1780, cloth.near.shape[1]), cloth.near[step])
        np.testing.assert_allclose(seen, true, rtol=3e-3)


def test_polyester_absorbs_at_1660_nm_and_cotton_does_not(camera: Camera) -> None:
    deep: dict[str, float] = {}
    for name, shares in (("cotton", COTTON), ("polyester", POLYESTER)):
        cloth = garment(2, shares)
        rng = np.random.default_rng(0)
        pixels = reflectance(
            spectra_on(cloth, camera.true_nm, resolution_nm=8.0), drawn_states(rng, 500, layers=cloth.layers)
        )
        at = {nm: int(np.abs(camera.true_nm - nm).argmin()) for nm in (1620, 1660, 1690)}
        mean = np.log(pixels).mean(axis=0)
        deep[name] = float(mean[at[1620]] / 2 + mean[at[1690]] / 2 - mean[at[1660]])

    assert deep["polyester"] > 0.05 > deep["cotton"]


def test_a_shift_of_the_axis_is_the_spectrum_seen_further_on(camera: Camera) -> None:
    cloth, one = garment(4, POLYESTER), smooth(2.0)
    moved = reflectance(
        spectra_on(cloth, camera.true_nm, resolution_nm=8.0), one, np.full(1, 0.8, np.float32)
    )
    direct = reflectance(spectra_on(cloth, camera.true_nm + 0.8, resolution_nm=8.0), one)

    np.testing.assert_allclose(moved, direct, rtol=2e-3)


def test_what_the_line_works_out_from_the_counts_is_the_reflectance_within_noise_and_drift(
    camera: Camera,
) -> None:
    cloth, rng = garment(5, COTTON), np.random.default_rng(0)
    columns = rng.integers(0, 160, 400)
    true = reflectance(
        spectra_on(cloth, camera.true_nm, resolution_nm=camera.resolution_nm),
        drawn_states(rng, 400, layers=cloth.layers),
        camera.smile_nm[columns],
    )

    got = camera.measured(true, columns, rng)

    middle = slice(40, 180)
    gap = (got - true)[:, middle]
    assert 0.0005 < np.nanmedian(np.nanstd(gap, axis=0)) < 0.01
    assert abs(np.nanmean(gap)) < 0.04
    assert np.isnan(got).any(), "bad elements"


def test_counts_are_whole_and_end_at_full_scale(camera: Camera) -> None:
    bright = np.full((50, 224), 3.0, np.float32)  # a zip
    counts = camera.counts(bright, np.arange(50), np.random.default_rng(0))

    assert counts.dtype == np.uint16
    assert counts.max() == camera.full_scale
    assert (counts[:, 112][camera.bad[:50, 112] == 0] == camera.full_scale).all()


def test_the_same_seed_draws_the_same_garment_and_pixels(camera: Camera) -> None:
    def drawn() -> np.ndarray:
        rng = np.random.default_rng(9)
        cloth = drawn_garment(rng, backing=drawn_belt(rng))
        seen = spectra_on(cloth, camera.true_nm, resolution_nm=8.0)
        return camera.counts(reflectance(seen, drawn_states(rng, 30)), np.arange(30), rng)

    np.testing.assert_array_equal(drawn(), drawn())


def test_labels_sum_to_one_and_most_are_cotton_polyester_or_their_blend() -> None:
    rng = np.random.default_rng(0)
    labels = [drawn_label(rng) for _ in range(600)]

    assert all(sum(label.values()) == pytest.approx(1.0) for label in labels)
    counts = {name: sum(class_of(label) == name for label in labels) for name in ("cotton", "polyester")}
    assert 0.3 < counts["cotton"] / 600 < 0.42
    assert 0.18 < counts["polyester"] / 600 < 0.30


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [
        ({"cotton": 0.95, "elastane": 0.05}, "cotton"),
        ({"polyester": 0.94, "elastane": 0.06}, "other"),
        ({"cotton": 0.2, "polyester": 0.8}, "blend"),
        ({"cotton": 0.15, "polyester": 0.85}, "other"),
        ({}, "stranger"),
    ],
)
def test_a_class_is_what_a_plant_sorts_by(shares: dict[str, float], wanted: str) -> None:
    assert class_of(shares) == wanted
