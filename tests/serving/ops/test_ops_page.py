"""The operator's page in a real browser, from phone to desk."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, tiny_weight_bundle: Path, tiny_fibre_bundle: Path
) -> Iterator[str]:
    serve = "from weft_serving.cli import serve; serve()"
    bundles = ["--weight", str(tiny_weight_bundle), "--fibre", str(tiny_fibre_bundle)]
    process = subprocess.Popen(
        [sys.executable, "-c", serve, "--port", "0", *bundles],
        cwd=tmp_path_factory.mktemp("server"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


@pytest.fixture(scope="module", autouse=True)
def work(address: str, jpeg: Callable[..., bytes]) -> None:
    """Some photos, seen by the service's own watch before anybody looks."""
    head = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n'
    for seed in range(12):
        body = head + jpeg(seed) + b"\r\n--b--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        urllib.request.urlopen(urllib.request.Request(f"{address}/v1/estimates", body, kind)).close()
    until = time.monotonic() + 30
    while not sum(json.load(urllib.request.urlopen(f"{address}/v1/ops"))["minutes"]["estimates"]):
        assert time.monotonic() < until, "nobody has looked at the figures"
        time.sleep(0.2)


@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1180), (1400, 900)])
def test_the_page_says_how_the_service_is(browser: Any, address: str, width: int, height: int) -> None:
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": height})
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(f"{address}/ops")
    page.wait_for_selector("#status:not(:text('connecting'))")
    page.wait_for_selector("#chart-requests canvas")

    assert page.inner_text("#database") == "up"
    assert int(page.inner_text("#requests").replace(",", "")) > 0
    assert "tiny-weight 1" in page.inner_text("#bundles")
    assert "No estimate of this bundle has been weighed yet" in page.inner_text("#coverage")
    assert page.locator("#alerts section").count() == 0
    page.click("[data-hours='1']")
    assert page.get_attribute("[data-hours='1']", "aria-pressed") == "true"
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.close()
    assert complaints == []
