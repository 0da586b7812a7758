"""The number of this simulated belt, and the digest of all that it stands for."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from weft_datasets.belt import (
    camera,
    labels,
    layout,
    mosaic,
    motion,
    pieces,
    pixels,
    scene,
    shapes,
    trims,
    wardrobe,
)
from weft_datasets.simulate_spectra import parameters_digest

# Frozen before any model was tuned on it: a change to a figure needs a new number, and new figures for the
# models that were measured on it.
BELT_VERSION = "1"


def belt_digest() -> str:
    """sha256 over every figure of the belt and of the physics beneath it: what `BELT_VERSION` names."""
    habits = (camera, layout, mosaic, motion, pieces, pixels, scene, shapes)
    plain: dict[str, Any] = {
        "version": BELT_VERSION,
        "physics": parameters_digest(),
        "habits": {module.__name__: asdict(module.HABITS) for module in habits},
        "labels": [labels.CLASS_ODDS, labels.ELASTANE_IN, labels.SOLD_BLENDS],
        "classes": [labels.PURE_FROM, labels.BLEND_FROM],
        "strangers": [pixels.STRANGER_ODDS, pieces.STRANGER_SHAPES],
        "dyes": [wardrobe.WARDROBE, wardrobe.DEPTH, wardrobe.TAIL],
        "trims": [trims.ZIPPED, trims.BUTTONED, trims.PRINTED, trims.LABELLED],
        "kinds": [asdict(kind) for kind in pieces.KINDS.values()],
        "cuts": {name: [cut.half, cut.sides] for name, cut in shapes.CUTS.items()},
        "pixel": [scene.SPOTS, scene.SPREAD, scene.STAINED, scene.SECOND_DYE, pixels.STEPS, pixels.STATES],
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
