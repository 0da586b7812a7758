"""What one greedy client costs the service and a neighbour: many bodies that begin at once and never end.

    python benchmarks/greedy.py             2,000 bodies of 190 kB, all but their ends
    python benchmarks/greedy.py --connections 3 --sent-kb 24000 --length-bytes 59000000

Linux: clients have addresses of their own. The neighbour sends photos of 12 megapixels, one after the other.
"""

import argparse
import asyncio
import json
import resource
import socket
import time
from collections import Counter
from typing import Any, Final

from weft.errors import BenchError
from weft_serving.bench.bill import bill
from weft_serving.bench.load import Work
from weft_serving.bench.scenes import make_photos
from weft_serving.bench.served import Served
from weft_serving.bench.talk import Address, HttpLine, dial, form, post

PIECE: Final = bytes(65_536)
PART: Final = '--b\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n\r\n'
PATIENCE_S: Final = 25.0  # a little more than the server's


class Neighbour:
    """Asks again and again; `told` says how that went since it was last asked."""

    def __init__(self, address: Address, request: bytes) -> None:
        self._address = address
        self._request = request
        self._answers: list[tuple[int, float]] = []  # status, 0 for none, and seconds

    async def ask(self) -> None:
        while True:
            began, status = time.perf_counter(), 0
            line = HttpLine(await dial(self._address))
            try:
                status = (await line.ask(self._request)).status
            except BenchError:
                pass
            finally:
                line.close()
            self._answers.append((status, time.perf_counter() - began))
            await asyncio.sleep(0.1)

    def told(self) -> dict[str, Any]:
        answers, self._answers = self._answers, []
        slowest = max((seconds for _, seconds in answers), default=float("nan"))
        return {"answers": Counter(status for status, _ in answers), "slowest_ms": round(1000 * slowest)}


async def begin(address: Address, *, sent_kb: int, length_bytes: int) -> str:
    """Send a part of one body, and no more; the status that came, or what else."""
    loop = asyncio.get_running_loop()
    head = "POST /v1/estimates HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with socket.socket() as line:
        line.setblocking(False)
        line.bind(("127.1.0.1", 0))

        async def send() -> None:
            await loop.sock_sendall(line, f"{head}Content-Length: {length_bytes}\r\n\r\n{PART}".encode())
            for left in range(1000 * sent_kb, 0, -len(PIECE)):
                await loop.sock_sendall(line, PIECE[:left])

        try:
            await loop.sock_connect(line, (address.host, address.port))
            sending = asyncio.create_task(send())
            got = await asyncio.wait_for(loop.sock_recv(line, 4096), PATIENCE_S)
            sending.cancel()
            return got[9:12].decode() or "closed"
        except (OSError, TimeoutError) as error:
            return type(error).__name__


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    (photo,) = make_photos(1)
    served = Served(None, {})
    try:
        await served.wait(Work("photo", [photo], [None], 0.0))
        neighbour = Neighbour(served.address, post(served.address, "/v1/estimates", form(photo, {})))
        asking = asyncio.create_task(neighbour.ask())
        await asyncio.sleep(3)
        told: dict[str, Any] = {"before": neighbour.told() | {"mib": round(bill(served.pid).resident_mib)}}
        each = {"sent_kb": options.sent_kb, "length_bytes": options.length_bytes}
        bodies = [asyncio.create_task(begin(served.address, **each)) for _ in range(options.connections)]
        for part in ("first_5_s", "next_5_s"):
            await asyncio.sleep(5)
            told[part] = neighbour.told() | {"mib": round(bill(served.pid).resident_mib)}
        told["greedy"] = Counter(await asyncio.gather(*bodies))
        told["rest"] = neighbour.told() | {"mib": round(bill(served.pid).resident_mib)}
        told["most_mib"] = round(bill(served.pid).peak_mib)
        asking.cancel()
    finally:
        served.close()
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--sent-kb", type=int, default=180, help="of each body")
    parser.add_argument("--length-bytes", type=int, default=190_000, help="that each body is said to have")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for part, figures in asyncio.run(measure(options)).items():
        print(f"{part:10} {json.dumps(figures)}")


if __name__ == "__main__":
    main()
