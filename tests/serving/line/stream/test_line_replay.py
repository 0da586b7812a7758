"""`weft replay`: a recorded belt reaches the line as its cameras would have sent it."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from weft.errors import LineError
from weft_serving.line.stream.replay import Playing, replay
from weft_serving.line.stream.replay_verb import replay as verb
from weft_serving.line.stream.tape import Start, open_tape


def play(place: Path, url: str, **options: Any) -> Any:
    return asyncio.run(replay(place, url, Playing(until_done=False, **options)))


def test_a_recording_is_streamed_whole_in_order_and_at_true_speed(
    recording: Path, line_url: str, small_line: Any
) -> None:
    began = time.time_ns()
    played = play(recording, line_url)

    nir = [frame for frame in small_line.frames if frame.sensor == "nir"]
    colour = [frame for frame in small_line.frames if frame.sensor == "colour"]
    assert [frame.sensor for frame in small_line.frames[:2]] == ["white", "dark"]
    assert np.array_equal(
        np.concatenate([frame.content for frame in nir]),
        np.fromfile(recording / "nir.raw", "<u2").reshape(100, 16, 8),
    )
    assert [len(nir), len(colour)] == [50, 10]
    assert [frame.number for frame in nir] == list(range(50))
    assert colour[3].content == (recording / "colour" / "000003.jpg").read_bytes()
    assert all(
        frame.simulated for frame in small_line.frames
    )  # the recording says so, and so does each frame
    times = [frame.timestamp_ns for frame in small_line.frames[2:]]
    assert times == sorted(times)
    assert 0 <= times[0] - began < 5e9  # it happens now, not when it was recorded
    assert times[0] - small_line.frames[0].timestamp_ns == pytest.approx(600e9, abs=5e9)
    assert 0.95 < played.took_s < 3
    assert (played.frames, played.lines, played.seconds) == (60, 100, pytest.approx(1.0))


def test_speed_shortens_the_belts_time_and_the_cameras_clock_alike(
    recording: Path, line_url: str, small_line: Any
) -> None:
    played = play(recording, line_url, speed=5.0)

    nir = [frame for frame in small_line.frames if frame.sensor == "nir"]
    assert nir[-1].timestamp_ns - nir[0].timestamp_ns == pytest.approx(0.98e9 / 5, rel=0.01)
    assert played.took_s < 0.9


def test_the_belt_goes_on_where_the_lines_encoder_stands(
    recording: Path, line_url: str, small_line: Any
) -> None:
    stands = small_line.state().model_copy(update={"encoder": 77_000})
    small_line.state = lambda: stands

    play(recording, line_url, speed=20.0)

    counts = np.concatenate([frame.encoder for frame in small_line.frames if frame.sensor == "nir"])
    assert 77_000 < counts[0] < 78_000
    assert (np.diff(counts) == 100).all()


def test_rounds_of_a_loop_join_without_a_jump(recording: Path, small_line: Any) -> None:
    tape = open_tape(recording, small_line.description)
    first = Start(timestamp_ns=1_000, encoder=50)
    frames = [
        frame
        for start in (first, tape.after(first, 8))
        for _, frame in tape.play(start, rows=8)
        if frame.sensor == "nir"
    ]
    counts = np.concatenate([frame.encoder for frame in frames])

    assert [frame.number for frame in frames] == list(range(26))
    assert (np.diff(counts) == 100).all()
    assert frames[13].timestamp_ns - frames[0].timestamp_ns == pytest.approx(1e9, abs=2)


def test_a_loop_ends_after_the_seconds_asked_for_and_knows_how_long_each_decision_took(
    recording: Path, line_url: str, small_line: Any, line_decision: Any, line_evidence: Any
) -> None:
    real = small_line.take

    def take(frame: Any) -> None:
        real(frame)
        if frame.sensor == "nir" and frame.number % 50 == 40:
            made = line_decision(frame.number)
            place = made.piece.place.model_copy(update={"last_mm": frame.encoder[-1] / 10})
            piece = made.piece.model_copy(update={"place": place})
            time.sleep(0.02)
            small_line.decide(made.model_copy(update={"piece": piece}), line_evidence(1))

    small_line.take = take
    played = play(recording, line_url, loop=True, seconds=2.5)

    assert played.seconds == pytest.approx(2.5, abs=0.1)
    assert 2.4 < played.took_s < 4
    assert len(played.seen_ms) == 2
    assert all(20 <= seen < 500 for seen in played.seen_ms)


def test_a_bare_cube_gets_counts_and_times_from_the_lines_rate(
    recording: Path, line_url: str, small_line: Any
) -> None:
    (recording / "nir.csv").unlink()
    played = play(recording / "nir.hdr", line_url, speed=10.0, references=recording)

    counts = np.concatenate([frame.encoder for frame in small_line.frames if frame.sensor == "nir"])
    assert (np.diff(counts) == 100).all()  # 100 lines a second at 1 m/s and 10 counts a millimetre
    assert [frame.sensor for frame in small_line.frames[:2]] == ["white", "dark"]
    assert not played.simulated
    assert played.lines == 100


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "recording.json").unlink(), "no recording.json in it"),
        (lambda folder: (folder / "nir.raw").write_bytes(b"\0" * 100), "the data has 100"),
        (
            lambda folder: (folder / "nir.csv").write_text("line,encoder\n1,2\n"),
            "needed 100 of line, encoder",
        ),
        (lambda folder: (folder / "nir.csv").write_text("a\nx,y,z\n"), "no table of whole numbers"),
        (lambda folder: (folder / "nir.csv").write_text("a\n" + "0,0,5\n" * 100), "times do not ascend"),
        (lambda folder: (folder / "nir.csv").unlink(), "cannot be read"),
        (
            lambda folder: (folder / "colour.csv").write_text("file,encoder,timestamp_ns\n../x.jpg,1,2\n"),
            "points out of the folder",
        ),
        (lambda folder: (folder / "colour.csv").write_text("file\nx.jpg\n"), "is not file, encoder"),
    ],
)
def test_a_damaged_recording_is_refused_before_anything_is_sent(
    recording: Path, line_url: str, small_line: Any, spoil: Any, words: str
) -> None:
    spoil(recording)

    with pytest.raises(LineError, match=words):
        play(recording, line_url)
    assert small_line.frames == []


def test_a_recording_of_another_camera_is_refused(
    recording: Path, line_url: str, small_line: Any, write_envi: Any
) -> None:
    write_envi(recording / "nir", np.zeros((100, 12, 8)))
    with pytest.raises(LineError, match="lines have 12 bands and 8 pixels, needed 16 and 8 for line small"):
        play(recording, line_url)


def test_the_verb_counts_what_comes_back_and_says_what_was_simulated(
    recording: Path, line_url: str, small_line: Any, line_decision: Any, line_evidence: Any
) -> None:
    real = small_line.take

    def take(frame: Any) -> None:
        real(frame)
        if frame.sensor == "nir" and frame.number in (10, 20, 30):
            late = {"outcome": "late", "lane": "rest"} if frame.number == 30 else {}
            small_line.decide(line_decision(frame.number, **late), line_evidence(1))
            small_line.alarm("no picture for a second; check the camera")

    small_line.take = take
    base, _, line = line_url.partition("/v1/lines/")
    options = [str(recording), "--line", line, "--url", base.replace("ws", "http"), "--speed", "2"]
    told = CliRunner().invoke(verb, options, catch_exceptions=False)
    summary = json.loads(CliRunner().invoke(verb, [*options, "--json", "--no-wait"]).stdout)

    assert told.exit_code == 0
    assert "1.0 s of simulated belt" in told.stdout
    assert "3 pieces: 2 fired, 1 late" in told.stdout
    assert "cotton: 2" in told.stdout
    assert "alarm: camera-silent: no picture for a second" in told.stderr
    assert (summary["pieces"], summary["late"], summary["commands"], summary["simulated"]) == (3, 1, 3, True)
    assert summary["lanes"] == {"cotton": 2, "rest": 1}
    assert summary["latency_p50_ms"] == 42.0


def test_a_refusal_ends_the_verb_in_one_line(recording: Path, line_url: str) -> None:
    base = line_url.partition("/v1/lines/")[0]
    told = CliRunner().invoke(verb, [str(recording), "--line", "other", "--url", base])

    assert isinstance(told.exception, LineError)  # `weft` prints it as one line
    assert "no line is called 'other'; in service: small" in str(told.exception)
