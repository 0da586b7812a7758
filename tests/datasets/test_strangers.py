"""Things that are no textile: drawn as asked, and black cloth that shows none of its fibre."""

from pathlib import Path

import numpy as np
import pytest

from weft_datasets import strangers
from weft_datasets.absorption import FIBRE_MATERIALS
from weft_datasets.instruments import INNER_NM
from weft_datasets.makes import Spread
from weft_datasets.plastics import OTHER_MATERIALS
from weft_datasets.simulate_spectra import write_spectra
from weft_datasets.strangers import ASKED_ONLY, STRANGERS, drawn_stranger, odds_of
from weft_datasets.swatches import drawn_swatch, reflectance

BANDS = (INNER_NM >= 1000) & (INNER_NM <= 1650)


def test_only_what_is_asked_for_is_simulated(tmp_path: Path) -> None:
    frame = write_spectra(tmp_path, subjects=12, seed=2, scans=(1, 1), only=("leather", "paper")).frame

    assert set(frame["klass"]) == {"leather", "paper"}
    assert (frame["unknown_pct"] == 100).all()


def test_what_is_left_out_is_not_simulated_and_the_manifest_says_so(tmp_path: Path) -> None:
    without = tuple(name for name in STRANGERS if name not in ("pvc", "rubber"))
    manifest = write_spectra(tmp_path, subjects=60, seed=2, scans=(1, 1), without=without)

    found = set(manifest.frame.loc[manifest.frame["unknown_pct"] == 100, "klass"])
    assert found == {"pvc", "rubber"}
    assert manifest.notes["without"] == list(without)


def test_leather_paper_and_wood_are_never_drawn_unasked() -> None:
    assert not set(ASKED_ONLY) & set(STRANGERS)
    assert set(ASKED_ONLY) <= set(OTHER_MATERIALS)


def test_pet_and_pp_plastics_are_no_strangers_since_they_are_chemically_fibres() -> None:
    assert not {"polyester", "polypropylene", "pet", "pp"} & {*OTHER_MATERIALS, *STRANGERS}


@pytest.mark.parametrize("asked", [{"only": ("marzipan",)}, {"without": ("marzipan",)}])
def test_a_stranger_that_there_is_not_is_named_with_those_that_there_are(asked: dict) -> None:
    with pytest.raises(ValueError, match=r"no stranger is called marzipan; there are polyethylene"):
        odds_of(**asked)


def test_leaving_all_strangers_out_is_refused() -> None:
    with pytest.raises(ValueError, match="no stranger is left"):
        odds_of(without=tuple(STRANGERS))


@pytest.mark.parametrize("name", [*STRANGERS, *ASKED_ONLY])
def test_every_stranger_reflects_what_light_can(name: str) -> None:
    rng = np.random.default_rng(3)
    stranger = drawn_stranger(rng, spread=Spread(), odds={name: 1.0})

    seen = strangers.reflectance(stranger, rng, spread=Spread())

    assert stranger.name == name
    assert np.isfinite(seen).all()
    assert seen.min() >= 0.0
    assert seen.max() <= 1.45  # a saturated detector says more than there is


def test_a_black_garment_shows_far_less_of_its_fibre_than_another() -> None:
    def contrast(black: bool) -> float:
        found = []
        for seed in range(12):
            rng = np.random.default_rng(seed)
            swatch = drawn_swatch(rng, spread=Spread(), black=black)
            seen = -np.log10(reflectance(swatch, rng, spread=Spread(), humidity=0.5))[BANDS]
            found.append(float(np.diff(seen, n=2).std()))
        return float(np.median(found))

    assert contrast(black=True) < 0.3 * contrast(black=False)


def test_a_saturated_scan_is_flat_where_the_detector_is_full() -> None:
    rng = np.random.default_rng(0)
    stranger = drawn_stranger(rng, spread=Spread(), odds={"saturated": 1.0})
    seen = [strangers.reflectance(stranger, rng, spread=Spread()) for _ in range(5)]

    flat = [np.isclose(one, one.max()).mean() for one in seen]
    assert max(flat) > 0.6


def test_invented_solids_are_unlike_every_fibre() -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        found = strangers.slopes(strangers._unlike_any_fibre(rng))
        for known in strangers._known_slopes():
            assert np.mean(found * known) < strangers.ALIKE
    assert len(strangers._known_slopes()) == len(FIBRE_MATERIALS)
