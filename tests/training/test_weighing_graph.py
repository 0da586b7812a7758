"""The exported graph answers as the calibration was measured, in every group."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from weft.cells import CELLS
from weft_training.calibrate import WeightCalibration
from weft_training.weighing_graph import WeighingGraph
from weft_training.weight_net import WeightNet, WeightTail
from weft_training.weight_stem import WeightStem


class Look(nn.Module):
    """A backbone of two numbers: how bright, how uneven."""

    def forward(self, photos: Tensor) -> Tensor:
        return torch.stack([photos.mean((1, 2, 3)), photos.std((1, 2, 3))], dim=-1)


def weight_net() -> WeightNet:
    torch.manual_seed(0)
    stem = WeightStem(Look(), input_px=16, mean=[127.5] * 3, std=[60.0] * 3)
    return WeightNet(stem, WeightTail(features=2, hidden=8, dropout=0.5)).eval()


def parcels() -> dict[str, Tensor]:
    """Twelve parcels of 1 to 6 photos, every other one with a scale mark in its last photo."""
    generator = torch.Generator().manual_seed(1)
    photos = torch.arange(12) // 2 + 1
    mask = torch.arange(6) < photos[:, None]
    last = torch.arange(6) == photos[:, None] - 1
    marked = (torch.arange(12) % 2 == 1)[:, None]
    return {
        "photos": torch.randint(0, 256, (12, 6, 3, 20, 30), generator=generator, dtype=torch.uint8),
        "size": torch.tensor([20, 30]).expand(12, 6, 2),
        "mask": mask,
        # The scale of a photo that is masked out must not count as a mark.
        "mm_per_pixel": torch.where(marked & last, 2.0, 0.0) + (~mask).float(),
        "mark_at": torch.rand((12, 6, 3), generator=generator) * torch.tensor([30.0, 20.0, 1.0]),
        "season": torch.zeros(12, dtype=torch.int64),
        "wrap": torch.zeros(12, dtype=torch.int64),
    }


def test_the_graph_applies_the_margin_of_each_group_as_it_was_measured() -> None:
    net, given = weight_net(), parcels()
    raw = net(**given)
    grams = raw.log_grams.exp().detach().numpy()
    margin = np.random.default_rng(0).uniform(-0.2, 0.5, (len(CELLS), 3))
    calibration = WeightCalibration(
        coverage=0.9,
        edges_grams=tuple(np.quantile(grams, [0.3, 0.7]).tolist()),
        log_margin=tuple(tuple(row) for row in margin.tolist()),
        subjects=40,
    )
    table = pd.DataFrame(
        {
            "predicted_grams": grams,
            "n_photos": np.arange(12) // 2 + 1,
            "marked": np.arange(12) % 2 == 1,
            "q_low_grams": raw.log_low.exp().detach().numpy(),
            "q_high_grams": raw.log_high.exp().detach().numpy(),
        }
    )
    expected_low, expected_high = calibration.intervals(table)

    graph = WeighingGraph(net, edges_grams=calibration.edges_grams, log_margin=calibration.log_margin)
    _, low, high, *_ = graph(**given)

    assert low.detach().numpy() == pytest.approx(expected_low, rel=1e-5)
    assert high.detach().numpy() == pytest.approx(expected_high, rel=1e-5)


def test_without_a_calibration_low_and_high_are_the_estimate() -> None:
    grams, low, high, *_ = WeighingGraph(weight_net())(**parcels())

    assert torch.equal(grams, low)
    assert torch.equal(grams, high)


def test_what_a_photo_says_by_itself_is_what_it_says_alone() -> None:
    net, given = weight_net(), parcels()
    graph = WeighingGraph(net)
    found = dict(zip(graph.outputs, graph(**given), strict=True))

    alone = {name: value if name in {"season", "wrap"} else value[:, :1] for name, value in given.items()}

    assert torch.allclose(found["photo_grams"][:, 0], net(**alone).log_grams.exp())
    assert torch.allclose(found["photo_grams"][:2, 0], found["grams"][:2])  # these have one photo only
    assert (found["photo_grams"][~given["mask"]] == 0).all()


def test_each_photo_has_its_strangeness_whatever_stands_beside_it() -> None:
    net, given = weight_net(), parcels()
    pooled = net.stem(given["photos"], given["size"], given["mask"]).pooled
    net.tail.familiarity.fit(pooled[:6, 0], [f"s{n}" for n in range(6)])
    graph = WeighingGraph(net)
    strange = dict(zip(graph.outputs, graph(**given), strict=True))["strangeness"]

    assert strange.shape == (12, 6)
    assert strange[:6, 0] == pytest.approx(0, abs=1e-6)  # six photos, each its own prototype
    assert strange[:, 0].detach().numpy() == pytest.approx(
        net.tail.familiarity(pooled[:, :1])[:, 0].detach().numpy()
    )
    assert (strange[~given["mask"]] == 0).all()


def test_a_judge_of_faults_is_asked_about_every_photo() -> None:
    class Judge(nn.Module):
        def forward(self, pooled: Tensor, maps: Tensor, size: Tensor) -> Tensor:
            return pooled[..., :1] * 0 + size.sum(-1, keepdim=True)

    graph = WeighingGraph(weight_net(), judge=Judge())
    found = dict(zip(graph.outputs, graph(**parcels()), strict=True))

    assert found["faults"].shape == (12, 6, 1)
    assert (found["faults"] == 50).all()
