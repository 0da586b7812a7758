"""A net that takes a photo beside a scan -> graph, made scans and photos to prove it on, its card."""

from typing import Any

import numpy as np
import pandas as pd
from torch.export import Dim

from weft.card import PhotoCard
from weft_training.calibrate_shares import ShareCalibration, calibrate_shares
from weft_training.given import Given, answered_from
from weft_training.pair_task import PairTask
from weft_training.photo_beside_scan import PairGraph, PairNet
from weft_training.prepared import CASES, Inputs, scan_axes
from weft_training.proof_inputs import made_photos, made_scans

_CASES_OF_GIVEN = ((True, True), (True, False), (False, True))  # has_scan, has_photo


def pair_graph(
    task: PairTask, net: PairNet, predictions: pd.DataFrame
) -> tuple[PairGraph, ShareCalibration | None]:
    """The graph, and the margins of a scan alone, by which the card is written."""
    found = {given: margins_of(task, predictions, given) for given in ("scan", "photo", "both")}
    if float(net.tail.photo.trust) == 0.0:
        found["both"] = found["scan"]  # the very same answers, told by more swatches
    return PairGraph(net, **found), found["scan"]


def margins_of(task: PairTask, predictions: pd.DataFrame, given: Given) -> ShareCalibration | None:
    """Margins of answers to `given` alone; None where too few swatches tell."""
    fibres = task.recipe.data.fibres
    rows = answered_from(predictions, given, fibres, photographed=False)
    return calibrate_shares(rows, fibres, task.recipe.calibrate.coverage)


def pair_axes() -> dict[str, dict[int, Any]]:
    """The graph's axes that a caller may vary."""
    return scan_axes() | {
        "photos": {2: Dim("height", max=65535), 3: Dim("width", max=65535)},
        "size": {},
        "has_scan": {},
        "has_photo": {},
    }


def made_pairs(*, grid_nm: list[float], seed: int) -> list[Inputs]:
    """Made scans with made photos, each case with both halves, or with one of them."""
    scans = made_scans(CASES // 2, grid_nm=grid_nm, seed=seed)
    photos = made_photos(CASES // 2, bands=3, seed=seed)
    return [
        scan
        | {
            "photos": photo["photos"][0, :1],
            "size": photo["size"][0, :1],
            "has_scan": np.array([given[0]]),
            "has_photo": np.array([given[1]]),
        }
        for scan, photo, given in zip(
            scans, photos, (_CASES_OF_GIVEN[at % 3] for at in range(len(scans))), strict=True
        )
    ]


def photo_card(task: PairTask, net: PairNet) -> PhotoCard:
    swatches = task.captures.subjects[task.has_photo & (task.shares[:, -1] < 0.5).numpy()]
    return PhotoCard(
        decode_px=task.settings.decode_px,
        subjects=len(set(swatches.tolist())),
        trust=float(net.tail.photo.trust),
        trust_alone=float(net.tail.photo.trust_alone),
    )
