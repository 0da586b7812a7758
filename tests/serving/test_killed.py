"""`kill -9` under load: what was answered is in the database, and the next start takes up where it was."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from weft_serving.store import open_store
from weft_serving.tables import EstimateRow

CLIENTS = 8
SERVE = [sys.executable, "-c", "from weft_serving.cli import serve; serve()", "--port", "0"]


def form(file: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n'
    return head + file + b"\r\n--b--\r\n"


class Sender(threading.Thread):
    """Posts one photo after another until the server is gone; remembers what it was answered."""

    def __init__(self, port: int, file: bytes) -> None:
        super().__init__()
        self.answered: list[dict[str, Any]] = []
        self._port = port
        self._body = form(file)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        try:
            while True:
                connection.request("POST", "/v1/estimates", self._body, kind)
                reply = connection.getresponse()
                told = json.loads(reply.read())
                if reply.status == 200:
                    self.answered.append(told)
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            return  # cut in the middle of an answer: nothing was acknowledged
        finally:
            connection.close()


@pytest.mark.slow
def test_nothing_that_was_answered_is_lost_by_kill_9_under_load(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path, database_url: str, jpeg: Any
) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    process = subprocess.Popen(
        [*SERVE, "--weight", str(tiny_weight_bundle), "--fibre", str(tiny_fibre_bundle)],
        cwd=tmp_path, env=kept | {"PYTHONUNBUFFERED": "1", "WEFT_DATABASE_URL": database_url},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    port = int(re.findall(r"http://\S+?:(\d+)", process.stdout.readline())[0])
    senders = [Sender(port, jpeg(seed)) for seed in range(CLIENTS)]
    for sender in senders:
        sender.start()
    until = time.monotonic() + 60
    while sum(len(sender.answered) for sender in senders) < 100 and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    process.stdout.close()
    for sender in senders:
        sender.join(20)

    answers = {told["id"]: told for sender in senders for told in sender.answered}
    store = open_store(database_url)
    with store.reading() as session:
        found = {row.id: row.grams for row in session.scalars(select(EstimateRow))}
    store.close()
    assert len(answers) >= 100
    assert {name: found.get(name) for name in answers} == {
        name: told["grams"] for name, told in answers.items()
    }
    assert len(found) - len(answers) <= CLIENTS  # at most one each was stored and not yet answered
