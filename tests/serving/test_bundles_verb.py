"""`weft bundles` against a served process: list, push, try, promote, roll back; and what keeps it from it."""

import http.server
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from weft.bundle import check_seal
from weft.errors import StoreError
from weft_serving.bundles.verb import bundles
from weft_serving.settings import read_settings

TOKEN = "correct-horse-battery"
SERVE = [sys.executable, "-c", "from weft_serving.cli import serve; serve()"]


@pytest.fixture(scope="module")
def url(
    tmp_path_factory: pytest.TempPathFactory, tiny_weight_bundle: Path, tiny_fibre_bundle: Path
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "weight.onnx").write_bytes(tiny_weight_bundle.read_bytes())  # changed here
    told = {"WEFT_ADMIN_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*SERVE, "--weight", "weight.onnx", "--fibre", str(tiny_fibre_bundle), "--port", "0"],
        cwd=folder, env=dict(os.environ) | told,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert found is not None
    yield found[0]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def run(url: str, *words: str, token: str | None = TOKEN) -> tuple[int, str]:
    made = CliRunner().invoke(bundles, ["--url", url, *words], env={"WEFT_ADMIN_TOKEN": token})
    return made.exit_code, made.output


@pytest.mark.slow
def test_it_lists_pushes_tries_promotes_and_rolls_back(
    url: str, heavier_weight_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    heavier = heavier_weight_bundle()
    short = check_seal(heavier.read_bytes(), source="test")[:12]
    assert run(url)[1].startswith("weight: tiny-weight 1 (")

    assert f"on trial: tiny-weight 1 ({short}" in run(url, "challenge", "weight", str(heavier))[1]
    assert f"weight: tiny-weight 1 ({short}" in run(url, "promote", "weight")[1]
    assert "already" not in run(url, "rollback", "weight")[1]
    run(url, "push", "weight", str(heavier))
    again = run(url, "push", "weight", str(heavier))[1]  # somebody tries once more
    assert "in service already: nothing has changed" in again
    assert f"before: tiny-weight 1 ({short}" in run(url, "rollback", "weight")[1]
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    assert run(url, "push", "weight", str(tmp_path / "rubbish")) == (
        1,
        "Error: the bundle sent: not a Weft bundle, or cut short; export it again with `weft export`\n",
    )
    assert "refused: the bundle sent: not a Weft bundle" in run(url)[1]
    assert run(url, "end", "weight")[0] == 1


def test_what_keeps_it_from_changing_anything_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "b.onnx").write_bytes(b"x")

    def told(url: str, token: str | None = TOKEN) -> Any:
        status, said = run(url, "push", "weight", str(tmp_path / "b.onnx"), token=token)
        assert (status, said.count("\n")) == (1, 1)
        return said

    assert "WEFT_ADMIN_TOKEN is not set" in told("http://127.0.0.1:9", None)
    assert "does not answer" in told("http://127.0.0.1:9")
    assert "name a server as http://HOST:PORT" in told("ftp://here")


@pytest.fixture
def asked() -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    """An address that answers as Weft does, and what was asked of it: method, path, Authorization."""
    seen: list[tuple[str, str, str | None]] = []
    standing = {
        "task": "composition", "name": "f", "version": "1", "sha256": "0" * 64, "trained_on": "real",
        "since": "2026-11-22T06:00:00Z", "kept": True, "previous": None, "challenger": None, "refused": None,
    }  # fmt: skip

    class Answers(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.command, self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(standing).encode())

        do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


def invoke(*words: str, **environ: str | None) -> tuple[int, str]:
    told = {"WEFT_URL": None, "WEFT_ADMIN_TOKEN": None, "WEFT_ADMIN_TOKEN_FILE": None}
    made = CliRunner().invoke(bundles, words, env=told | environ)
    return made.exit_code, made.output


def test_options_are_taken_before_the_verb_and_after_it(asked: Any, tmp_path: Path) -> None:
    url, seen = asked
    (file := tmp_path / "b.onnx").write_bytes(b"x")
    (secret := tmp_path / "secret").write_text(TOKEN + "\n")
    for words in (
        ["--url", url, "--token-file", str(secret), "push", "weight", str(file)],
        ["push", "weight", str(file), "--url", url, "--token-file", str(secret)],
        ["--token-file", str(secret), "push", "--url", url, "weight", str(file)],
        ["--url", "ftp://no.one", "--token-file", str(secret), "push", "weight", str(file), "--url", url],
    ):  # fmt: skip
        assert invoke(*words)[0] == 0
    assert invoke("rollback", "weight", WEFT_URL=url, WEFT_ADMIN_TOKEN_FILE=str(secret))[0] == 0
    assert invoke("end", "weight", "--url", url, WEFT_URL="ftp://x", WEFT_ADMIN_TOKEN=TOKEN)[0] == 0

    assert [path for _, path, _ in seen] == [
        *["/v1/bundles/weight"] * 4,
        "/v1/bundles/weight/rollback",
        "/v1/bundles/weight/challenger",
    ]
    assert {sent for _, _, sent in seen} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize("task", ["fibre", "composition"])
def test_both_names_of_the_fibre_bundle_are_taken_and_the_apis_is_told(
    asked: Any, tmp_path: Path, task: str
) -> None:
    (file := tmp_path / "b.onnx").write_bytes(b"x")
    for words in (["push", task, str(file)], ["challenge", task, str(file)], ["promote", task]):
        status, said = invoke(*words, "--url", asked[0], WEFT_ADMIN_TOKEN=TOKEN)
        assert (status, said.split(":")[0]) == (0, "composition")


def test_every_command_that_the_page_tells_is_one(start: Any) -> None:
    told = re.findall(r"<code>weft bundles (\w+) (\w+) FILE</code>", start().get("/bundles").text)

    assert told == [("challenge", "weight"), ("challenge", "composition")]
    for verb, task in told:
        assert "FILE" in invoke(verb, "--help")[1]
        assert "'no-such-file' does not exist" in invoke(verb, task, "no-such-file")[1]


def test_a_file_larger_than_a_server_takes_is_not_sent(asked: Any, tmp_path: Path) -> None:
    url, seen = asked
    with (file := tmp_path / "big.bin").open("wb") as stream:
        stream.truncate(70_000_000)
    for verb in ("push", "challenge"):
        status, said = invoke(verb, "weight", str(file), "--url", url, WEFT_ADMIN_TOKEN=TOKEN)
        assert (status, said.count("\n")) == (1, 1)
        assert "big.bin has 70,000,000 bytes, at most 60,000,000 are taken over HTTP" in said
    assert seen == []


def test_a_connection_that_is_cut_while_a_bundle_is_sent_is_told_as_that(tmp_path: Path) -> None:
    (file := tmp_path / "b.onnx").write_bytes(bytes(30_000_000))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def cut() -> None:
            line, _ = listening.accept()
            line.recv(1000)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            line.close()

        thread = threading.Thread(target=cut)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        status, said = invoke("push", "weight", str(file), "--url", url, WEFT_ADMIN_TOKEN=TOKEN)
        thread.join()

    assert (status, said.count("\n")) == (1, 1)
    assert "closed the connection while 30,000,000 bytes were sent; a proxy before it may take less" in said


UNSENDABLE = [
    "hidden\ntoken",
    "hidden\r\nX-Evil: 1",
    "hiddentoken€",
    "hidden token",
    "hidden\ttoken",
    "hidden\x7ftoken",
]


@pytest.mark.parametrize("token", UNSENDABLE)
def test_a_token_that_cannot_be_sent_is_never_shown(asked: Any, tmp_path: Path, token: str) -> None:
    url, seen = asked
    (secret := tmp_path / "secret").write_text(token, encoding="utf-8")
    status, said = invoke("rollback", "weight", "--url", url, WEFT_ADMIN_TOKEN=token)
    other = invoke("rollback", "weight", "--url", url, "--token-file", str(secret))[1]

    assert (status, said.count("\n")) == (1, 1)
    assert "WEFT_ADMIN_TOKEN holds a character that cannot be sent" in said
    assert f"{secret} holds a character that cannot be sent" in other
    assert "hidden" not in said + other
    assert seen == []


@pytest.mark.parametrize("token", [*UNSENDABLE, "hidden7", "       8", "hidden\udcfftoken"])
def test_a_server_does_not_start_with_such_a_token_or_a_short_one_and_never_shows_it(token: str) -> None:
    with pytest.raises(StoreError) as caught:
        read_settings({"WEFT_ADMIN_TOKEN": token})

    said = str(caught.value)
    assert said.startswith("WEFT_ADMIN_TOKEN: ")
    assert "got a value that is not shown" in said
    assert "hidden" not in said
    assert "\n" not in said


def test_a_token_of_eight_visible_characters_is_taken() -> None:
    for token in ("!~aA09/+", "correct-horse-battery"):
        taken = read_settings({"WEFT_ADMIN_TOKEN": token}).admin_token
        assert taken is not None
        assert taken.get_secret_value() == token


@pytest.mark.parametrize("url", ["http://127.0.0.1:port", "http://in valid/"])
def test_an_address_that_is_none_is_told_in_one_line(url: str) -> None:
    status, said = invoke("--url", url)

    assert (status, said.count("\n")) == (1, 1)
    assert "check --url" in said
