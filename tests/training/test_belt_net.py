"""A belt's net: what is folded for speed answers like what was trained."""

import numpy as np
import pytest
import torch
from torch import Tensor

from weft_training.belt_net import FLOOR, BeltGraph, BeltNet, log_light
from weft_training.belt_task import BeltLoss
from weft_training.fibre_net import FibreOutput

BANDS = 40


def made_light(count: int, seed: int = 0) -> Tensor:
    """Reflectance (count, BANDS): smooth, with peaks at chance."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, BANDS)
    peaks = rng.uniform(0, 1, (count, 3, 1))
    bands = (rng.uniform(0, 0.5, (count, 3, 1)) * np.exp(-(((at - peaks) / 0.1) ** 2))).sum(1)
    return torch.from_numpy((10 ** -(bands + rng.uniform(0.1, 0.6, (count, 1)))).astype(np.float32))


def fitted(dropout: float = 0.1) -> BeltNet:
    torch.manual_seed(1)
    net = BeltNet(bands=BANDS, components=12, hidden=(16, 8), fibres=3, dropout=dropout)
    net.fit_components(log_light(made_light(500)), noise_floor=0.01)
    return net.eval()


def test_the_folded_graph_answers_like_the_net_that_was_trained() -> None:
    net, light = fitted(), made_light(200, seed=2)

    with torch.no_grad():
        trained = net(log_light(light))
        shares, unknown = BeltGraph(net).eval()(light)

    torch.testing.assert_close(shares, trained.shares, atol=2e-5, rtol=0)
    torch.testing.assert_close(unknown, trained.unknown, atol=2e-5, rtol=0)


def test_brightness_alone_changes_what_the_net_sees_only_through_its_levels() -> None:
    net, light = fitted(), made_light(50, seed=3)
    with torch.no_grad():
        net.layers[0].weight[:, -2:] = 0  # the levels are not listened to

        found = BeltGraph(net).eval()(light)[0]
        darker = BeltGraph(net).eval()(0.4 * light)[0]

    torch.testing.assert_close(found, darker, atol=1e-5, rtol=0)


def test_no_light_and_less_than_none_are_both_black() -> None:
    graph = BeltGraph(fitted()).eval()
    black = torch.full((1, BANDS), FLOOR)
    with torch.no_grad():
        found = [graph(light)[0] for light in (black, torch.zeros(1, BANDS), -torch.ones(1, BANDS))]

    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])
    assert torch.isfinite(found[0]).all()


def test_components_are_whitened_down_to_the_noise_and_not_below_it() -> None:
    net = BeltNet(bands=BANDS, components=BANDS - 1, hidden=(4,), fibres=2, dropout=0.0)
    light = made_light(4000, seed=4)
    net.fit_components(log_light(light), noise_floor=0.05)
    logs = log_light(light)
    centred = logs - logs.mean(1, keepdim=True)
    snv = centred / centred.square().mean(1, keepdim=True).sqrt()

    spread = ((snv - net.centre) @ net.basis).std(0)

    assert spread[0] == pytest.approx(1, abs=0.05)
    assert spread[-1] < 0.3


def test_an_error_that_the_vote_evens_out_costs_less_than_one_that_stays() -> None:
    truth = torch.tensor([[0.5, 0.5, 0.0]] * 4)
    unknown = torch.full((4,), 0.01)
    evened = torch.tensor([[0.7, 0.3], [0.3, 0.7], [0.7, 0.3], [0.3, 0.7]])
    stays = torch.tensor([[0.7, 0.3]] * 4)
    loss = BeltLoss(pixels=4, garment=1.0)

    gap = loss(FibreOutput(stays, unknown), truth) - loss(FibreOutput(evened, unknown), truth)

    assert gap > 0.05
    plain = BeltLoss(pixels=4, garment=0.0)
    torch.testing.assert_close(
        plain(FibreOutput(stays, unknown), truth), plain(FibreOutput(evened, unknown), truth)
    )


def test_strangers_pixels_teach_no_shares() -> None:
    truth = torch.tensor([[0.0, 0.0, 1.0]] * 2)
    said = torch.tensor([[0.9, 0.1], [0.1, 0.9]], requires_grad=True)

    BeltLoss(pixels=2, garment=1.0)(FibreOutput(said, torch.full((2,), 0.5)), truth).backward()

    assert said.grad is not None
    assert said.grad.abs().max() == 0
