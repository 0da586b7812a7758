"""The page in a real browser against a real server: what people see, phone width first."""

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weft.quality import ADVICE, WHAT_TO_DO

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

PHONE = {"width": 360, "height": 740}
WIDTHS_PX = (360, 768, 1280)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, tiny_weight_bundle: Path, tiny_fibre_bundle: Path
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    serve = "from weft_serving.cli import serve; serve()"
    bundles = ["--weight", str(tiny_weight_bundle), "--fibre", str(tiny_fibre_bundle)]
    process = subprocess.Popen(
        [sys.executable, "-c", serve, "--port", "0", *bundles], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                yield found[0]
                break
        else:
            pytest.fail("the server ended before it named its address")
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


@pytest.fixture
def page(browser: "sync_api.Browser", address: str) -> Iterator["sync_api.Page"]:
    """A phone's page that has said nothing bad and asked nobody else by the end of the test."""
    opened = browser.new_page(viewport=PHONE)
    complaints: list[str] = []
    strangers: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: strangers.append(request.url))
    opened.goto(address)
    yield opened
    opened.close()
    assert complaints == []
    assert [url for url in strangers if not url.startswith((address, "blob:", "data:"))] == []


def photo(seed: int = 0, side: int = 640) -> dict[str, object]:
    coarse = np.random.default_rng(seed).integers(40, 220, (side // 8, side // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.NEAREST).save(buffer, "JPEG", quality=90)
    return {"name": f"bag{seed}.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()}


def pasted_scan() -> str:
    wavelength_nm = np.arange(900.0, 1701.0, 5.0)
    absorbance = 0.2 + np.exp(-(((wavelength_nm - 1200) / 40) ** 2))
    return "\n".join(f"{x:.1f}, {y:.4f}" for x, y in zip(wavelength_nm, absorbance, strict=True))


def no_sideways_scrolling(page: "sync_api.Page") -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def test_a_photo_becomes_kilograms_with_the_margin_drawn(page: "sync_api.Page") -> None:
    page.set_input_files("#files", [photo(0), photo(1)])
    page.click("#weigh-go")

    result = page.locator("#weigh-result")
    result.locator(".big").wait_for()
    assert re.fullmatch(r"\d+\.\d+ kg", result.locator(".big").inner_text().strip())
    assert "of 100 such parcels" in result.inner_text()
    assert result.locator("svg.axis rect").count() == 1
    assert result.locator(".shots li").count() == 2
    assert "Trained on simulated data" in result.inner_text()


def test_the_example_parcel_shows_its_scale_mark_outlined(page: "sync_api.Page") -> None:
    page.click("#example-parcel")

    page.locator("#weigh-result [data-testid=mark] polygon").wait_for()
    assert "mm a pixel" in page.locator("#weigh-result").inner_text()


def test_the_scales_word_is_stored_beside_the_estimate(page: "sync_api.Page") -> None:
    page.set_input_files("#files", [photo(2)])
    page.click("#weigh-go")
    page.locator(".weighing input").fill("4.2")
    page.click(".weighing button")

    page.locator(".weighing", has_text="Stored").wait_for()


def test_a_file_that_is_no_photo_is_explained_and_the_page_lives_on(page: "sync_api.Page") -> None:
    page.set_input_files(
        "#files", [{"name": "<img src=x>.jpg", "mimeType": "image/jpeg", "buffer": b"rubbish"}]
    )
    page.click("#weigh-go")
    page.locator("#weigh-problem:not([hidden])").wait_for()
    assert len(page.locator("#weigh-problem").inner_text()) > 20

    page.click(".thumbs button")
    page.set_input_files("#files", [photo(3)])
    page.click("#weigh-go")
    page.locator("#weigh-result .big").wait_for()
    assert page.locator("#weigh-problem").is_hidden()


def test_every_piece_of_advice_is_said_in_a_sentence_beside_its_photo(page: "sync_api.Page") -> None:
    """The answer is made up: what a judging bundle would say of each photo is tested where it is said."""
    words = ADVICE[:9]
    photos = [{"usable": word == "cut_off", "advice": [word], "mark": None} for word in words]
    answer = {
        "grams": None, "low_grams": None, "high_grams": None, "coverage": None, "photos": photos,
        "warnings": [], "id": "0" * 32, "weighing": None,
        "bundle": {"name": "made", "version": "1", "sha256": "0" * 64, "trained_on": "simulated"},
    }  # fmt: skip
    page.route("**/v1/estimates", lambda route: route.fulfill(json=answer))
    page.set_input_files("#files", [photo(seed) for seed in range(len(words))])
    page.click("#weigh-go")

    page.locator("#weigh-result .shots li").nth(len(words) - 1).wait_for()
    shots = page.locator("#weigh-result .shots li")
    for place, word in enumerate(words):
        said = shots.nth(place).inner_text()
        assert WHAT_TO_DO[word] in said
        assert ("Left out of the estimate" in said) == (word != "cut_off")
    assert no_sideways_scrolling(page)


def test_a_dark_photo_is_told_so_by_the_server_and_shown(page: "sync_api.Page") -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((640, 640, 3), 12, np.uint8)).save(buffer, "PNG")
    dark = {"name": "dark.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    page.set_input_files("#files", [photo(0), dark])
    page.click("#weigh-go")

    page.locator("#weigh-result .unusable", has_text="Too dark").wait_for()


def test_a_pasted_scan_becomes_shares_and_a_drawn_spectrum(page: "sync_api.Page") -> None:
    page.click("#tab-identify")
    page.fill("#pasted", pasted_scan())
    page.select_option("select[name=unit]", "nm")
    page.select_option("select[name=quantity]", "absorbance")
    page.click("#identify-go")

    result = page.locator("#identify-result")
    result.locator("canvas").wait_for()
    assert "wool" in result.locator("h2").inner_text()
    assert result.locator(".fibre").count() >= 1
    assert "Trained on simulated data" in result.inner_text()


def test_the_example_scan_answers_without_any_file(page: "sync_api.Page") -> None:
    page.click("#tab-identify")
    page.click("#example")

    page.locator("#identify-result canvas").wait_for()


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_nothing_scrolls_sideways_at(width_px: int, page: "sync_api.Page") -> None:
    page.set_viewport_size({"width": width_px, "height": 800})
    page.set_input_files("#files", [photo(4)])
    page.click("#weigh-go")
    page.locator("#weigh-result .big").wait_for()
    assert no_sideways_scrolling(page)
    page.click("#tab-identify")
    page.click("#example")
    page.locator("#identify-result canvas").wait_for()
    assert no_sideways_scrolling(page)


def test_a_photo_and_a_scan_show_what_they_were_read_from_and_hide_it_again(page: "sync_api.Page") -> None:
    page.set_input_files("#files", [photo(0)])
    page.click("#weigh-go")
    page.click("#weigh-result .why")
    page.locator("#weigh-result [data-testid=parts] rect").first.wait_for()
    assert "painted over" in page.locator("#weigh-result").inner_text()
    assert no_sideways_scrolling(page)
    page.click("#weigh-result .why")
    assert page.locator("#weigh-result [data-testid=parts]").count() == 0

    page.click("#tab-identify")
    page.fill("#pasted", pasted_scan())
    page.select_option("select[name=unit]", "nm")
    page.select_option("select[name=quantity]", "absorbance")
    page.click("#identify-go")
    page.click("#identify-result .why")
    page.locator("#identify-result [data-testid=influence] canvas").wait_for()
    assert "known to absorb" in page.locator("#identify-result").inner_text()
    assert no_sideways_scrolling(page)
