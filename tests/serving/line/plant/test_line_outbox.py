"""The queue to the broker: order, bounds, a full disk, kill -9."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from weft.errors import LineError
from weft_serving.line.plant.outbox import Draft, Outbox


def drafts(first: int, last: int, *, size: int = 100) -> list[Draft]:
    return [Draft("decision", str(number), b"x" * size) for number in range(first, last + 1)]


def labels(outbox: Outbox, count: int = 1000) -> list[int]:
    return [int(letter.draft.label) for letter in outbox.oldest(count)]


def test_letters_come_out_in_the_order_they_went_in_and_go_when_delivered(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "demo.sqlite")

    assert outbox.add(drafts(1, 5)) == 5
    outbox.delivered(outbox.oldest(2))

    assert labels(outbox) == [3, 4, 5]
    assert outbox.waiting == 3
    outbox.close()


def test_what_was_not_delivered_is_there_after_a_restart_under_the_same_name(tmp_path: Path) -> None:
    first = Outbox(tmp_path / "demo.sqlite")
    first.add(drafts(1, 3))
    first.delivered(first.oldest(1))
    first.close()

    again = Outbox(tmp_path / "demo.sqlite")
    again.add(drafts(4, 4))

    assert labels(again) == [2, 3, 4]
    assert (again.waiting, again.waiting_bytes, again.name) == (3, 3 * 196, first.name)
    again.close()


def test_what_was_taken_survives_kill_9(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from weft_serving.line.plant.outbox import Draft, Outbox\n"
        "outbox = Outbox(pathlib.Path(sys.argv[1]))\n"
        "number = 0\n"
        "while True:\n"
        "    number += 1\n"
        "    assert outbox.add([Draft('decision', str(number), b'x' * 2000)]) == 1\n"
        "    print(number, flush=True)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "demo.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        while int(service.stdout.readline()) < 50:
            pass
        service.send_signal(signal.SIGKILL)
        taken = 50 + len(service.stdout.read().splitlines())

    outbox = Outbox(tmp_path / "demo.sqlite")

    found = labels(outbox, 100_000)
    assert found[:taken] == list(range(1, taken + 1))
    assert len(found) <= taken + 1  # one may have been taken and not yet said
    outbox.close()


def test_a_full_queue_refuses_the_newest_until_a_tenth_is_free_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "demo.sqlite", most_bytes=196 * 100)

    assert outbox.add(drafts(1, 120)) == 100
    outbox.delivered(outbox.oldest(5))
    assert outbox.add(drafts(121, 121)) == 0  # or the gaps would alternate with records
    assert outbox.shut
    outbox.delivered(outbox.oldest(5))
    assert outbox.add(drafts(122, 122)) == 1

    assert not outbox.shut
    assert labels(outbox) == [*range(11, 101), 122]
    outbox.close()


def test_a_full_disk_moves_the_end_of_the_queue_into_memory_and_back_in_order(
    tmp_path: Path, full_disk: Any
) -> None:
    path = tmp_path / "demo.sqlite"
    outbox = Outbox(path)
    outbox.add(drafts(1, 10, size=2_000))

    with full_disk(path):
        assert outbox.add(drafts(11, 20, size=2_000)) == 10
        assert outbox.trouble is not None
        assert "takes nothing" in outbox.trouble
        assert outbox.spilled == 10
        outbox.delivered(outbox.oldest(3))
        assert labels(outbox) == list(range(4, 21))
    outbox.add(drafts(21, 21))

    assert (outbox.trouble, outbox.spilled) == (None, 0)
    assert labels(outbox) == list(range(4, 22))
    outbox.close()
    again = Outbox(path)
    assert labels(again) == list(range(4, 22))
    again.close()


def test_memory_is_bounded_while_the_disk_is_full(tmp_path: Path, full_disk: Any) -> None:
    path = tmp_path / "demo.sqlite"
    outbox = Outbox(path, most_spilled_bytes=196 * 30)

    with full_disk(path):
        assert outbox.add(drafts(1, 20)) == 20
        assert outbox.add(drafts(21, 50)) == 10
        assert outbox.add(drafts(51, 51)) == 0
        assert outbox.shut
    assert outbox.add(drafts(52, 52)) == 1

    assert labels(outbox) == [*range(1, 31), 52]
    assert outbox.waiting_bytes == 31 * 196
    outbox.close()


def test_a_second_service_cannot_hold_the_same_outbox(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "demo.sqlite")

    with pytest.raises(LineError, match="another service holds this outbox; stop that one"):
        Outbox(tmp_path / "demo.sqlite")

    outbox.close()


def test_a_file_that_is_no_outbox_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "demo.sqlite"
    path.write_bytes(b"a shopping list" * 100)

    with pytest.raises(LineError, match=r"cannot be an outbox \(file is not a database\); name a folder"):
        Outbox(path)

    assert path.read_bytes() == b"a shopping list" * 100
