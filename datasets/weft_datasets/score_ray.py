"""Scoring with Ray Data: numbers go to actors, which read manifest, photos and bundle themselves."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from weft.errors import ManifestError
from weft_datasets.scorer import Scorer

_BATCH: Final = 16


class _Actor:
    """An answer travels as JSON, whose floats are exact, so that Arrow has no types to guess."""

    def __init__(self, manifest_path: str, bundle_path: str) -> None:
        self._scorer = Scorer(Path(manifest_path), Path(bundle_path))

    def __call__(self, batch: pd.DataFrame) -> pd.DataFrame:
        rows = [json.dumps(self._scorer.score(int(number))) for number in batch["number"]]
        return pd.DataFrame({"row": rows})


def score_by_ray(
    manifest_path: Path, bundle_path: Path, todo: Sequence[int], *, workers: int
) -> Iterator[dict[str, Any]]:
    """Rows of `todo` in any order, from `workers` actors. Every machine has to see both paths.

    Raises:
        ManifestError: Ray is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would call home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # its coming default; else it warns
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ManifestError("--ray needs Ray, which is not installed; pip install 'weft[ray]'") from error
    if not todo:
        return
    ours = not ray.is_initialized()
    if ours:
        here = "RAY_ADDRESS" not in os.environ
        ray.init(
            num_cpus=workers + 1 if here else None,  # one CPU is for handing out
            include_dashboard=False if here else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        scored = ray.data.from_items([{"number": number} for number in todo]).map_batches(
            _Actor,
            fn_constructor_args=(str(manifest_path.resolve()), str(bundle_path.resolve())),
            batch_size=_BATCH,
            batch_format="pandas",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
        )
        for row in scored.iter_rows():
            yield json.loads(row["row"])
    finally:
        if ours:
            ray.shutdown()
