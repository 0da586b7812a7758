"""The watched folder: whole cubes go into the line once, half ones wait, bad ones say why."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weft.errors import StoreError
from weft_serving.line.stream import watch
from weft_serving.line.stream.watch import Watcher, open_watchers


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_SETTLE_S", 0.0)
    monkeypatch.setattr(watch, "_GIVE_UP_S", 0.3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "watched").mkdir()
    return tmp_path / "watched"


def put(recording: Path, folder: Path, *names: str, to: str = "cube") -> None:
    """Some files of the recording, under another name."""
    for name in names:
        shutil.copy(recording / name, folder / f"{to}.{name.partition('.')[2]}")


def look(watcher: Watcher) -> int:
    """A first look that sees the files, a second one that finds them unchanged."""
    return watcher.look() + watcher.look()


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_finished_cube_is_fed_with_its_own_counts_and_times_and_put_away(
    recording: Path, folder: Path, small_line: Any
) -> None:
    put(recording, folder, "nir.hdr", "nir.raw", "nir.csv")
    assert look(Watcher(folder, small_line, without_encoder=False)) == 1

    frames = small_line.frames
    lines = np.fromfile(recording / "nir.raw", "<u2").reshape(100, 16, 8)
    places = np.loadtxt(recording / "nir.csv", np.int64, delimiter=",", skiprows=1)
    assert np.array_equal(np.concatenate([frame.content for frame in frames]), lines)
    assert np.array_equal(np.concatenate([frame.encoder for frame in frames]), places[:, 1])
    assert frames[-1].timestamp_ns == places[-1, 2]
    assert sorted(path.name for path in (folder / "done").iterdir()) == ["cube.csv", "cube.hdr", "cube.raw"]
    assert [path.name for path in folder.iterdir()] == ["done"]


def test_a_simulated_cube_stays_simulated(recording: Path, folder: Path, small_line: Any) -> None:
    put(recording, folder, "nir.hdr", "nir.raw", "nir.csv")
    header = folder / "cube.hdr"
    header.write_text(header.read_text() + "description = {simulated raw counts}\n")

    assert look(Watcher(folder, small_line, without_encoder=False)) == 1

    assert all(frame.simulated for frame in small_line.frames)


def test_cubes_are_fed_in_their_order_after_the_references_and_numbers_run_on(
    recording: Path, folder: Path, small_line: Any
) -> None:
    for age, name in ((30, "b"), (20, "a")):
        put(recording, folder, "nir.hdr", "nir.raw", "nir.csv", to=name)
        os.utime(folder / f"{name}.hdr", (time.time() - age, time.time() - age))
    put(recording, folder, "white.hdr", "white.raw", to="WHITEREF_belt")
    watcher = Watcher(folder, small_line, without_encoder=False)
    assert look(watcher) == 3

    assert [frame.sensor for frame in small_line.frames[:2]] == ["white", "nir"]
    assert [frame.number for frame in small_line.frames[1:]] == list(range(100))
    put(recording, folder, "nir.hdr", "nir.raw", "nir.csv", to="a")  # the same name comes again
    assert look(watcher) == 1
    assert small_line.frames[-1].number == 149
    assert {path.name for path in (folder / "done").glob("a*.hdr")} == {"a.hdr", "a-1.hdr"}


def test_a_cube_that_is_still_being_written_waits(
    recording: Path, folder: Path, small_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_GIVE_UP_S", 60.0)
    put(recording, folder, "nir.hdr", "nir.csv")
    data = (recording / "nir.raw").read_bytes()
    (folder / "cube.raw").write_bytes(data[:-500])
    watcher = Watcher(folder, small_line, without_encoder=False)
    assert look(watcher) == 0
    assert small_line.refused == []
    (folder / "cube.raw").write_bytes(data)
    assert look(watcher) == 1

    assert sum(len(frame.encoder) for frame in small_line.frames) == 100


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "cube.raw").write_bytes(b"\0" * 100), "the data has 100"),
        (lambda folder: (folder / "cube.raw").unlink(), "no data file beside it"),
        (lambda folder: (folder / "cube.csv").unlink(), "so nobody knows where its pieces are"),
        (
            lambda folder: (folder / "cube.csv").write_text("line,encoder\n1,2\n"),
            "needed 100 of line, encoder",
        ),
        (lambda folder: (folder / "cube.hdr").write_text("ENVI\nsamples = x\n"), "cube.hdr"),
        (
            lambda folder: (folder / "cube.hdr").write_text(
                (folder / "cube.hdr").read_text().replace("data type = 12", "data type = 2")
            ),
            "int16, needed uint8, uint16, float32",
        ),
    ],
)
def test_a_cube_that_cannot_be_used_goes_to_failed_with_the_reason_and_raises_an_alarm(
    recording: Path, folder: Path, small_line: Any, spoil: Any, words: str
) -> None:
    put(recording, folder, "nir.hdr", "nir.raw", "nir.csv")
    spoil(folder)
    watcher = Watcher(folder, small_line, without_encoder=False)
    wait_for(lambda: watcher.look() == 1)

    assert small_line.frames == []
    assert words in (folder / "failed" / "cube.txt").read_text()
    assert not (folder / "cube.hdr").exists()
    assert [sensor for sensor, _ in small_line.refused] == ["nir"]
    assert words in small_line.refused[0][1]


def test_a_cube_of_another_camera_is_refused_whole(
    recording: Path, folder: Path, small_line: Any, write_envi: Any
) -> None:
    write_envi(folder / "cube", np.zeros((100, 12, 8)))
    shutil.copy(recording / "nir.csv", folder / "cube.csv")
    assert look(Watcher(folder, small_line, without_encoder=False)) == 1

    assert small_line.frames == []
    assert "12 bands and 8 pixels, needed 16 and 8" in (folder / "failed" / "cube.txt").read_text()


def test_where_it_is_allowed_a_cube_without_counts_passes_at_the_belts_speed(
    recording: Path, folder: Path, small_line: Any
) -> None:
    put(recording, folder, "nir.hdr", "nir.raw")
    watcher = Watcher(folder, small_line, without_encoder=True)
    began = time.monotonic()
    assert look(watcher) == 1

    counts = np.concatenate([frame.encoder for frame in small_line.frames])
    assert (np.diff(counts) == 100).all()
    assert 0.9 < time.monotonic() - began < 3


def test_a_busy_line_is_not_flooded(recording: Path, folder: Path, small_line: Any) -> None:
    put(recording, folder, "nir.hdr", "nir.raw", "nir.csv")
    small_line.waiting_rows = 10_000
    watcher = Watcher(folder, small_line, without_encoder=False)
    watcher.start()
    time.sleep(0.6)
    assert small_line.frames == []
    small_line.waiting_rows = 0
    wait_for(lambda: (folder / "done" / "cube.hdr").exists())
    watcher.close()

    assert len(small_line.frames) == 50


def test_a_cube_that_cannot_be_moved_away_is_fed_once(recording: Path, folder: Path, small_line: Any) -> None:
    put(recording, folder, "nir.hdr", "nir.raw", "nir.csv")
    (folder / "done").write_text("a file where the folder should be")
    watcher = Watcher(folder, small_line, without_encoder=False)
    assert look(watcher) == 1
    assert look(watcher) == 0

    assert len(small_line.frames) == 50
    assert "cannot be moved to done" in small_line.refused[0][1]


def test_each_line_gets_its_folder_or_a_reason(tmp_path: Path, small_line: Any) -> None:
    assert open_watchers(None, {"small": small_line}, without_encoder=False) == []
    assert len(open_watchers(tmp_path / "in", {"small": small_line}, without_encoder=False)) == 1
    assert (tmp_path / "in" / "small").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"WEFT_WATCH: .*cannot be made"):
        open_watchers(tmp_path / "file", {"small": small_line}, without_encoder=False)
