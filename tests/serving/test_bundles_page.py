"""The page of bundles in a real browser against a real server: what an operator sees and does there."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TOKEN = "correct-horse-battery"
FORM = "multipart/form-data; boundary=b"

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def address(
    tmp_path: Path, tiny_weight_bundle: Path, tiny_fibre_bundle: Path, jpeg: Any,
    heavier_weight_bundle: Callable[..., Path],
) -> Iterator[str]:  # fmt: skip
    """A server with a challenger that has been compared on a few photos."""
    (tmp_path / "weight.onnx").write_bytes(tiny_weight_bundle.read_bytes())
    told = {"WEFT_ADMIN_TOKEN": TOKEN, "WEFT_SHADOW_SHARE": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", "from weft_serving.cli import serve; serve()", "--port", "0",
         "--weight", "weight.onnx", "--fibre", str(tiny_fibre_bundle)],
        cwd=tmp_path, env=dict(os.environ) | told, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert found is not None
    try:
        challenger = heavier_weight_bundle().read_bytes()
        ask(f"{found[0]}/v1/bundles/weight/challenger", challenger, "PUT", Authorization=f"Bearer {TOKEN}")
        part = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n\r\n'
        for number in range(8):
            body = part + jpeg(number) + b"\r\n--b--\r\n"
            ask(f"{found[0]}/v1/estimates", body, **{"Content-Type": FORM})
            time.sleep(0.1)
        until = time.monotonic() + 20
        while ask(f"{found[0]}/v1/bundles/weight/challenger")["answers"] < 1:
            assert time.monotonic() < until, "nothing was compared"
            time.sleep(0.1)
        yield found[0]
    finally:
        process.terminate()
        process.communicate(timeout=20)


def ask(url: str, body: bytes | None = None, method: str | None = None, **headers: str) -> Any:
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as reply:
        return json.load(reply)


def test_an_operator_compares_a_challenger_and_promotes_it(browser: Any, address: str) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    for width in (390, 820, 1400):
        page = browser.new_page(viewport={"width": width, "height": 844})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/bundles")
        page.locator("[data-task=weight] .chart canvas").nth(2).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    weight = page.locator("[data-task=weight]")
    assert "answers of both compared" in weight.inner_text()

    weight.get_by_role("button", name="Promote").click()
    page.locator("#problem", has_text="token is needed").wait_for()
    page.fill("#token", "wrong")
    weight.get_by_role("button", name="Promote").click()
    page.get_by_role("button", name="Do it").click()
    page.locator("#problem", has_text="not this server's").wait_for()
    page.fill("#token", TOKEN)
    weight.get_by_role("button", name="Promote").click()
    page.get_by_role("button", name="Do it").click()
    weight.get_by_role("button", name="Roll back").wait_for()

    promoted = ask(f"{address}/v1/bundles")["bundles"][0]
    assert (promoted["challenger"], promoted["kept"]) == (None, True)
    assert promoted["sha256"][:12] in weight.inner_text()
    for context in browser.contexts:
        context.close()
    assert complaints == []
    assert all(url.startswith(address) and TOKEN not in url for url in asked)


def test_without_a_token_set_the_page_has_no_buttons(start: Any) -> None:
    page = start().get("/bundles")

    assert page.status_code == 200
    assert "data-change" not in page.text
    assert "WEFT_ADMIN_TOKEN" in page.text
