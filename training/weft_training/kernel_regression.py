"""A closed form that weighs by likeness: ridge regression on how near a photo comes to each of some centres.

Kernel ridge regression (the mean of a Gaussian process) by Nyström's approximation. Far from every photo of
training it falls back to the usual mass, where a trained net goes on along its last slope.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor, nn

from weft_training import closed_form

CENTRES: Final = 512  # of k-means, where there are more rows: no photo travels in the bundle then
_REACH: Final = 0.3  # exponent at the usual squared distance between two photos of training
_STRENGTHS: Final = np.geomspace(1e-3, 10, 13)
_JITTER: Final = 1e-6  # of the kernel's diagonal, which is 1
_SOME: Final = 400  # photos whose distances tell the usual one


class KernelRegression(nn.Module):
    """Standardised features of each photo -> how far its log mass lies from the usual one."""

    def __init__(self, features: int, centres: int, *, share: float) -> None:
        """`share` of an answer is said by it, the rest by the members of a tail."""
        super().__init__()
        self.share: Tensor
        self.scale: Tensor
        self.centres: Tensor
        self.weight: Tensor
        self.bias: Tensor
        self.register_buffer("share", torch.tensor(float(share)))
        self.register_buffer("scale", torch.ones(features))  # how much a feature counts in a distance
        self.register_buffer("centres", torch.zeros(features, centres))
        self.register_buffer("weight", torch.zeros(centres))
        self.register_buffer("bias", torch.zeros(()))

    def forward(self, seen: Tensor) -> Tensor:
        """(..., D) standardised -> (...)."""
        given = seen * self.scale
        squares = self.centres.square().sum(0)  # (S,)
        distance = given.square().sum(-1, keepdim=True) + squares - 2 * given @ self.centres
        return torch.exp(-distance.clamp(min=0)) @ self.weight + self.bias

    def fit(self, seen: Tensor, target: Tensor, subjects: NDArray[np.str_], *, widths: list[int]) -> None:
        """Solve for the weights; the strength of the ridge is the one that predicts unseen subjects best.

        Args:
            seen: (rows, D) standardised features of photos as they are: on changed views of them too it erred
                no less (weighed food).
            target: (rows,).
            subjects: (rows,); rows of one are never on both sides when the strength is chosen.
            widths: Of the stretches of features, one after another, which count the same in a distance.
        """
        self.scale.copy_(torch.cat([torch.full((width,), width**-0.5) for width in widths]))
        given = (seen * self.scale).double().numpy()
        some = given[:: -(-len(given) // _SOME)]
        usual = float(np.median(_squared_distances(some, some)[np.triu_indices(len(some), 1)]))
        shrink = (_REACH / max(usual, 1e-12)) ** 0.5
        self.scale.mul_(shrink)
        given *= shrink
        centres = _centres(given, self.centres.shape[1])
        own = np.exp(-_squared_distances(centres, centres)) + _JITTER * np.eye(len(centres))
        # Ridge on these inputs is kernel ridge on the centres' span: their products are the kernel.
        turn = np.linalg.inv(np.linalg.cholesky(own)).T  # (S, S)
        inputs = np.exp(-_squared_distances(given, centres)) @ turn
        solved, bias = closed_form.ridge(inputs, target.double().numpy(), subjects, strengths=_STRENGTHS)
        self.centres.copy_(torch.from_numpy(centres.T.copy()))
        self.weight.copy_(torch.from_numpy(turn @ solved[0]))
        self.bias.copy_(torch.from_numpy(bias)[0])


def _centres(rows: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    if len(rows) <= count:
        return rows
    return KMeans(count, n_init=1, max_iter=20, random_state=0).fit(rows).cluster_centers_


def _squared_distances(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A, B) from (A, D) and (B, D)."""
    found = np.square(one).sum(1)[:, None] + np.square(other).sum(1) - 2 * one @ other.T
    return np.maximum(found, 0)
