"""The page's place for a photo beside a scan, in a real browser: there if the bundle in service takes one."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@contextmanager
def served(weight: Path, fibre: Path, folder: Path) -> Iterator[str]:
    serve = "from weft_serving.cli import serve; serve()"
    given = ["--port", "0", "--weight", str(weight), "--fibre", str(fibre)]
    process = subprocess.Popen(
        [sys.executable, "-c", serve, *given], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        told = (re.search(r"http://127\.0\.0\.1:\d+", line) for line in process.stdout)
        yield next(found[0] for found in told if found)
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def red() -> dict[str, object]:
    noise = np.random.default_rng(0).integers(-20, 20, (240, 320, 1))
    buffer = io.BytesIO()
    pixels = np.clip(np.full((240, 320, 3), (230, 20, 20)) + noise, 0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return {"name": "cloth.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def with_photo(browser: "sync_api.Browser", address: str) -> "sync_api.Page":
    """The tab for scans on a phone, a photo chosen."""
    page = browser.new_page(viewport={"width": 360, "height": 740})
    page.goto(f"{address}#identify")
    page.wait_for_selector("#beside", state="visible")
    page.set_input_files("#scan-photo", red())
    return page


def test_a_photo_alone_is_asked_where_the_bundle_takes_one(
    browser: "sync_api.Browser", tiny_weight_bundle: Path, tiny_pair_bundle: Path, tmp_path: Path
) -> None:
    with served(tiny_weight_bundle, tiny_pair_bundle, tmp_path) as address:
        page = with_photo(browser, address)
        page.click("#identify-go")
        page.wait_for_selector("#identify-result", state="visible")

        assert "cotton" in page.inner_text("#identify-result h2")
        assert "from a photo alone" in page.inner_text("#identify-result")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.close()


def test_no_photo_is_asked_for_where_the_bundle_reads_scans_alone(
    browser: "sync_api.Browser", tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path
) -> None:
    with served(tiny_weight_bundle, tiny_fibre_bundle, tmp_path) as address:
        page = browser.new_page()
        page.goto(f"{address}#identify")
        # Not by a function in the page: its policy refuses what Playwright would ask again.
        sync_api.expect(page.locator("#bundles")).not_to_be_empty()

        assert page.is_hidden("#beside")
        page.close()


def test_a_photo_is_shown_can_be_removed_and_does_not_go_with_the_next_garment(
    browser: "sync_api.Browser", tiny_weight_bundle: Path, tiny_pair_bundle: Path, tmp_path: Path
) -> None:
    with served(tiny_weight_bundle, tiny_pair_bundle, tmp_path) as address:
        page = with_photo(browser, address)
        assert page.locator("#scan-thumb img").count() == 1
        page.click("#scan-thumb button")
        assert page.locator("#scan-thumb img").count() == 0
        assert page.is_disabled("#identify-go")

        page.set_input_files("#scan-photo", red())
        page.click("#identify-go")
        page.wait_for_selector("#identify-result", state="visible")
        page.fill("#pasted", "900 0.1\n910 0.2")
        assert page.locator("#scan-thumb img").count() == 0
        assert page.evaluate("document.getElementById('scan-photo').files.length") == 0

        page.set_input_files("#scan-photo", red())
        page.click("#example")
        assert page.locator("#scan-thumb img").count() == 0
        page.close()
