"""A photo beside a scan: evidence that adds, halves that may be missing, and a trust that is not deceived."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from weft.bundle import load_bundle
from weft.errors import ManifestError, RecipeError
from weft.identifier import Identifier
from weft.spectra import make_scan
from weft_training.data import load_captures
from weft_training.export import export_run
from weft_training.fibre_task import FibreTask
from weft_training.fit import fit_run, make_fabric
from weft_training.given import answered_from
from weft_training.metrics import metrics_of
from weft_training.pair_task import PairTask, Trial, choose_trust
from weft_training.photo_beside_scan import PairNet
from weft_training.recipe import FibreRecipe, load_recipe
from weft_training.run import create_run

FIBRES = ("cotton", "polyester", "wool")
COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))
NM = np.arange(900.0, 1701.0, 10.0)

Write = Callable[..., Path]


@pytest.fixture
def write_recipe(write_made: Write, tmp_path: Path) -> Write:
    """18 swatches of three fibres, two weak scans each; a photo of most, in the fibre's colour if `told`."""

    def write(*, told: bool = True, share: bool = False, **model: Any) -> Path:
        rng = np.random.default_rng(5)
        rows = []
        for subject in range(18):
            place, photo = subject % 3, f"p{0 if share else subject}.png"
            colour = COLOURS[place if told else int(rng.integers(3))]
            cloth = np.clip(rng.normal(colour, 25, (40, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(cloth).save(tmp_path / photo)
            for scan in range(2):
                band = 0.05 * np.exp(-(((NM - 1000 - 180 * place) / 60) ** 2))
                rows.append(
                    {
                        "capture": f"g{subject}-{scan}",
                        "subject": f"g{subject}",
                        "kind": "spectrum",
                        "wavelength_nm": NM,
                        "absorbance": (band + rng.normal(0, 0.05, len(NM))).astype(np.float32),
                        "photo_path": photo if subject < 15 else None,
                        **{f"{name}_pct": 100.0 * (name == FIBRES[place]) for name in FIBRES},
                    }
                )
        section = {
            "grid": {"from_nm": 920, "to_nm": 1680, "step_nm": 10},
            "preprocess": [{"kind": "snv"}],
            "init": "lda",
            "shrinkage": 0.3,
            "novelty": {"components": 3},
            "photo": {"backbone": "test_efficientnet", "input_px": 32, "decode_px": 48, "views": 1},
        }
        return write_made(
            "pairs",
            rows,
            task="composition",
            data={"fibres": list(FIBRES)},
            split={"scheme": "folds", "folds": 3},
            model=section | model,
            augment={"views": 1, "noise": 0.01},
            optim={"epochs": 0, "batch": 16, "peak_lr": 0.01},
        )

    return write


def task_of(path: Path) -> PairTask:
    recipe = load_recipe(path)
    assert isinstance(recipe, FibreRecipe)
    task = PairTask(load_captures(recipe), recipe)
    task.prepare(quiet=True)
    return task


def asked(net: PairNet, absorbance: torch.Tensor, seen: torch.Tensor, *, scan: bool, photo: bool) -> Any:
    with torch.inference_mode():
        return net.tail.eval()(absorbance, seen, torch.tensor([scan]), torch.tensor([photo]))


def test_a_photo_that_tells_is_trusted_and_makes_weak_scans_right(write_recipe: Write) -> None:
    task = task_of(write_recipe())
    rows = np.arange(len(task.captures))
    held = np.isin(task.captures.subjects, ["g0", "g1", "g2"])
    net = task.build(rows[~held], seed=1)
    found = task.predict(net, rows[held])

    assert float(net.tail.photo.trust) > 0
    right = {
        given: metrics_of(answered_from(found, given, FIBRES), "composition", resamples=0)["mae_points"]
        for given in ("scan", "both")
    }
    assert right["both"] < right["scan"]


def test_a_photo_that_tells_nothing_is_trusted_with_nothing_and_changes_no_bit(write_recipe: Write) -> None:
    task = task_of(write_recipe(told=False))
    rows = np.arange(len(task.captures))
    net = task.build(rows, seed=1)
    absorbance, seen = task._absorbance[:6], task._features.pooled[:1, 0]

    both = asked(net, absorbance, seen, scan=True, photo=True)
    scan = asked(net, absorbance, seen, scan=True, photo=False)
    photo = asked(net, absorbance, seen, scan=False, photo=True)

    assert float(net.tail.photo.trust) == 0.0
    assert torch.equal(both.shares, scan.shares)
    assert torch.equal(both.unknown, scan.unknown)
    assert photo.unknown.min() > 0.99


def test_without_its_photo_a_scan_is_answered_as_by_the_recipe_without_photos(write_recipe: Write) -> None:
    task = task_of(write_recipe())
    rows = np.arange(len(task.captures))
    pair = task.build(rows, seed=1)
    alone = FibreTask.build(task, rows, seed=1)

    told = asked(pair, task._absorbance, task._features.pooled[:1, 0] * float("nan"), scan=True, photo=False)

    with torch.inference_mode():
        expected = alone.tail.eval()(task._absorbance)
    assert torch.equal(told.shares, expected.shares)
    assert torch.equal(told.unknown, expected.unknown)


def test_evidence_of_both_halves_adds(write_recipe: Write) -> None:
    task = task_of(write_recipe())
    net = task.build(np.arange(len(task.captures)), seed=1)
    absorbance, seen = task._absorbance[:4], task._features.pooled[:1, 0]

    both = asked(net, absorbance, seen, scan=True, photo=True).shares.log()
    scan = asked(net, absorbance, seen, scan=True, photo=False).shares.log()

    with torch.inference_mode():
        added = scan + net.tail.photo.trust * net.tail.photo(seen)
    assert torch.allclose(both - both[:, :1], added - added[:, :1], atol=1e-4)


def test_a_left_out_swatchs_photo_is_in_no_part_of_the_fit(write_recipe: Write) -> None:
    task = task_of(write_recipe())
    rows = np.arange(len(task.captures))
    kept = rows[task.captures.subjects != "g4"]
    before = task.build(kept, seed=1).tail.state_dict()

    own = task.photo_of[task.captures.subjects == "g4"][0]
    task._features.pooled[own] = 1e3  # nothing that is fitted without it may notice
    after = task.build(kept, seed=1).tail.state_dict()

    assert all(torch.equal(before[name], after[name]) for name in before)
    seen = task.build(rows, seed=1).tail.state_dict()
    assert not torch.equal(seen["photo.feature_mean"], before["photo.feature_mean"])


def test_the_trial_asks_of_each_swatch_a_head_that_has_not_seen_it(write_recipe: Write) -> None:
    # 15 photos of noise in 256 dimensions: a head that had seen them would be right about every one.
    task = task_of(write_recipe(told=False))
    task._features.pooled = torch.randn(
        task._features.pooled.shape, generator=torch.Generator().manual_seed(0)
    )
    rows = np.arange(len(task.captures))

    trial = task._left_out(rows)
    head = task.fitted_head(rows)

    assert trial is not None
    with torch.inference_mode():
        known = head(task._features.pooled[task.photo_of[:30], 0])
    truth = task.shares[:30, :-1].argmax(-1)
    assert (known.argmax(-1) == truth).float().mean() == 1
    assert (trial.photo.argmax(-1) == trial.truth.argmax(-1)).float().mean() < 0.7
    assert choose_trust(trial) == 0.0


def test_a_trust_needs_a_clear_gain_over_swatches_not_over_scans() -> None:
    truth = torch.eye(3).repeat(4, 1).repeat_interleave(10, dim=0)  # 12 swatches, 10 scans each
    subjects = np.repeat([f"s{number}" for number in range(12)], 10)
    says = truth - 1 / 3
    wrong = says.clone()
    wrong[60:] = says[60:].roll(1, dims=1)  # right of half of the swatches, wrong of the others

    blind = torch.zeros_like(truth)
    assert choose_trust(Trial(blind, says, truth, subjects)) >= 4
    assert choose_trust(Trial(blind, wrong, truth, subjects)) == 0
    assert choose_trust(Trial(50 * truth, says, truth, subjects)) == 0  # the scan tells all there is


def test_one_photo_beside_two_swatches_is_refused(write_recipe: Write) -> None:
    with pytest.raises(ManifestError, match="the same photo stands beside g0, g1"):
        task_of(write_recipe(share=True))


def test_a_photo_needs_evidence_that_it_can_be_added_to(write_recipe: Write) -> None:
    with pytest.raises(RecipeError, match="photo needs init: lda and outputs: softmax"):
        load_recipe(write_recipe(init="pls"))
    with pytest.raises(RecipeError, match=r"model.photo needs optim.epochs: 0"):
        load_recipe(write_recipe(), ["optim.epochs=3"])


def test_a_bundle_answers_a_scan_a_photo_or_both_as_the_net_did(write_recipe: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe())
    run = create_run(recipe, tmp_path / "runs")
    fit_run(run, make_fabric(recipe))

    report = export_run(run, tmp_path / "pairs.onnx")

    section = report.card.composition
    assert section is not None
    assert section.photo is not None
    assert section.photo.subjects == 15
    assert {"scan.balanced_accuracy", "photo.balanced_accuracy", "both.balanced_accuracy"} <= set(
        report.card.metrics
    )
    identifier = Identifier(load_bundle(tmp_path / "pairs.onnx"))
    frame = load_captures(recipe).manifest.frame
    scan = make_scan(values=frame["absorbance"].iloc[0], quantity="absorbance", wavelength_nm=NM)
    large = io.BytesIO()  # a service hears no photo as small as those that this trains on
    Image.open(tmp_path / "p0.png").resize((192, 160), Image.Resampling.NEAREST).save(large, "PNG")
    photo = identifier.photo(large.getvalue())
    answers = [identifier.identify(scan), identifier.identify(scan, photo), identifier.identify_photo(photo)]
    assert all(sum(item.share for item in one.shares) == pytest.approx(1) for one in answers)
    assert answers[1].shares[0].share > answers[0].shares[0].share  # its photo is of cotton's colour
    assert answers[1].unknown == pytest.approx(answers[0].unknown, abs=1e-6)
