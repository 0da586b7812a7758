"""Two served processes behind the balancer of deploy/Caddyfile, on one PostgreSQL and one object store."""

import io
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

POSTGRES = runpy.run_path(str(Path(__file__).parents[1] / "postgres.py"))
CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"
SERVE = [sys.executable, "-c", "from weft_serving.cli import serve; serve()"]
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
SENDERS = 4


@dataclass
class Replicas:
    """The processes; a replica may be stopped, killed and started again on its port."""

    proxy: str
    ports: list[int]
    environment: dict[str, str]
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, number: int) -> None:
        with (self.folder / f"log-{number}").open("ab") as log:
            process = subprocess.Popen(
                [*SERVE, "--port", str(self.ports[number])],
                cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self.processes[number:] = [process, *self.processes[number + 1 :]]

    def end(self, number: int, how: signal.Signals) -> None:
        self.processes[number].send_signal(how)
        self.processes[number].wait(timeout=30)

    def address(self, number: int) -> str:
        return f"http://127.0.0.1:{self.ports[number]}"

    def answered(self, number: int) -> float:
        """Estimates that a replica has made since it started."""
        told = httpx.get(f"{self.address(number)}/metrics", timeout=20).text.splitlines()
        made = [line for line in told if line.startswith("weft_requests_total") and '"/v1/estimates"' in line]
        return sum(float(line.rsplit(" ", 1)[1]) for line in made if 'method="POST"' in line)


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def wait_for(true: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if true():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"waited a minute for {what}")


def ready(address: str) -> bool:
    return httpx.get(f"{address}/readyz", timeout=20).status_code == 200


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with POSTGRES["empty_database"]() as url:
        yield url


@pytest.fixture(scope="module")
def objects() -> Iterator[str]:
    """The address of an S3 server with a bucket `weft`."""
    pytest.importorskip("s3fs", reason="s3fs comes with weft[s3]")
    moto = pytest.importorskip("moto.server", reason="moto[server] brings the S3 server of these tests")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    httpx.put(f"http://{host}:{port}/weft").raise_for_status()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def replicas(
    database: str,
    objects: str,
    tiny_weight_bundle: Path,
    tiny_fibre_bundle: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Replicas]:
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("caddy is not installed here")
    folder = tmp_path_factory.mktemp("replicas")
    *ports, front = free_ports(3)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("WEFT_", "AWS_"))}
    environment = clean | KEYS | {
        "WEFT_WEIGHT": str(tiny_weight_bundle),
        "WEFT_FIBRE": str(tiny_fibre_bundle),
        "WEFT_DATABASE_URL": database,
        "WEFT_KEEP_PHOTOS": "s3://weft/photos",
        "WEFT_KEEP_PHOTOS_HOURS": "1",
        "WEFT_TRUSTED_PROXIES": "127.0.0.1",
        "WEFT_DRAIN_SECONDS": "2",
        "AWS_ENDPOINT_URL": objects,
    }  # fmt: skip
    made = Replicas(f"http://127.0.0.1:{front}", ports, environment, folder)
    for number in (0, 1):  # at once, on an empty database: both want to migrate it
        made.start(number)
    proxied = {
        "WEFT_SITE": made.proxy,
        "WEFT_UPSTREAMS": " ".join(f"127.0.0.1:{port}" for port in ports),
        "WEFT_HEALTH_INTERVAL": "200ms",
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
    }
    with (folder / "log-proxy").open("wb") as log:
        proxy = subprocess.Popen(
            [caddy, "run", "--adapter", "caddyfile", "--config", CADDYFILE],
            env=proxied, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        for number in (0, 1):
            wait_for(lambda number=number: ready(made.address(number)), f"replica {number}")
        wait_for(lambda: ready(made.proxy), "the balancer")
        yield made
    finally:
        for process in [*made.processes, proxy]:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def both(replicas: Replicas) -> None:
    """Every test begins with two replicas that the balancer knows to be ready."""
    for number, process in enumerate(replicas.processes):
        if process.poll() is not None:
            replicas.start(number)
            wait_for(lambda number=number: ready(replicas.address(number)), f"replica {number}")
    wait_for(lambda: serves_both(replicas), "the balancer to use both")


def serves_both(replicas: Replicas) -> bool:
    before = [replicas.answered(number) for number in (0, 1)]
    for _ in range(4):
        send(replicas.proxy)
    return all(replicas.answered(number) > before[number] for number in (0, 1))


def photo(seed: int) -> dict[str, tuple[str, bytes, str]]:
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    blocks = rng.integers(40, 220, (6, 8, 3)).repeat(20, 0).repeat(20, 1)
    Image.fromarray(blocks.astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return {"photos": ("photo.jpg", buffer.getvalue(), "image/jpeg")}


def send(address: str, path: str = "/v1/estimates", seed: int = 0) -> httpx.Response:
    return httpx.post(address + path, files=photo(seed), timeout=30)


class Load:
    """Senders that go on until stopped; what was acknowledged, and what was not."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self.acknowledged: list[str] = []
        self.failed: list[str] = []
        self._threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]

    def _send(self) -> None:
        while not self._stop.is_set():
            try:
                reply = send(self._address)
            except httpx.HTTPError as error:
                self.failed.append(type(error).__name__)
                continue
            if reply.status_code == 200:
                self.acknowledged.append(reply.json()["id"])
            else:
                self.failed.append(str(reply.status_code))

    def more(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted = len(self.acknowledged) + count
        wait_for(lambda: len(self.acknowledged) >= wanted, f"{count} more answers; failed: {self.failed}")

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def stored(replicas: Replicas, names: list[str]) -> list[int]:
    return [httpx.get(f"{replicas.proxy}/v1/estimates/{name}", timeout=30).status_code for name in names]


def test_what_one_replica_began_another_one_goes_on_with(replicas: Replicas) -> None:
    first = send(replicas.address(0), seed=1)
    name = first.json()["id"]
    second = send(replicas.address(1), f"/v1/estimates/{name}/photos", seed=2)
    third = send(replicas.address(0), f"/v1/estimates/{name}/photos", seed=3)
    weighed = httpx.post(f"{replicas.proxy}/v1/estimates/{name}/weighing", json={"grams": 812.5}, timeout=30)

    assert [reply.status_code for reply in (first, second, third, weighed)] == [200] * 4
    assert [len(reply.json()["photos"]) for reply in (first, second, third)] == [1, 2, 3]
    for address in (replicas.proxy, replicas.address(0), replicas.address(1)):
        found = httpx.get(f"{address}/v1/estimates/{name}", timeout=30).json()
        assert found["weighing"]["grams"] == 812.5
        assert found["grams"] == third.json()["grams"]


def test_photos_added_through_both_replicas_at_once_all_count(replicas: Replicas) -> None:
    name = send(replicas.proxy).json()["id"]
    codes: list[int] = []

    def add(number: int) -> None:
        for seed in (1, 2):
            reply = send(replicas.address(number), f"/v1/estimates/{name}/photos", 10 * number + seed)
            codes.append(reply.status_code)

    threads = [threading.Thread(target=add, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    photos = httpx.get(f"{replicas.proxy}/v1/estimates/{name}", timeout=30).json()["photos"]
    assert codes == [200] * 4
    assert len(photos) == 5


def test_a_replica_that_is_killed_under_load_loses_nothing_that_was_acknowledged(replicas: Replicas) -> None:
    with Load(replicas.proxy) as load:
        load.more(20)
        replicas.end(0, signal.SIGKILL)
        at_kill = len(load.failed)
        load.more(40)
        failed = len(load.failed)
        load.more(40)

        assert failed - at_kill <= 2 * SENDERS  # what it was working on, and what was just sent to it
        assert load.failed[failed:] == []  # the balancer has taken it out

    assert stored(replicas, load.acknowledged) == [200] * len(load.acknowledged)


def test_a_replica_that_is_stopped_under_load_fails_no_request(replicas: Replicas) -> None:
    with Load(replicas.proxy) as load:
        load.more(20)
        replicas.end(1, signal.SIGTERM)
        load.more(40)

    assert load.failed == []
    assert replicas.processes[1].returncode == 0
    assert stored(replicas, load.acknowledged) == [200] * len(load.acknowledged)


def test_a_replica_that_comes_back_gets_requests_again(replicas: Replicas) -> None:
    replicas.end(0, signal.SIGKILL)
    # A request that is just on a connection to the killed one may fail: see the test of a kill under load.
    wait_for(lambda: send(replicas.proxy).status_code == 200, "the other one to answer")
    replicas.start(0)
    wait_for(lambda: ready(replicas.address(0)), "replica 0")

    wait_for(lambda: serves_both(replicas), "the balancer to use it")


def test_no_key_address_or_id_is_in_the_logs_of_the_replicas(replicas: Replicas) -> None:
    name = send(replicas.proxy).json()["id"]

    logs = b"".join((replicas.folder / f"log-{number}").read_bytes() for number in (0, 1))
    assert b"/v1/estimates" in logs
    for secret in (name, "s3://weft", KEYS["AWS_SECRET_ACCESS_KEY"] + '"'):
        assert secret.encode() not in logs
