"""One update, and the losses it goes by."""

import pytest
import torch
from torch import Tensor, nn

from weft_training.fibre_net import FibreOutput
from weft_training.step import Batch, QuantileLoss, ShareLoss, pinball, train_step
from weft_training.weight_net import WeightOutput, WeightTail


class Plain:
    """Fabric's two calls without Fabric."""

    def backward(self, tensor: Tensor) -> None:
        tensor.backward()

    def clip_gradients(self, module: nn.Module, optimizer: object, *, max_norm: float) -> None:
        del optimizer
        nn.utils.clip_grad_norm_(module.parameters(), max_norm)


def test_one_step_lowers_the_loss() -> None:
    torch.manual_seed(0)
    net = WeightTail(features=4, hidden=8, dropout=0.0)
    inputs = (
        torch.randn(6, 2, 4),
        torch.zeros(6, 2, 0, 1, 1),
        torch.ones(6, 2, dtype=torch.bool),
        torch.zeros(6, 2, 5),
        torch.zeros(6, dtype=torch.long),
        torch.zeros(6, dtype=torch.long),
    )
    batch, loss = Batch(inputs, torch.full((6,), 300.0)), QuantileLoss((0.05, 0.5, 0.95))
    before = loss(net(*inputs), batch.truth).item()

    train_step(net, batch, loss, torch.optim.SGD(net.parameters(), lr=0.05), engine=Plain(), clip_norm=1.0)

    assert loss(net(*inputs), batch.truth).item() < before


def test_the_pinball_loss_is_least_at_its_quantile() -> None:
    values = torch.linspace(0, 1, 1001)
    losses = [pinball(values - guess, 0.9).item() for guess in (0.8, 0.9, 1.0)]

    assert min(losses) == losses[1]


def test_the_shares_of_a_stranger_are_nobodys_to_learn() -> None:
    shares = torch.tensor([[0.5, 0.5]], requires_grad=True)
    unknown = torch.tensor([0.5], requires_grad=True)

    ShareLoss()(FibreOutput(shares, unknown), torch.tensor([[0.0, 0.0, 1.0]])).backward()

    assert shares.grad is not None
    assert (shares.grad == 0).all()
    assert unknown.grad is not None
    assert unknown.grad < 0


def test_members_learn_each_by_its_own_error() -> None:
    shares = torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]])  # (M, B, F): one is right, one is wrong
    unknown = torch.full((2, 1), 0.5)
    truth = torch.tensor([[1.0, 0.0, 0.0]])
    alone = [ShareLoss()(FibreOutput(shares[m], unknown[m]), truth) for m in range(2)]

    together = ShareLoss()(FibreOutput(shares, unknown), truth)

    assert together.item() == pytest.approx((alone[0] + alone[1]).item() / 2)


def test_an_interval_cannot_pull_the_median() -> None:
    middle = torch.tensor([1.0], requires_grad=True)
    output = WeightOutput(middle - 1, middle, middle + 1)
    loss = QuantileLoss((0.05, 0.5, 0.95))(output, torch.tensor([50.0]))
    loss.backward()

    assert middle.grad is not None
    assert middle.grad.item() == -1.0  # 2 * 0.5 of the median alone
