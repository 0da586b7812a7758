"""How one photo, or one spectrum, of the same thing may differ from the next. One builder each."""

import copy
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from weft.spectra import FLOOR
from weft_training.recipe import PhotoAugment, SpectrumAugment

_BRIGHTEST = 0.98  # reflectance: no cloth gives back more

Pixels = NDArray[np.uint8]


UNMOVED: Final = np.eye(2, 3, dtype=np.float32)


class Changed(NamedTuple):
    """A photo changed (H', W', C), at the same scale, and whereto its pixels went."""

    pixels: Pixels
    moved: NDArray[np.float32]  # (2, 3): what stood at (x, y) now stands at moved @ (x, y, 1)


PhotoChange = Callable[[Pixels, int], Changed]  # (H, W, C) and a seed


def build_photo_change(settings: PhotoAugment, bands: Sequence[str]) -> PhotoChange:
    """A function that changes a photo without changing what it weighs, nor its millimetres per pixel.

    Crops are not enlarged again: the pixels that are left keep their scale, and the net is told the new view.
    """
    # Read at import: the library would otherwise ask a server for its latest version.
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations as A

    steps: list[Any] = []
    if settings.crop:
        # Each of the four sides gives up to half of the share.
        cut = (-settings.crop / 2, 0.0)
        steps.append(A.CropAndPad(percent=cut, keep_size=False, sample_independently=True, p=0.8))
    if settings.rotate_degrees:
        steps.append(A.Rotate(limit=settings.rotate_degrees, border_mode=0, fill=127, p=0.5))
    if settings.flip != "none":
        steps.append(A.HorizontalFlip(p=0.5))
    if settings.flip == "both":
        steps.append(A.VerticalFlip(p=0.5))
    if settings.light:
        steps.append(A.RandomBrightnessContrast(settings.light, settings.light, p=0.8))
        steps.append(A.RandomGamma((100 - 60 * settings.light, 100 + 60 * settings.light), p=0.5))
    if settings.colour and {"red", "green", "blue"} <= set(bands):
        # ColorJitter refuses other than 1 or 3 bands: it is shown the three colours alone.
        colours = [list(bands).index(band) for band in ("red", "green", "blue")]
        jitter = A.ColorJitter(0, 0, saturation=4 * settings.colour, hue=settings.colour, p=1.0)
        steps.append(A.SelectiveChannelTransform([jitter], channels=colours, p=0.5))
    if settings.blur_px:
        steps.append(A.GaussianBlur(blur_limit=0, sigma_limit=(0.1, settings.blur_px), p=0.3))
    if settings.noise:
        steps.append(A.GaussNoise(std_range=(0.0, settings.noise), p=0.3))
    moving = bool(settings.crop or settings.rotate_degrees) or settings.flip != "none"
    own = threading.local()  # a chain is seeded before each use, so every thread needs one to itself

    followed = A.KeypointParams(format="xy", remove_invisible=False) if moving else None

    def change(pixels: Pixels, seed: int) -> Changed:
        chain: Any = getattr(own, "chain", None)
        if chain is None:
            chain = own.chain = A.Compose(copy.deepcopy(steps), keypoint_params=followed)
        chain.set_random_seed(seed)
        if not moving:
            return Changed(np.ascontiguousarray(chain(image=pixels)["image"]), UNMOVED)
        found = chain(image=pixels, keypoints=_corners(pixels))
        return Changed(np.ascontiguousarray(found["image"]), _moved(pixels, np.array(found["keypoints"])))

    return change


def _corners(pixels: Pixels) -> NDArray[np.float32]:
    """Three (x, y) that say where all others go, whole numbers in the pixels' middles."""
    height, width = pixels.shape[:2]
    return np.array([[0, 0], [width, 0], [0, height]], np.float32)


def _moved(pixels: Pixels, corners: NDArray[np.floating]) -> NDArray[np.float32]:
    """(2, 3), whole numbers at the pixels' corners, from where those of `_corners` went."""
    height, width = pixels.shape[:2]
    origin, right, down = corners
    linear = np.stack([(right - origin) / width, (down - origin) / height], axis=1)  # (2, 2)
    return np.column_stack([linear, origin + 0.5 - linear @ [0.5, 0.5]]).astype(np.float32)


def change_spectra(
    absorbance: Tensor, truth: Tensor, *, step_nm: float, settings: SpectrumAugment
) -> tuple[Tensor, Tensor]:
    """Spectra as another instrument and another garment would have given them; draws from torch's generator.

    Args:
        absorbance: (B, G) on an even grid.
        truth: (B, F + 1) shares, unknown last; a blend's are the mean of its two parts'.

    Returns:
        The same shapes.
    """
    count, points = absorbance.shape
    if settings.blend:
        mixed, blended = _blend(absorbance, truth, settings.blend_in)
        chosen = torch.rand(count, 1) < settings.blend
        absorbance = torch.where(chosen, mixed, absorbance)
        truth = torch.where(chosen, blended, truth)
    if settings.dye:
        dyed = _dyed(absorbance, settings.dye)
        absorbance = torch.where(torch.rand(count, 1) < 0.5, dyed, absorbance)
    if settings.resolution_nm:
        wider = torch.randn(count) * settings.resolution_nm
        absorbance = _through_slit(absorbance, wider / step_nm)
    place = torch.linspace(-0.5, 0.5, points)
    if settings.shift_nm or settings.stretch:
        moved = torch.randn(count, 1) * settings.shift_nm / step_nm
        moved = moved + torch.randn(count, 1) * settings.stretch * place * points
        absorbance = _read_at(absorbance, torch.arange(points) + moved)
    if settings.stray or settings.detector_noise:
        absorbance = _detected(absorbance, stray=settings.stray, noise=settings.detector_noise)
    absorbance = absorbance * (1 + torch.randn(count, 1) * settings.gain)
    absorbance = absorbance + torch.randn(count, 1) * settings.offset
    absorbance = absorbance + torch.randn(count, 1) * settings.slope * place
    if settings.baseline:
        curve = _smooth_curve(count, points, per_point=step_nm / settings.baseline_nm)
        absorbance = absorbance + settings.baseline * curve
    return absorbance + torch.randn(count, points) * settings.noise, truth


def weaker(settings: SpectrumAugment, strength: float) -> SpectrumAugment:
    """The same changes at `strength` times their size; how often scans are mixed stays."""
    kept = {"views", "blend", "blend_in", "baseline_nm"}
    sizes = settings.model_dump(exclude=kept)
    return settings.model_copy(update={name: size * strength for name, size in sizes.items()})


def _dyed(absorbance: Tensor, most: float) -> Tensor:
    """Under a grey dye, by Kubelka and Munk: the cloth darkens and its bands flatten.

    The dye absorbs up to `most` times as much as the cloth on average, and not quite alike along the scan.
    """
    count, points = absorbance.shape
    light = 10**-absorbance
    bright = (light.amax(-1, keepdim=True) / _BRIGHTEST).clamp(min=1)  # a gloss or a gain, not of the cloth
    light = light / bright
    own = (1 - light).square() / (2 * light)  # K / S
    tilt = 1 + 0.3 * torch.randn(count, 1) * torch.linspace(-0.5, 0.5, points)
    both = own + most * torch.rand(count, 1) * own.mean(-1, keepdim=True) * tilt.clamp(min=0)
    return -torch.log10(1 + both - (both.square() + 2 * both).sqrt()) - torch.log10(bright)


def _through_slit(absorbance: Tensor, width_points: Tensor) -> Tensor:
    """A Gaussian slit of that full width (B,) on top of the instrument's; negative: as much sharper."""
    sigma = (width_points.abs() / 2.355).clamp(min=0.05)  # full width at half height -> standard deviation
    reach = int(4 * float(sigma.max())) + 1
    place = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-0.5 * (place / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(-1, keepdim=True)
    reach = min(reach, absorbance.shape[-1] - 1)
    kernel = kernel[:, kernel.shape[-1] // 2 - reach : kernel.shape[-1] // 2 + reach + 1]
    # Beyond its ends a spectrum goes on as it came: turned about its last point.
    left = 2 * absorbance[:, :1] - absorbance[:, 1 : reach + 1].flip(-1)
    right = 2 * absorbance[:, -1:] - absorbance[:, -reach - 1 : -1].flip(-1)
    padded = torch.cat([left, absorbance, right], dim=-1)
    blurred = F.conv1d(padded[None], kernel[:, None], groups=len(absorbance))[0]
    return torch.where(width_points[:, None] >= 0, blurred, 2 * absorbance - blurred)


def _detected(absorbance: Tensor, *, stray: float, noise: float) -> Tensor:
    """What a detector with stray light and noise makes of it; `noise` varies with the averaging time."""
    count, points = absorbance.shape
    light = 10**-absorbance
    added = torch.randn(count, 1).abs() * stray
    light = (light + added) / (1 + added)
    spread = noise * torch.exp(0.5 * torch.randn(count, 1))
    light = light + torch.randn(count, points) * spread
    return -torch.log10(light.clamp(min=FLOOR))


def _smooth_curve(count: int, points: int, *, per_point: float) -> Tensor:
    """(B, G) sums of four cosines, standard deviation 1."""
    frequency = torch.randn(count, 1, 4) * per_point
    phase = torch.rand(count, 1, 4) * 2 * torch.pi
    return 0.5**0.5 * torch.cos(torch.arange(points)[:, None] * frequency + phase).sum(-1)


def _blend(absorbance: Tensor, truth: Tensor, domain: str) -> tuple[Tensor, Tensor]:
    other = torch.randperm(len(absorbance))
    part = torch.rand(len(absorbance), 1)
    blended = part * truth + (1 - part) * truth[other]
    if domain == "absorbance":
        return part * absorbance + (1 - part) * absorbance[other], blended
    # Yarns side by side, each reflecting for itself.
    reflected = part * 10**-absorbance + (1 - part) * 10 ** -absorbance[other]
    return -torch.log10(reflected.clamp(min=1e-6)), blended


def _read_at(values: Tensor, at: Tensor) -> Tensor:
    """Values of (B, G) between its points, (B, G); flat beyond the ends."""
    last = values.shape[-1] - 1
    at = at.clamp(0, last)
    left = at.floor().long().clamp(max=last - 1)
    share = at - left
    return values.gather(-1, left) * (1 - share) + values.gather(-1, left + 1) * share
