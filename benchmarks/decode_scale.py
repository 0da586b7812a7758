"""Does it cost accuracy to decode photos at a reduced scale, straight from the DCT?

    weft import ecustfd ../shared/data/photos/weighed_food_with_coin --out runs/data/ecustfd.parquet
    python benchmarks/decode_scale.py runs/data/ecustfd.parquet WEIGHTS.safetensors [--decode-px 102] [--json]

Each weighed photo is seen twice: decoded at n/8 as in training and in service, and decoded in full and
averaged to the same size (by area). Behind the same frozen MobileNetV2 a ridge on ln g is fitted, five folds
by subject, on one kind and asked of either. ALDE: mean |ln(estimate / mass)|, per photo; differences on the
same draws of subjects with their 95 % interval. The photos are 816 pixels long: --decode-px 320 takes 4/8 of
them, 102 takes 1/8, as it is with photos of 12 megapixels.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from weft.photos import decode_photo
from weft_datasets.manifest import read_manifest
from weft_training import closed_form
from weft_training.backbones import build_backbone
from weft_training.paired import difference_of, figure_of

INPUT_PX = 224
FOLDS = 5
Floats = NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument(
        "weights", type=Path, help="of mobilenetv2_100 with 1,001 classes, as TensorFlow pads"
    )
    parser.add_argument("--decode-px", type=int, default=320)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    manifest = read_manifest(chosen.manifest)
    frame = manifest.frame.reset_index(drop=True)
    files = [manifest.file(path) for path in frame["path"]]
    net = build_backbone(
        "mobilenetv2_100",
        pretrained=str(chosen.weights),
        pretrained_classes=1001,
        pad_type="same",
        bands=("red", "green", "blue"),
    ).eval()
    ways: dict[str, Callable[[bytes], Image.Image]] = {
        "reduced": lambda data: reduced(data, chosen.decode_px),
        "full": lambda data: full(data, chosen.decode_px),
    }
    seen = {name: features(net, files, way) for name, way in ways.items()}
    told = {
        f"trained_{trained}_asked_{asked}": answers(frame, seen[trained], seen[asked])
        for trained, asked in (("full", "full"), ("reduced", "reduced"), ("full", "reduced"))
    }
    found: dict[str, Any] = {"photos": len(frame), "subjects": int(frame["subject"].nunique())}
    base = told["trained_full_asked_full"]
    for name, predictions in told.items():
        found[name] = figure_of(predictions, "one.alde")
        gap = difference_of(predictions, base, "one.alde", relative=False)
        found[name]["less_full"] = [gap.value, gap.low, gap.high]
    if chosen.json:
        print(json.dumps(found))
        return
    print(f"{found['photos']} photos of {found['subjects']} subjects, decoded for {chosen.decode_px} px")
    for name in told:
        value, (gap, low, high) = found[name]["one.alde"], found[name]["less_full"]
        print(f"{name:32} ALDE {value:.4f}   less full: {gap:+.4f} ({low:+.4f} to {high:+.4f})")


def reduced(data: bytes, longest_px: int) -> Image.Image:
    return Image.fromarray(decode_photo(data, longest_px=longest_px).pixels)


def full(data: bytes, longest_px: int) -> Image.Image:
    height, width = decode_photo(data, longest_px=longest_px).pixels.shape[:2]
    whole = Image.fromarray(decode_photo(data, longest_px=None).pixels)
    return whole.resize((width, height), Image.Resampling.BOX)


def features(net: torch.nn.Module, files: list[Path], way: Callable[[bytes], Image.Image]) -> Floats:
    """(photos, D) of the frozen backbone, each photo squeezed to a square."""
    found: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for start in range(0, len(files), 16):
            squares = [
                np.asarray(way(file.read_bytes()).resize((INPUT_PX, INPUT_PX), Image.Resampling.BILINEAR))
                for file in files[start : start + 16]
            ]
            scaled = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 127.5 - 1
            found.append(net(scaled).numpy())
    return np.concatenate(found).astype(np.float64)


def answers(frame: pd.DataFrame, trained: Floats, asked: Floats) -> pd.DataFrame:
    """Predictions of each photo by the fold that has not seen its subject."""
    subjects = frame["subject"].to_numpy(str)
    names = np.random.default_rng(0).permutation(np.unique(subjects))
    fold_of = {name: n % FOLDS for n, name in enumerate(names)}
    fold = np.array([fold_of[subject] for subject in subjects])
    log_grams = np.log(frame["grams"].to_numpy(np.float64))
    said = np.empty(len(frame))
    for number in range(FOLDS):
        train, ask = fold != number, fold == number
        mean, std = trained[train].mean(0), np.maximum(trained[train].std(0), 1e-6)
        weight, bias = closed_form.ridge((trained[train] - mean) / std, log_grams[train], subjects[train])
        said[ask] = ((asked[ask] - mean) / std) @ weight[0] + bias[0]
    rows = frame[["capture", "subject", "grams"]]
    return rows.assign(mode="one", n_photos=1, fold=fold, predicted_grams=np.exp(said))


if __name__ == "__main__":
    main()
