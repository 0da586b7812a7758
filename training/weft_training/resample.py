"""A spectrum on any grid, in any order -> the bundle's grid. Sort, count, MatMul: these export exactly."""

import torch
from torch import Tensor


def resample_weights(wavelength_nm: Tensor, grid_nm: Tensor) -> Tensor:
    """Weights of a local straight line through the points near each grid wavelength.

    The triangle they are weighed with is as wide as the coarser of the two grids: a finer scan is averaged,
    not picked from, and a coarser one interpolated as `np.interp` does. Exact for straight lines; flat beyond
    the scan's ends.

    Args:
        wavelength_nm: (L,) of the scan, any order.
        grid_nm: (G,) ascending.

    Returns:
        (G, L), in the scan's order.
    """
    ascending = torch.sort(wavelength_nm).values
    points = ascending.shape[0]
    at = torch.maximum(torch.minimum(grid_nm, ascending[-1]), ascending[0])  # (G,)
    below = (ascending <= at[:, None]).sum(-1).clamp(1, points - 1)  # (G,) points up to this wavelength
    gap = ascending[below] - ascending[below - 1]  # (G,) the scan's step here
    step = torch.cat([grid_nm[1:] - grid_nm[:-1], grid_nm[-1:] - grid_nm[-2:-1]])
    reach = torch.maximum(gap, step)[:, None]  # (G, 1)
    offset = (wavelength_nm - at[:, None]) / reach  # (G, L)
    weight = (1 - offset.abs()).clamp(min=0)
    weight = weight / weight.sum(-1, keepdim=True)  # the nearest point alone gives a half
    centre = (weight * offset).sum(-1, keepdim=True)
    spread = (weight * (offset - centre) ** 2).sum(-1, keepdim=True)
    # A wavelength that the scan hits exactly may leave one point: no slope, then, and none is needed. Not
    # `spread + 1e-9`: the exporter's optimiser takes so small an addend for 0 and drops it, and 0 / 0 is NaN.
    return weight * (1 - centre * (offset - centre) / spread.clamp(min=1e-6))


def resample(wavelength_nm: Tensor, absorbance: Tensor, grid_nm: Tensor) -> Tensor:
    """(L,) and (B, L) -> (B, G)."""
    return absorbance @ resample_weights(wavelength_nm, grid_nm).T
