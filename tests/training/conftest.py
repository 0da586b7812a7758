"""Things that are dear to make, made once a session."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with a fresh MLflow database: its first migration takes seven seconds."""
    folder = tmp_path_factory.mktemp("registry")
    from weft_training.track import open_client

    open_client(None, folder)
    return folder


@pytest.fixture
def runs(empty_registry: Path, tmp_path: Path) -> Path:
    """A folder of runs of the test's own."""
    return Path(shutil.copytree(empty_registry, tmp_path / "runs"))


@pytest.fixture
def write_made(tmp_path: Path) -> Callable[..., Path]:
    """Writes made captures as a manifest, and a recipe of seconds that reads it: the path of that."""

    def write(name: str, rows: list[dict[str, Any]], *, data: dict[str, Any], **sections: Any) -> Path:
        import yaml

        from weft_datasets.manifest import make_manifest, write_manifest

        table = tmp_path / f"{name}.parquet"
        made = make_manifest(pd.DataFrame(rows), root=tmp_path, name=name, notes={"simulated": True})
        write_manifest(made, table)
        recipe = {
            "seed": 3,
            "name": name,
            "data": {"manifest": str(table)} | data,
            "compute": {"cache": str(tmp_path / "cache")},
            "export": {"name": name, "dataset": f"{len(rows)} made captures"},
            "track": None,
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(recipe | sections))
        return path

    return write


@pytest.fixture
def spectra_recipe(write_made: Callable[..., Path]) -> Path:
    """A recipe of seconds on 24 made garments of three fibres, two scans each, and four strangers."""
    rng = np.random.default_rng(5)
    grids = [np.arange(900.0, 1701.0, 10.0), np.linspace(900.0, 1700.0, 228)]  # of two instruments
    fibres = ("cotton", "polyester", "wool")
    rows = []
    for subject in range(28):
        nm = grids[subject % 2]
        peak = 1000 + 180 * (subject % 3) if subject < 24 else rng.uniform(1500, 1650)
        for scan in range(2):
            band = rng.uniform(0.8, 1.2) * np.exp(-(((nm - peak) / 60) ** 2))
            rows.append(
                {
                    "capture": f"g{subject}-{scan}",
                    "subject": f"g{subject}",
                    "kind": "spectrum",
                    "wavelength_nm": nm,
                    "absorbance": (band + rng.normal(0, 0.02, len(nm))).astype(np.float32),
                    **{
                        f"{name}_pct": 100.0 * (name == fibres[subject % 3] and subject < 24)
                        for name in fibres
                    },
                    "unknown_pct": 100.0 * (subject >= 24),
                }
            )
    return write_made(
        "made",
        rows,
        task="composition",
        data={"fibres": list(fibres)},
        split={"scheme": "folds", "folds": 2},
        model={
            "grid": {"from_nm": 920, "to_nm": 1680, "step_nm": 10},
            "preprocess": [{"kind": "snv"}],
            "trunk": "mlp",
            "hidden": 8,
        },
        augment={"noise": 0.01, "shift_nm": 3.0, "blend": 0.2},
        optim={"epochs": 4, "batch": 16, "peak_lr": 0.01},
    )


@pytest.fixture
def photos_recipe(write_made: Callable[..., Path], tmp_path: Path) -> Path:
    """A recipe of seconds on 8 made parcels, two photos each: the brighter the heavier."""
    from PIL import Image

    rng = np.random.default_rng(6)
    rows = []
    for subject in range(8):
        for shot in range(2):
            light = np.clip(rng.normal(60 + 20 * subject, 12, (50 + 10 * shot, 70, 3)), 0, 255)
            Image.fromarray(light.astype(np.uint8)).save(tmp_path / f"p{subject}-{shot}.png")
            rows.append(
                {
                    "capture": f"p{subject}-{shot}",
                    "subject": f"p{subject}",
                    "kind": "photo",
                    "path": f"p{subject}-{shot}.png",
                    "grams": 200.0 * 1.4**subject,
                    "season": "winter" if subject % 2 else None,
                }
            )
    return write_made(
        "parcels",
        rows,
        task="weight",
        data={"decode_px": 64, "max_photos": 2},
        split={"scheme": "folds", "folds": 2},
        model={
            "backbone": "test_efficientnet",
            "input_px": 32,
            "hidden": 8,
            "freeze": "all",
            "init": "ridge",
        },
        augment={"views": 1},
        optim={"epochs": 2, "batch": 8, "peak_lr": 0.001},
    )


@pytest.fixture(scope="session")
def made_weights() -> Callable[..., pd.DataFrame]:
    return _made_weights


def _made_weights(
    subjects: int, *, photos: int = 3, seed: int = 0, wobble: float = 0.15, few: bool = False
) -> pd.DataFrame:
    """Out-of-fold predictions of subjects that differ: an error of the subject's own and one of each photo.

    With `few` also random subsets of the photos, and everything once more with the scale mark hidden, when
    each photo errs twice as much.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(subjects):
        grams = float(np.exp(generator.normal(5, 0.6)))
        own = generator.normal(0, wobble)
        error = generator.normal(0, wobble, photos)

        def add(capture: str, chosen: list[int], mode: str, hidden: bool) -> None:
            said = grams * np.exp(own + (1 + hidden) * np.median(error[chosen]))  # noqa: B023
            subject = f"s{number}"  # noqa: B023
            rows.append(
                (capture, subject, number % 5, grams, said, len(chosen), mode, few and not hidden)  # noqa: B023
            )

        for photo in range(photos):
            add(f"{number}-{photo}", [photo], "one", False)
        add(f"{number}", list(range(photos)), "all", False)
        if few:
            for size in range(2, photos):
                add(f"{number}-{size}", generator.permutation(photos)[:size].tolist(), "few", False)
            for size in range(1, photos + 1):
                add(f"{number}-{size}", generator.permutation(photos)[:size].tolist(), "unmarked", True)
    names = ["capture", "subject", "fold", "grams", "predicted_grams", "n_photos", "mode", "marked"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(q_low_grams=frame.predicted_grams * 0.85, q_high_grams=frame.predicted_grams * 1.1)
