"""How is the first layer of a pretrained backbone best started for bands that it has never seen?

SIMULATED parcels in red, green, blue, near and short-wave infrared; the backbone is frozen, a ridge
regression on ln(grams) reads its features, five folds by parcel.

Run: python benchmarks/first_layer.py WEIGHTS [--json]
"""

from weft_training import torchvision_gate  # isort: skip

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weft_datasets.simulate_parcels import write_parcels
from weft_datasets.splits import folds_by_subject
from weft_training.backbones import build_backbone, fit_first_layer
from weft_training.closed_form import ridge

__all__ = ["torchvision_gate"]

BANDS: Final = ("red", "green", "blue", "nir", "swir")
_SEED: Final = 11


def scaled(net: nn.Module) -> None:
    """As Weft does it: colours keep their filters, other bands take their mean, all times 3 / C."""
    fit_first_layer(net, BANDS)


def unscaled(net: nn.Module) -> None:
    """The same without the factor: the layer's output grows with the number of bands."""
    _replace(
        net, lambda colours: torch.cat([colours, colours.mean(1, keepdim=True).expand(-1, 2, -1, -1)], 1)
    )


def zeros(net: nn.Module) -> None:
    """New bands start unheard."""
    _replace(net, lambda colours: torch.cat([colours, torch.zeros_like(colours[:, :2])], 1))


def noise(net: nn.Module) -> None:
    """New bands start with random filters of the colours' spread."""
    drawn = torch.Generator().manual_seed(_SEED)
    _replace(
        net,
        lambda colours: torch.cat(
            [colours, torch.randn(colours[:, :2].shape, generator=drawn) * colours.std()], 1
        ),
    )


WAYS: Final[dict[str, Callable[[nn.Module], None]]] = {
    "colours and their mean, times 3 / C": scaled,
    "colours and their mean": unscaled,
    "colours and zeros": zeros,
    "colours and random filters": noise,
}


def _replace(net: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    first = net.get_submodule(net.default_cfg["first_conv"])  # pyright: ignore
    assert isinstance(first, nn.Conv2d), "the first layer of a timm network is a convolution"
    first.weight = nn.Parameter(change(first.weight.detach()))
    first.in_channels = first.weight.shape[1]


def measure(weights: Path, *, subjects: int) -> dict[str, dict[str, float]]:
    """ALDE of unseen parcels, and the first layer's output against that on the colours alone."""
    with TemporaryDirectory() as folder:
        made = write_parcels(Path(folder), subjects=subjects, seed=_SEED, size_px=224, bands=BANDS)
        photos = [np.load(made.file(path)) for path in made.frame["path"]]
        frame = made.frame.copy()
    target, parcels = np.log(frame["grams"].to_numpy(float)), frame["subject"].to_numpy(str)
    fold = folds_by_subject(parcels.tolist(), folds=5, seed=0)
    colours = _pretrained(weights)
    usual = _loudness(colours, photos, channels=3)
    found = {
        "colours alone": {
            "alde": _alde(_features(colours, photos, 3), target, parcels, fold),
            "loudness": 1.0,
        }
    }
    for name, way in WAYS.items():
        net = _pretrained(weights)
        way(net)
        alde = _alde(_features(net, photos, len(BANDS)), target, parcels, fold)
        found[name] = {"alde": alde, "loudness": _loudness(net, photos, channels=len(BANDS)) / usual}
    return found


def _pretrained(weights: Path) -> nn.Module:
    return build_backbone(
        "mobilenetv2_100",
        pretrained=str(weights),
        pretrained_classes=1001,
        pad_type="same",
        bands=BANDS[:3],
    ).eval()


def _tensor(photo: NDArray[np.uint8], channels: int) -> Tensor:
    shown = torch.from_numpy(photo[..., :channels]).permute(2, 0, 1).float()[None] / 127.5 - 1
    return nn.functional.interpolate(shown, (160, 160), mode="bilinear", antialias=True)


def _features(net: nn.Module, photos: list[NDArray[np.uint8]], channels: int) -> NDArray[np.float64]:
    with torch.inference_mode():
        return torch.cat([net(_tensor(photo, channels)) for photo in photos]).double().numpy()


def _loudness(net: nn.Module, photos: list[NDArray[np.uint8]], *, channels: int) -> float:
    first = net.get_submodule(net.default_cfg["first_conv"])  # pyright: ignore
    with torch.inference_mode():
        return float(np.mean([first(_tensor(photo, channels)).std() for photo in photos[:50]]))


def _alde(
    features: NDArray[np.float64],
    target: NDArray[np.float64],
    parcels: NDArray[np.str_],
    fold: NDArray[np.int64],
) -> float:
    missed = np.empty(len(target))
    for held in range(5):
        out = fold == held
        spread = features[~out].std(0)
        seen = (features - features[~out].mean(0)) / np.maximum(spread, 0.05 * spread.mean())
        weight, bias = ridge(seen[~out], target[~out], parcels[~out])
        missed[out] = np.abs(seen[out] @ weight[0] + bias[0] - target[out])
    return float(missed.mean())


@click.command()
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--subjects", default=300, show_default=True)
@click.option("--json", "as_json", is_flag=True)
def main(weights: Path, subjects: int, as_json: bool) -> None:
    """Compare ways to start the first layer, on SIMULATED parcels in five bands."""
    found = measure(weights, subjects=subjects)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, figures in found.items():
        click.echo(f"{name:38} ALDE {figures['alde']:.3f}   first layer {figures['loudness']:.2f} x as loud")


if __name__ == "__main__":
    main()
