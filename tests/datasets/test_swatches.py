"""Simulated cloth: shares as a spot shows them, and light between one mixed yarn and yarns side by side."""

from dataclasses import replace

import numpy as np
import pytest

from weft_datasets.instruments import INNER_NM
from weft_datasets.makes import Spread
from weft_datasets.scatter import layer_reflectance
from weft_datasets.swatches import _moved, _seen_shares, drawn_swatch, mixed_layer, reflectance

BLACK = np.zeros_like(INNER_NM)


def blend(seed: int = 0):  # noqa: ANN201
    for at in range(seed, seed + 200):
        swatch = drawn_swatch(np.random.default_rng(at), spread=Spread())
        if len(swatch.shares) == 2 and "elastane" not in swatch.shares:
            return swatch
    raise AssertionError("no blend in 200 garments")


def test_the_shares_of_a_spot_sum_to_one_and_scatter_about_the_label() -> None:
    swatch = blend()
    rng = np.random.default_rng(0)
    spots = np.array([_seen_shares(swatch, rng) for _ in range(400)])

    np.testing.assert_allclose(spots.sum(1), 1.0)
    np.testing.assert_allclose(spots.mean(0), list(swatch.shares.values()), atol=0.01)
    assert 0.01 < spots[:, 0].std() < 0.06


def test_elastane_in_the_core_of_its_yarns_is_seen_less_than_the_label_says() -> None:
    swatch = replace(blend(), shares={"cotton": 0.9, "elastane": 0.1}, hidden=0.5)
    rng = np.random.default_rng(0)
    spots = np.array([_seen_shares(swatch, rng) for _ in range(400)])

    assert spots[:, 1].mean() == pytest.approx(0.05 / 0.95, abs=0.01)


@pytest.mark.parametrize("apart", [0.0, 0.4, 1.0])
def test_a_mixture_of_a_fibre_with_itself_is_that_fibre(apart: float) -> None:
    k, s = np.full_like(INNER_NM, 0.4), np.full_like(INNER_NM, 9.0)

    found = mixed_layer(np.array([0.3, 0.7]), [k, k], [s, s], apart, 0.2, BLACK)

    np.testing.assert_allclose(found, layer_reflectance(k, s, weight=0.2, backing=BLACK))


def test_yarns_side_by_side_reflect_more_than_one_mixed_yarn() -> None:
    """A strong absorber shades its neighbours when it is spun in with them."""
    dark, pale = np.full_like(INNER_NM, 5.0), np.full_like(INNER_NM, 0.05)
    s = np.full_like(INNER_NM, 9.0)

    mixed, aside = (
        mixed_layer(np.array([0.5, 0.5]), [dark, pale], [s, s], apart, 1.0, BLACK) for apart in (0.0, 1.0)
    )

    assert (aside > mixed + 0.1).all()


def test_moving_one_share_keeps_the_sum() -> None:
    found = _moved(np.array([0.5, 0.3, 0.2]), 0.2)

    np.testing.assert_allclose(found, [0.7, 0.18, 0.12])


def test_a_plated_cloth_shows_another_mixture_on_its_face_than_on_its_back() -> None:
    swatch = replace(blend(), plated=1.0, weight=0.5, cover=1.0, shine=0.0)
    rng = np.random.default_rng(5)
    seen = np.array([reflectance(swatch, rng, spread=Spread(), humidity=0.5) for _ in range(12)])
    flat = replace(swatch, plated=0.0)
    same = np.array([reflectance(flat, rng, spread=Spread(), humidity=0.5) for _ in range(12)])

    def spread_of_shape(spectra: np.ndarray) -> float:
        slopes = np.diff(-np.log10(spectra), axis=1)
        return float(slopes.std(0).mean())

    assert spread_of_shape(seen) > spread_of_shape(same)
