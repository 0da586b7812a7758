"""Changes of spectra: each does what its name says, and none at strength 0."""

import numpy as np
import pytest
import torch

from weft_training.augment import change_spectra, weaker
from weft_training.recipe import SpectrumAugment

NM = torch.arange(1010.0, 1641.0, 5.0)
TRUTH = torch.eye(3)[torch.zeros(400, dtype=torch.long)]


def band(*, level: float = 0.3, rows: int = 400) -> torch.Tensor:
    return (level + 0.2 * torch.exp(-0.5 * ((NM - 1325) / 12) ** 2)).expand(rows, -1)


def changed(absorbance: torch.Tensor, settings: SpectrumAugment) -> torch.Tensor:
    torch.manual_seed(0)
    return change_spectra(absorbance, TRUTH[: len(absorbance)], step_nm=5, settings=settings)[0]


def test_without_strengths_nothing_changes() -> None:
    assert torch.equal(changed(band(), SpectrumAugment()), band())
    assert torch.equal(changed(band(), weaker(SpectrumAugment(baseline=0.1, stray=0.1), 0.0)), band())


def test_a_slit_flattens_some_bands_and_sharpens_others_and_keeps_straight_lines() -> None:
    settings = SpectrumAugment(resolution_nm=20)
    height = changed(band(), settings).max(-1).values
    line = torch.linspace(0.2, 0.6, len(NM)).expand(400, -1)

    assert float((height < 0.499).float().mean()) == pytest.approx(0.5, abs=0.1)
    assert height.max() > 0.5
    assert (changed(line, settings) - line).abs().max() < 1e-4


def test_detector_noise_is_noise_of_reflectance_so_that_dark_scans_suffer_more() -> None:
    settings = SpectrumAugment(detector_noise=0.001)

    bright, dark = (
        float((changed(band(level=level), settings) - band(level=level)).std()) for level in (0.1, 1.1)
    )

    assert dark / bright == pytest.approx(10, rel=0.2)


def test_stray_light_makes_scans_brighter_and_their_bands_smaller() -> None:
    found = changed(band(level=1.0), SpectrumAugment(stray=0.03))

    assert (found <= band(level=1.0) + 1e-6).all()
    assert (found.max(-1).values - found.min(-1).values).median() < 0.19


def test_the_baseline_is_as_large_as_said_and_smooth() -> None:
    found = changed(band(), SpectrumAugment(baseline=0.02, baseline_nm=120)) - band()

    assert float(found.std()) == pytest.approx(0.02, rel=0.15)
    assert float(found.diff(n=3).std()) < 1e-4


def test_weaker_changes_keep_how_often_scans_are_mixed() -> None:
    settings = SpectrumAugment(views=5, shift_nm=3, blend=0.2, baseline=0.03, baseline_nm=90)

    found = weaker(settings, 0.5)

    assert (found.shift_nm, found.baseline) == (1.5, 0.015)
    assert (found.views, found.blend, found.baseline_nm) == (5, 0.2, 90)
    assert np.isclose(settings.shift_nm, 3)


def test_a_dye_darkens_every_second_scan_and_flattens_its_band() -> None:
    found = changed(band(), SpectrumAugment(dye=3.0))
    dyed = (found - band()).abs().amax(-1) > 1e-6
    height = found[dyed].amax(-1) - found[dyed].median(-1).values

    assert float(dyed.float().mean()) == pytest.approx(0.5, abs=0.1)
    assert (found >= band() - 1e-5).all()
    assert (height < 0.2).all()
    assert found.mean(-1).max() > 0.45


def test_a_dye_leaves_a_scan_that_is_brighter_than_white_without_a_kink() -> None:
    found = changed(band(level=-0.1), SpectrumAugment(dye=1.0))

    assert torch.isfinite(found).all()
    assert float(found.diff(n=2).abs().max()) <= float(band(level=-0.1).diff(n=2).abs().max()) * 1.2
