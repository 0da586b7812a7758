"""A day never seen: no net of the table knows the day it is asked about, nor what was scanned on it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import weft_training.cotton_study as study
from weft_datasets.manifest import Manifest, make_manifest
from weft_training.leaderboard import Board
from weft_training.leaderboard_lines import Figure, Line

CONFIGS = Path(__file__).parents[2] / "configs"
NM = np.arange(1040.0, 2520.0, 4.0)


def made(folder: Path) -> Manifest:
    """Four fabrics on four days, two swatches each; on one day seven of one."""
    rng = np.random.default_rng(0)
    bands = [np.exp(-(((NM - centre) / 60) ** 2)) for centre in (1490, 2100, 2330, 1660, 2140)]
    rows = []
    for day, fabrics in enumerate((("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"))):
        for fabric in fabrics:
            cotton = {"a": 0.3, "b": 0.36, "c": 0.43, "d": 0.5}[fabric]
            for specimen in range(7 if day == 3 and fabric == "d" else 2):
                scan = cotton * sum(bands[:3]) + (1 - cotton) * sum(bands[3:]) + rng.normal(0, 1e-3, len(NM))
                rows.append(
                    {
                        "capture": f"{fabric}{specimen}-{day}",
                        "subject": fabric,
                        "kind": "spectrum",
                        "wavelength_nm": NM,
                        "absorbance": scan.astype(np.float32),
                        "cotton_pct": 100 * cotton,
                        "polyester_pct": 100 - 100 * cotton,
                        "cotton_percent_nominal": 100 * cotton - 5,
                        "session": f"24010{day}_nir",
                        "specimen": specimen,
                    }
                )
    return make_manifest(pd.DataFrame(rows), root=folder, name="made days", notes={})


class MadeBoard(Board):
    def imported(self, line: Line) -> Manifest:
        return made(self.runs)


@pytest.fixture
def line() -> Line:
    return Line(
        name="made-day",
        task="made",
        split="made",
        kind="cotton-pet",
        source="",
        recipe="fibre-cotton-pet.yaml",
        figures=(Figure("mae_points.cotton", "MAE"),),
        measure=study.measure_days,
    )


@pytest.mark.slow
def test_a_day_is_predicted_by_a_net_that_knows_neither_it_nor_its_fabrics(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "CHOICES", dict(list(study.CHOICES.items())[:1]))
    monkeypatch.setattr(study, "UNITS", study.UNITS[:1])
    monkeypatch.setattr(study, "DRAWS", 2)
    asked: list[tuple[set[str], set[str]]] = []
    build = study.FibreTask.build

    def watched(task: study.FibreTask, rows: np.ndarray, *, seed: int) -> object:
        frame = pd.DataFrame(task.captures.manifest.frame).iloc[rows]
        asked.append((set(frame["session"].tolist()), set(frame["subject"].tolist())))
        return build(task, rows, seed=seed)

    monkeypatch.setattr(study.FibreTask, "build", watched)
    board = MadeBoard(data=tmp_path, configs=CONFIGS, runs=tmp_path, say=lambda text: None)

    found = study.measure_days(board, line)

    assert len(found.predictions) == len(made(tmp_path).frame)
    assert len(np.unique(found.predictions["fold"].to_numpy())) == 4
    neither = asked[4:8]  # after the four nets that miss a day alone
    assert all(len(days) < 4 and len(fabrics) == 2 for days, fabrics in neither)
    titles = [table.title for table in found.tables]
    assert titles[1] == "Recalibrated with 5 known swatches"
    assert [row[0] for row in found.tables[1].rows] == [
        "day 240103, other swatches of it",
        "axis off by 1 nm; a fabric left out",
    ]
    assert found.pictures["days"].startswith(b"\x89PNG")
