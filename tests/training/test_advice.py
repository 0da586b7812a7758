"""Learning which photos should not be weighed by: what is measured of a photo, and honest rates."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.random import default_rng
from PIL import Image
from torch import Tensor, nn

from weft.errors import ManifestError
from weft_datasets.manifest import make_manifest, write_manifest
from weft_training.advice import GOOD, KnownPhotos, fit_judge, learn_advice, read_photos
from weft_training.photo_judge import PhotoJudge, describe, edge_distance
from weft_training.recipe import WeightRecipe, check_recipe
from weft_training.resize import to_squares
from weft_training.weight_stem import WeightStem


class Colour(nn.Module):
    """A backbone that sees the mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, squares: Tensor) -> Tensor:
        return squares.mean((-2, -1)) * self.scale


def stem() -> WeightStem:
    return WeightStem(Colour(), input_px=32, mean=[127.5] * 3, std=[127.5] * 3)


def recipe(tmp_path: Path, **advice: object) -> WeightRecipe:
    plain = {
        "seed": 0,
        "name": "made",
        "task": "weight",
        "data": {"manifest": "m.parquet", "decode_px": 32},
        "model": {"backbone": "x", "input_px": 32},
        "optim": {"epochs": 1, "batch": 2, "peak_lr": 1e-3},
        "compute": {"cache": str(tmp_path / "cache")},
        "export": {"name": "made", "dataset": "none"},
        "advice": advice,
    }
    found = check_recipe(plain, source="test")
    assert isinstance(found, WeightRecipe)
    return found


def known(rng: np.random.Generator, apart: float, subjects: int = 60) -> KnownPhotos:
    """A good photo, a screen and a covered one of every subject; each fault moves a statistic of its own."""
    fault = np.array([GOOD, "screen", "covered"] * subjects)
    statistics = rng.normal(size=(len(fault), 6))
    statistics[fault == "screen", 0] += apart
    statistics[fault == "covered", 1] += apart
    return KnownPhotos(statistics, fault, np.repeat(np.arange(subjects), 3).astype(str), True)


def test_plain_faults_are_hit_and_good_photos_left_alone() -> None:
    judge, rules = fit_judge(known(default_rng(0), apart=8.0), false_alarms=0.05, false_refusals=0.02)

    assert [rule.word for rule in rules] == ["screen", "covered"]
    for rule in rules:
        assert rule.hit_rate > 0.95
        assert rule.false_alarm_rate <= 0.12
        assert rule.false_refusal_rate <= rule.false_alarm_rate
        assert rule.advise_above <= rule.refuse_above
        assert (rule.faulty_photos, rule.good_photos, rule.simulated) == (60, 60, True)
    assert isinstance(judge, PhotoJudge)


def test_what_cannot_be_told_apart_is_not_claimed() -> None:
    """The rates come from subjects that were left out: noise that a fit would learn by heart hits nobody."""
    _, rules = fit_judge(known(default_rng(1), apart=0.0), false_alarms=0.02, false_refusals=0.01)

    assert max(rule.hit_rate for rule in rules) < 0.2


def test_a_fault_with_too_few_photos_is_not_learnt_and_none_at_all_is_refused() -> None:
    photos = known(default_rng(0), apart=8.0)
    few = photos.fault == "covered"
    few[np.flatnonzero(few)[:5]] = False
    kept = KnownPhotos(photos.statistics[~few], photos.fault[~few], photos.subjects[~few], True)
    _, rules = fit_judge(kept, false_alarms=0.05, false_refusals=0.02)
    assert [rule.word for rule in rules] == ["screen"]

    good = photos.fault == GOOD
    with pytest.raises(ManifestError, match="enough of 0 faults; at least 20 subjects of each are needed"):
        fit_judge(
            KnownPhotos(photos.statistics[good], photos.fault[good], photos.subjects[good], True),
            false_alarms=0.05,
            false_refusals=0.02,
        )


@pytest.mark.parametrize(("rows", "columns"), [(240, 320), (320, 180), (320, 320)])
def test_the_frame_is_where_the_resize_puts_the_photos_edge(rows: int, columns: int) -> None:
    white = torch.full((1, 3, 320, 320), 255.0)
    size = torch.tensor([[rows, columns]])
    laid = to_squares(white, size, out=14)[0, 0]  # grey beside the photo
    distance = edge_distance(size[None], cells=14)[0, 0]

    assert torch.equal(distance > 0, laid > 200)
    assert float(distance.max()) == pytest.approx(6.5 * min(rows, columns) / 320, abs=0.6)


def test_something_at_the_frame_shows_in_other_statistics_than_in_the_middle() -> None:
    maps = torch.zeros(1, 2, 1, 14, 14)
    maps[0, 0, 0, 7, 7] = 1  # one photo has it in the middle, one at its left edge
    maps[0, 1, 0, 7, 0] = 1
    found = describe(torch.zeros(1, 2, 3), maps, torch.full((1, 2, 2), 320))

    assert found.shape == (1, 2, 3 + 5)
    middle, edge = found[0, :, 3:]
    assert middle[0] == 0
    assert edge[0] > 0
    assert middle[3] == 0
    assert edge[3] == 1


def test_padding_beside_a_photo_says_nothing() -> None:
    maps = torch.randn(1, 1, 2, 14, 14)
    size = torch.tensor([[[320, 180]]])
    other = torch.where(edge_distance(size, cells=14)[:, :, None] > 0, maps, torch.full_like(maps, 50.0))

    torch.testing.assert_close(
        describe(torch.zeros(1, 1, 1), maps, size), describe(torch.zeros(1, 1, 1), other, size)
    )


def test_an_empty_place_of_a_batch_gives_numbers_not_nan() -> None:
    judge = PhotoJudge(statistics=1 + 5, faults=2)
    chances = judge(
        torch.zeros(1, 1, 1), torch.zeros(1, 1, 1, 14, 14), torch.zeros(1, 1, 2, dtype=torch.long)
    )

    assert torch.isfinite(chances).all()


def photos_of(tmp_path: Path, words: list[str | None], subjects: int = 24) -> Path:
    """Red photos are screens, green ones covered, grey ones good."""
    colours = {"screen": (220, 40, 40), "covered": (40, 220, 40)}
    rng = default_rng(0)
    rows = []
    for subject in range(subjects):
        for word in words:
            name = f"s{subject}-{word or 'good'}"
            pixels = rng.normal(colours.get(str(word), (128, 128, 128)), 12, (24, 32, 3)).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
            row = {"capture": name, "subject": f"s{subject}", "kind": "photo", "path": f"{name}.png"}
            rows.append(row | {"fault": word, "simulated": False})
    made = make_manifest(pd.DataFrame(rows), root=tmp_path, name="faults", notes={})
    write_manifest(made, tmp_path / "faults.parquet")
    return tmp_path / "faults.parquet"


def test_a_judge_is_learnt_from_the_manifests_of_the_recipe_behind_its_own_stem(tmp_path: Path) -> None:
    path = photos_of(tmp_path, [None, "screen", "covered"])
    judge, rules = learn_advice(recipe(tmp_path, manifests=[str(path)]), stem())

    assert [(rule.word, rule.hit_rate, rule.simulated) for rule in rules] == [
        ("screen", 1.0, False),
        ("covered", 1.0, False),
    ]
    assert judge is not None
    assert list((tmp_path / "cache").glob("advice-*.npy")) != []  # the next export need not look again


def test_without_the_section_nothing_is_learnt(tmp_path: Path) -> None:
    plain = recipe(tmp_path, manifests=["x.parquet"]).model_copy(update={"advice": None})

    assert learn_advice(plain, stem()) == (None, ())


def test_a_word_that_is_no_fault_is_named(tmp_path: Path) -> None:
    path = photos_of(tmp_path, [None, "wet"], subjects=2)
    asked = recipe(tmp_path, manifests=[str(path)])

    with pytest.raises(ManifestError, match="fault is wet; it is one of screen, covered"):
        read_photos(asked, [path], stem())
