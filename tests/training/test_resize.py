"""Photos of mixed sizes to squares, against the filters of torch and Pillow."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from weft_training.resize import to_squares


def noise(height: int, width: int, *, seed: int = 0) -> torch.Tensor:
    """(1, 3, H, W), 0..255."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (1, 3, height, width), generator=generator).float()


@pytest.mark.parametrize(("side", "out"), [(64, 32), (90, 32), (31, 32), (20, 50), (224, 224)])
def test_a_square_photo_is_resized_as_torch_does_it_antialiased(side: int, out: int) -> None:
    photo = noise(side, side)

    found = to_squares(photo, torch.tensor([[side, side]]), out=out)

    expected = F.interpolate(photo, size=(out, out), mode="bilinear", antialias=True)
    assert (found - expected).abs().max() < 1e-3


def test_it_is_resized_as_pillow_does_it() -> None:
    photo = noise(120, 120)
    image = Image.fromarray(photo[0].permute(1, 2, 0).numpy().astype(np.uint8))

    found = to_squares(photo, torch.tensor([[120, 120]]), out=48)[0].permute(1, 2, 0).numpy()

    assert np.abs(found - np.asarray(image.resize((48, 48), Image.Resampling.BILINEAR), float)).max() <= 1.01


def test_the_aspect_ratio_is_kept_and_the_rest_is_grey() -> None:
    photo = noise(40, 80)

    found = to_squares(photo, torch.tensor([[40, 80]]), out=32)

    expected = F.interpolate(photo, size=(16, 32), mode="bilinear", antialias=True)
    assert (found[:, :, 8:24] - expected).abs().max() < 1e-3
    assert (found[:, :, :8] == 127.5).all()
    assert (found[:, :, 24:] == 127.5).all()


def test_padding_and_the_other_photos_of_the_tensor_change_nothing() -> None:
    photo = noise(30, 50)
    padded = F.pad(photo, (0, 40, 0, 25), value=255)
    both = torch.cat([padded, noise(55, 90, seed=1)])

    alone = to_squares(photo, torch.tensor([[30, 50]]), out=24)
    among = to_squares(both, torch.tensor([[30, 50], [55, 90]]), out=24)

    assert (alone[0] - among[0]).abs().max() < 1e-4


def test_a_photo_of_no_size_gives_grey_and_no_nan() -> None:
    found = to_squares(torch.zeros(1, 3, 8, 8), torch.tensor([[0, 0]]), out=16)

    assert torch.isfinite(found).all()
