"""What lies beside the plane of known spectra is unknown, as far as its noise does not explain it."""

import numpy as np
import torch

from weft_training.novelty import Known, Novelty, find_known

NM = np.arange(1010.0, 1641.0, 5.0)


def fabrics(rows: int, *, noise: np.ndarray | float = 0.0, seed: int = 0) -> np.ndarray:
    """(rows, G) mixtures of three spectra on a level, with noise of one size or of one a row."""
    rng = np.random.default_rng(seed)
    bands = ((1200.0, 40.0), (1480.0, 50.0), (1610.0, 35.0))
    pure = np.stack([np.exp(-0.5 * ((NM - at) / wide) ** 2) for at, wide in bands])
    mixed = 0.3 + 0.3 * rng.dirichlet(np.ones(3), rows) @ pure
    return mixed + rng.normal(size=mixed.shape) * np.reshape(noise, (-1, 1))


def fitted(absorbance: np.ndarray, *, components: int = 4, sees_darkness: bool = False) -> Novelty:
    novelty = Novelty(
        points=len(NM), components=components, grid_points=len(NM), step_nm=5.0, sees_darkness=sees_darkness
    )
    doubts = novelty.doubts(torch.from_numpy(absorbance).float()).numpy()
    subjects = np.array([f"s{row // 4}" for row in range(len(absorbance))])
    known = find_known(absorbance - 0.4, doubts, subjects, components=components, clean=len(doubts))
    novelty.keep(known, margin=1.3, noise_margin=4.0)
    return novelty


def ask(novelty: Novelty, absorbance: np.ndarray) -> np.ndarray:
    return novelty(torch.from_numpy(absorbance - 0.4).float(), torch.from_numpy(absorbance).float()).numpy()


def test_nothing_is_novel_before_anything_is_known() -> None:
    novelty = Novelty(points=len(NM), components=3, grid_points=len(NM), step_nm=5.0)

    assert (ask(novelty, fabrics(5)) == 0).all()


def test_a_band_where_no_known_fibre_has_one_is_unknown() -> None:
    novelty = fitted(fabrics(80, noise=0.002))
    stranger = fabrics(10, noise=0.002, seed=1) + 0.1 * np.exp(-0.5 * ((NM - 1340) / 25) ** 2)

    assert (ask(novelty, fabrics(10, noise=0.002, seed=2)) < 0.5).all()
    assert (ask(novelty, stranger) > 0.9).all()


def test_a_noisy_scan_of_a_known_fibre_is_not_taken_for_a_stranger() -> None:
    noise = np.exp(np.random.default_rng(3).uniform(np.log(0.0005), np.log(0.02), 200))
    novelty = fitted(fabrics(200, noise=noise))

    assert (ask(novelty, fabrics(10, noise=0.015, seed=4)) < 0.5).all()
    # As far from the plane, without noise that would explain it: a stranger.
    away = fabrics(10, seed=5) + 0.06 * np.exp(-0.5 * ((NM - 1340) / 25) ** 2)
    assert (ask(novelty, away) > 0.5).all()


def test_a_scan_of_nothing_but_noise_is_unknown_by_that_alone() -> None:
    novelty = fitted(fabrics(80, noise=0.002))
    nothing = 0.4 + np.random.default_rng(6).normal(0, 0.002, (5, len(NM)))

    assert (ask(novelty, nothing) > 0.9).all()


def test_the_usual_distance_is_that_of_subjects_left_out() -> None:
    absorbance = fabrics(24, noise=0.01) - 0.4
    subjects = np.array([f"s{row // 3}" for row in range(24)])

    known = find_known(absorbance, np.zeros((24, 1)), subjects, components=5, clean=24)

    own = np.sqrt(np.square(absorbance - absorbance @ known.plane @ known.plane.T).mean(1) / known.level)
    assert isinstance(known, Known)
    assert known.plane.shape == (len(NM), 5)
    assert known.usual > np.quantile(own, 0.99)


def test_the_noise_is_read_off_the_scan_whatever_its_bands() -> None:
    novelty = Novelty(points=len(NM), components=3, grid_points=len(NM), step_nm=5.0)

    quiet, loud = (
        novelty.noise_to_signal(torch.from_numpy(fabrics(20, noise=size)).float()).mean()
        for size in (0.001, 0.004)
    )

    assert 3.5 < float(loud / quiet) < 4.5


def dark_fabrics(rows: int, *, seed: int) -> np.ndarray:
    """(rows, G) of 3 to 80 % reflectance, each with an error of the dark level some 60 nm long."""
    rng = np.random.default_rng(seed)
    light = np.exp(rng.uniform(np.log(0.03), np.log(0.8), (rows, 1)))
    seen = light * 10.0 ** -(fabrics(rows, seed=seed) - 0.3)
    error = 3e-4 * np.cos(NM / 60 + rng.uniform(0, 2 * np.pi, (rows, 1)))
    return -np.log10(seen + error)


def test_a_dark_scan_of_a_known_fibre_is_not_taken_for_a_stranger() -> None:
    absorbance = dark_fabrics(400, seed=7)
    seeing, blind = (fitted(absorbance, sees_darkness=sees) for sees in (True, False))
    dark = dark_fabrics(400, seed=8)
    light = 10 ** -dark.mean(1)
    # In a bright scan the error of a dark one is a band of its own.
    bright = dark_fabrics(40, seed=9)
    bright = bright[10 ** -bright.mean(1) > 0.3] + 0.004 * np.cos(NM / 60)

    assert (ask(seeing, dark[light < 0.06]) > 0.5).mean() < 0.05
    assert (ask(seeing, bright) > 0.5).all()
    assert (ask(blind, bright) < 0.5).all()


def test_what_gives_back_less_light_than_anything_known_is_unknown_by_that_alone() -> None:
    novelty = fitted(fabrics(80, noise=0.002), sees_darkness=True)
    novelty.least_light.fill_(0.1)

    assert (ask(novelty, fabrics(10, noise=0.002, seed=2)) < 0.5).all()
    assert (ask(novelty, fabrics(10, noise=0.002, seed=2) + 1.0) > 0.5).all()
