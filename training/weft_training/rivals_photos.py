"""Simple models and oracles that weigh from photos, under the very folds of the model beside them.

A rival is fitted on the rows outside a fold and asked of the rows inside, one photo at a time; of several
photos of a subject it says the median of its answers.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from weft.photos import decode_photo
from weft_datasets.manifest import Manifest
from weft_training import closed_form
from weft_training.data import TRAIN
from weft_training.recipe import WeightModel

Floats = NDArray[np.float64]

WEIGHTS: Final = "weights/mobilenetv2_100.tf2_ptq_dequant_in1k1001.safetensors"
_DECODE_PX: Final = 320
_IMAGENET_MEAN: Final = np.array([123.675, 116.28, 103.53])
_IMAGENET_STD: Final = np.array([58.395, 57.12, 57.375])
_BATCH: Final = 16


@dataclass(frozen=True, eq=False)
class Photos:
    """What a rival is fitted on and asked of; rows are captures."""

    frame: pd.DataFrame
    fold: NDArray[np.int64]  # (rows,) fold that predicts the row; TRAIN: none does
    groups: NDArray[np.str_]  # (rows,) subjects, or the classes that are held out whole
    features: Callable[[], Floats]  # (rows, D) of the frozen backbone, computed when first asked for

    @property
    def log_grams(self) -> Floats:
        return np.log(self.frame["grams"].to_numpy(np.float64))

    def parts(self) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Rows to be fitted on and rows to be asked of, fold by fold."""
        if (self.fold == TRAIN).any():
            yield self.fold == TRAIN, self.fold != TRAIN
            return
        for number in range(int(self.fold.max()) + 1):
            yield self.fold != number, self.fold == number


def imagenet_mobilenet(data: Path) -> WeightModel:
    """The backbone of the simple models in the table of results, from the folder of measured data."""
    return WeightModel(
        backbone="mobilenetv2_100",
        pretrained=str(data / WEIGHTS),
        pretrained_classes=1001,
        pad_type="same",
        scaling="unit",
    )


def predict(name: str, photos: Photos) -> pd.DataFrame:
    """What the rival called `name` says, in the columns of a run's predictions, modes "one" and "all"."""
    said = np.full(len(photos.frame), np.nan)
    for train, ask in photos.parts():
        said[ask] = _RIVALS[name](photos, train, ask)
    held = photos.fold != TRAIN
    columns = photos.frame.loc[held, ["capture", "subject", "grams"]]
    one = columns.assign(mode="one", n_photos=1, log=said[held], fold=photos.fold[held])
    several = one[one.groupby("subject")["capture"].transform("size") > 1]
    found = {"capture": "first", "grams": "first", "log": "median", "fold": "first", "n_photos": "sum"}
    together = several.groupby("subject", as_index=False).agg(found).assign(mode="all")
    rows = pd.concat([one, together], ignore_index=True)
    return rows.assign(predicted_grams=np.exp(rows["log"])).drop(columns="log")


def train_median(photos: Photos, train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:
    """The median of the training subjects, whatever is shown."""
    by_subject = pd.Series(photos.log_grams[train]).groupby(photos.frame["subject"].to_numpy()[train]).first()
    return np.full(int(ask.sum()), by_subject.median())


def frozen_ridge(photos: Photos, train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:
    """Ridge on ln g over the frozen backbone's features; its strength is chosen on groups left out."""
    return _ridge(photos, photos.features(), train, ask)


def frozen_ridge_mark(photos: Photos, train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:
    """The same with the true scale of the mark; a photo without one has the usual scale."""
    scale = _log_scale(photos, train)
    # A lone column among 1,280 is shrunk to nothing; told twenty times it is listened to.
    return _ridge(photos, np.column_stack([photos.features(), *[scale] * 20]), train, ask)


def class_median(photos: Photos, train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:
    """Told the class, it says the median of its photos in training; of a new class that of all."""
    log_grams, klass = photos.log_grams, photos.frame["klass"]
    median = pd.Series(log_grams[train]).groupby(klass.to_numpy()[train]).median()
    return klass[ask].map(median).fillna(float(np.median(log_grams[train]))).to_numpy(np.float64)


def class_mark(photos: Photos, train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:
    """Told the class and the scale by view: the median of the class, and what the scale says of the rest."""
    everything = np.ones(len(train), bool)
    median = class_median(photos, train, everything)
    scale, top = _log_scale(photos, train), (photos.frame["view"] == "top").to_numpy(np.float64)
    inputs = _standardised(np.column_stack([scale, top, scale * top]), train)
    rest = Ridge(alpha=1.0).fit(inputs[train], (photos.log_grams - median)[train])
    return (median + rest.predict(inputs))[ask]


def volume_and_wrap(photos: Photos, train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:
    """Told a parcel's true volume and wrap: ln g on ln litres and its square, by wrap; least squares."""
    litres = np.log(photos.frame["volume_litres"].to_numpy(np.float64))
    wraps = pd.get_dummies(photos.frame["wrap"].fillna("unknown")).to_numpy(np.float64)
    inputs = np.column_stack([wraps, wraps * litres[:, None], wraps * np.square(litres)[:, None]])
    # 1e-6 only keeps a wrap that training lacks from being singular.
    solved = Ridge(alpha=1e-6, fit_intercept=False).fit(inputs[train], photos.log_grams[train])
    return solved.predict(inputs[ask])


def frozen_features(manifest: Manifest, model: WeightModel, *, cache: Path, fingerprint: str) -> Floats:
    """(rows, D) of the model's backbone as it comes, each photo squeezed to a square; kept in `cache`.

    Args:
        model: Its backbone, weights and scaling of pixels are used, nothing else.
        fingerprint: Of the manifest; the same photos in the same order have the same features.
    """
    wanted = hashlib.sha256(fingerprint.encode())
    wanted.update("\n".join(manifest.frame["capture"]).encode())
    used = {"backbone", "pretrained_classes", "pad_type", "scaling", "input_px", "bands"}
    wanted.update(model.model_dump_json(include=used).encode())
    weights = Path(str(model.pretrained))
    wanted.update(weights.read_bytes() if weights.is_file() else str(model.pretrained).encode())
    kept = cache / f"rivals-{wanted.hexdigest()[:16]}.npy"
    if not kept.is_file():
        found = _seen(model, [manifest.file(path) for path in manifest.frame["path"]])
        cache.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(f".{os.getpid()}.npy")
        np.save(beside, found)
        beside.replace(kept)
    return np.load(kept).astype(np.float64)


def _seen(model: WeightModel, files: Sequence[Path]) -> NDArray[np.float32]:
    """(photos, D)."""
    import torch
    from tqdm import tqdm

    from weft_training.backbones import build_backbone

    net = build_backbone(
        model.backbone,
        pretrained=model.pretrained,
        pretrained_classes=model.pretrained_classes,
        pad_type=model.pad_type,
        bands=model.bands,
    ).eval()
    middle, spread = (127.5, 127.5) if model.scaling == "unit" else (_IMAGENET_MEAN, _IMAGENET_STD)
    parts: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for start in tqdm(range(0, len(files), _BATCH), desc="simple model", unit="batch", disable=None):
            squares = np.stack([_square(file, model.input_px) for file in files[start : start + _BATCH]])
            scaled = ((squares - middle) / spread).astype(np.float32)  # (B, S, S, 3)
            parts.append(net(torch.from_numpy(scaled).permute(0, 3, 1, 2)).numpy())
    return np.concatenate(parts)


def _square(file: Path, side_px: int) -> NDArray[np.float32]:
    from PIL import Image

    pixels = decode_photo(file.read_bytes(), longest_px=_DECODE_PX).pixels
    small = Image.fromarray(pixels).resize((side_px, side_px), Image.Resampling.BILINEAR)
    return np.asarray(small, np.float32)


def _ridge(photos: Photos, inputs: Floats, train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:
    standard = _standardised(inputs, train)
    weight, bias = closed_form.ridge(standard[train], photos.log_grams[train], photos.groups[train])
    return standard[ask] @ weight[0] + bias[0]


def _standardised(inputs: Floats, train: NDArray[np.bool_]) -> Floats:
    mean, std = inputs[train].mean(0), inputs[train].std(0)
    return (inputs - mean) / np.maximum(std, 1e-6)


def _log_scale(photos: Photos, train: NDArray[np.bool_]) -> Floats:
    """(rows,) ln of the true millimetres a pixel; where it is not known the median of the training rows."""
    scale = np.log(photos.frame["mark_mm_per_pixel_truth"].to_numpy(np.float64))
    usual = float(np.nanmedian(scale[train])) if np.isfinite(scale[train]).any() else 0.0
    return np.where(np.isfinite(scale), scale, usual)


_RIVALS: Final[dict[str, Callable[[Photos, NDArray[np.bool_], NDArray[np.bool_]], Floats]]] = {
    "train_median": train_median,
    "frozen_ridge": frozen_ridge,
    "frozen_ridge_mark": frozen_ridge_mark,
    "class_median": class_median,
    "class_mark": class_mark,
    "volume_and_wrap": volume_and_wrap,
}
