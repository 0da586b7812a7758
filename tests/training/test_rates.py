"""Rates by layer, their course, and the average of weights."""

from weft_training import torchvision_gate  # noqa: F401  # isort: skip

import pytest
import timm
import torch
from torch import nn

from weft_training.rates import parameter_groups, set_rates, start_average, update_average
from weft_training.recipe import OptimSection


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("test_efficientnet", num_classes=0)
        self.head = nn.Linear(self.backbone.num_features, 1)  # pyright: ignore[reportArgumentType]


def optim(**keys: float) -> OptimSection:
    return OptimSection.model_validate({"epochs": 1, "batch": 2, "peak_lr": 1e-3, "weight_decay": 0.1} | keys)


def peaks(net: Net, groups: list[dict[str, object]]) -> dict[str, tuple[float, float]]:
    """Peak rate and decay by the parameter's name."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return {
        names[id(parameter)]: (group["peak_lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]  # pyright: ignore[reportGeneralTypeIssues]
    }


def test_every_layer_learns_slower_than_the_one_behind_it_and_the_head_fastest() -> None:
    net = Net()

    found = peaks(net, parameter_groups(net, net.backbone, optim(backbone_lr=1e-4, layer_decay=0.5)))

    assert set(found) == {name for name, _ in net.named_parameters()}
    assert found["head.weight"] == (1e-3, 0.1)
    assert found["backbone.conv_head.weight"][0] == 1e-4
    rates = [found[name][0] for name, _ in net.backbone.named_parameters(prefix="backbone")]
    assert rates == sorted(rates)
    assert found["backbone.conv_stem.weight"][0] < 1e-4 / 8
    assert found["backbone.bn1.weight"][1] == found["head.bias"][1] == 0.0


def test_without_layer_decay_there_are_two_rates_and_frozen_stages_have_none() -> None:
    net = Net()
    net.backbone.conv_stem.requires_grad_(False)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]

    groups = parameter_groups(net, net.backbone, optim(backbone_lr=1e-4))

    assert {group["peak_lr"] for group in groups} == {1e-3, 1e-4}
    assert len(groups) == 4
    assert "backbone.conv_stem.weight" not in peaks(net, groups)


def test_a_layer_keeps_its_part_of_the_rate_through_warm_up_and_decay() -> None:
    net = Net()
    groups = parameter_groups(net, net.backbone, optim(layer_decay=0.5))
    optimizer = torch.optim.AdamW(groups)

    set_rates(optimizer, 0.7, warmup=0.1)

    assert len({round(group["lr"] / group["peak_lr"], 9) for group in optimizer.param_groups}) == 1


def test_the_average_has_the_batch_norm_statistics_of_its_own_weights() -> None:
    """With a layer whose weight drifts, the last step's statistics are ahead of the averaged weight."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1, momentum=1.0))
    average = start_average(net)
    inputs = torch.randn(4096, 1)
    for step in range(200):
        with torch.no_grad():
            net[0].weight.fill_(1 + step / 50)  # pyright: ignore[reportCallIssue]
        net(inputs)
        update_average(average, net, decay=0.95, step=step)

    expected = float((inputs * average[0].weight.detach()).var())
    assert abs(float(average[1].running_var) / expected - 1) < 0.05
    assert float(net[1].running_var) / expected > 1.1, "copied statistics would be this far off"
    assert int(average[1].num_batches_tracked) == 200


def test_the_rate_rises_then_falls_to_zero() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    optimizer.param_groups[0]["peak_lr"] = 1.0
    rates = []
    for progress in (0.0, 0.05, 0.1, 0.55, 1.0):
        set_rates(optimizer, progress, warmup=0.1)
        rates.append(optimizer.param_groups[0]["lr"])

    assert rates == pytest.approx([0.01, 0.505, 1.0, 0.5, 0.0], abs=0.01)
