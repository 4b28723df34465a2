"""The page in a real browser: uploads, clicks, pictures, sound, at the width of a desk and of a phone.

Pictures of it are left in `runs/app/`.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile

from recipes.page import examples
from recipes.page.limits import Limits
from tests.conftest import ROOT
from tests.recipes.page_server import Running, running

pytestmark = pytest.mark.slow
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PICTURES = ROOT / "runs" / "app"
SIZES = {"desk": (1280, 900), "phone": (390, 844)}
FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(replace(Limits(), sound_seconds=15.0)) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="of the extra browser; make test-app installs it")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; on Debian, apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(params=SIZES)
def page(browser: Browser, server: Running, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page, open; at the end, nothing was asked for elsewhere, no script failed, and nothing is wider than it."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(180_000)
    elsewhere: list[str] = []
    failed: list[str] = []
    opened.on("request", lambda one: elsewhere.append(one.url) if not _is_own(one.url, server.url) else None)
    opened.on("pageerror", lambda error: failed.append(str(error)))
    opened.goto(server.url)
    opened.wait_for_selector("#enhance")
    yield opened
    PICTURES.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=PICTURES / f"{request.node.name.split('[')[0]}-{request.param}.png", full_page=True)
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    assert (elsewhere, failed) == ([], [])
    context.close()


def _is_own(url: str, server: str) -> bool:
    return url.startswith((server, "data:", "blob:"))


def wait_for_picture(page: Page, name: str) -> None:
    """Wait until a picture is there, whole."""
    page.wait_for_function(f"() => document.querySelector('#{name} img')?.naturalWidth > 300")


def heard(page: Page, name: str) -> int:
    """How long a sound is that the browser has decoded, in seconds, as its player tells."""
    page.wait_for_function(f"() => /0:0[1-9]|0:[1-9]|[1-9]:/.test(document.querySelector('#{name}').innerText)")
    minutes, seconds = re.findall(r"(\d+):(\d\d)", page.inner_text(f"#{name}"))[-1]
    return 60 * int(minutes) + int(seconds)


def downloaded(page: Page, name: str, folder: Path) -> Path:
    """The file of a result, as its link gives it."""
    with page.expect_download() as started:
        page.locator(f"#{name} a[download]").first.click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def test_speech(page: Page, tmp_path: Path) -> None:
    page.locator("#sound-file input[type=file]").set_input_files(examples.noisy_recording(tmp_path))
    page.wait_for_selector("#sound-file :text('made-up talker')")
    page.click("#enhance")
    wait_for_picture(page, "spectrograms")
    assert "removed" in page.inner_text("#sound-about")
    for name in ("before", "after"):
        assert heard(page, name) == 10
    result = downloaded(page, "sound-result", tmp_path)
    assert result.name == "made-up talker-enhanced.wav"
    assert soundfile.info(result).frames == 10 * examples.RATE


def test_a_recording_of_the_microphone(page: Page) -> None:
    page.get_by_role("button", name="Record").click()
    page.wait_for_timeout(3000)
    page.get_by_role("button", name="Stop").first.click()
    page.wait_for_selector("#microphone button[aria-label='Play']")
    page.click("#enhance")
    wait_for_picture(page, "spectrograms")
    assert 1 <= heard(page, "after") < 15


def test_series(page: Page, tmp_path: Path) -> None:
    page.get_by_role("tab", name="Series").click()
    page.click("#table-example")
    wait_for_picture(page, "chart")
    page.wait_for_function("() => document.querySelector('#time input')?.value === 'hour'")
    assert page.locator("#target input").input_value() == "megawatts"
    assert downloaded(page, "series-result", tmp_path).read_text().count("\n") == 25
    for button, said in (("fill", "24 missing values filled"), ("anomalies", "least likely")):
        page.click(f"#{button}")
        page.wait_for_selector(f"#series-about :text('{said}')")
        wait_for_picture(page, "chart")


def test_what_is_wrong_is_said(page: Page, tmp_path: Path) -> None:
    page.click("#enhance")
    page.wait_for_selector("text=there is no recording: drop a file")
    bad = tmp_path / "<b>bad.wav"
    bad.write_text("no sound")
    page.locator("#sound-file input[type=file]").set_input_files(bad)
    page.wait_for_selector("#sound-file :text('bad')")
    page.click("#enhance")
    page.wait_for_selector("text=is not audio that libsndfile reads")
    page.get_by_role("tab", name="Series").click()
    page.fill("#pasted textarea", "day,sold\n2024-01-01,many\n2024-01-02,few\n")
    page.wait_for_selector("#table-about :text('no column of values')")
    assert page.locator("#target input").is_visible()
