"""Photos of mixed sizes in one padded tensor -> squares of one size. Two MatMuls, so that it exports exactly.

Not `F.interpolate`: one call knows one size, and its antialiased form does not run alike on every engine.
"""

import torch
from torch import Tensor


def triangle_weights(length: Tensor, longest: Tensor, *, padded: int | Tensor, out: int) -> Tensor:
    """Weights that resize one axis, as PIL's and torch's antialiased bilinear filters have them.

    Both axes of a photo are scaled by `out / longest`, which keeps its aspect ratio; the shorter is centred.

    Args:
        length: Pixels of this axis that hold the photo, (...,).
        longest: Pixels of the photo's longer axis, (...,).
        padded: Pixels of this axis in the tensor.

    Returns:
        (..., out, padded); a row sums to 1, or to 0 where the square lies beside the photo.
    """
    length, longest = length.float().clamp(min=1)[..., None], longest.float().clamp(min=1)[..., None]
    scale = longest / out  # pixels of the photo per pixel of the square, (..., 1)
    margin = (out - length / scale) / 2  # pixels of the square beside the photo on either side
    at = torch.arange(out, device=length.device, dtype=torch.float32)
    centre = (at + 0.5 - margin) * scale  # (..., out) where the square's pixels lie in the photo
    source = torch.arange(padded, device=length.device, dtype=torch.float32) + 0.5
    reach = scale.clamp(min=1)[..., None]  # enlarging interpolates between neighbours; reducing averages
    weights = (1 - (source - centre[..., None]).abs() / reach).clamp(min=0)
    weights = weights * (source < length[..., None])  # padding is no part of the photo
    total = weights.sum(-1, keepdim=True)
    inside = (centre >= 0) & (centre <= length)
    return weights / total.clamp(min=1e-6) * inside[..., None]


def to_squares(photos: Tensor, size: Tensor, *, out: int, grey: float = 127.5) -> Tensor:
    """Resize photos by their own sizes; what lies beside a photo is grey.

    Args:
        photos: (M, C, H, W), padded at the bottom and right, 0..255.
        size: (M, 2) rows and columns that hold each photo.

    Returns:
        (M, C, out, out) float32, 0..255.
    """
    longest = size.amax(-1)
    rows = triangle_weights(size[:, 0], longest, padded=photos.shape[-2], out=out)  # (M, out, H)
    columns = triangle_weights(size[:, 1], longest, padded=photos.shape[-1], out=out)  # (M, out, W)
    # Grey is taken off before and put back after, so that it fills what no weight reaches.
    centred = photos.float() - grey
    narrow = centred @ columns.transpose(-1, -2)[:, None]  # (M, C, H, out)
    return rows[:, None] @ narrow + grey  # (M, C, out, out)
