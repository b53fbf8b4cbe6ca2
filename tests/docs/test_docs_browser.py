"""The site in a real browser, served on the loopback: no error, nothing fetched elsewhere, a search that finds."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"
)

PAGES = ("index", "tutorial", "cli/index", "cli/interventions", "reference/decomposition", "gotchas")


class Quiet(SimpleHTTPRequestHandler):
    """Serves without a line for each request."""

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that the tests of this file share."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def visit(browser: Any, url: str, *, width: int = 1280, dark: bool = False) -> tuple[Any, list[str]]:
    """Open a page; give it with what went wrong on the way."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    page.on(
        "request",
        lambda request: None if request.url.startswith((url[:16], "data:", "blob:")) else wrong.append(request.url),
    )
    page.goto(url, wait_until="networkidle")
    return page, wrong


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_open_without_an_error_and_fit(browser: Any, address: str, width: int) -> None:
    for name in PAGES:
        page, wrong = visit(browser, f"{address}/{name}.html", width=width)
        assert wrong == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate("[...document.images].every(one => one.naturalWidth > 0)"), name
        page.close()


def test_light_and_dark(browser: Any, address: str) -> None:
    colours = []
    for dark in (False, True):
        page, _ = visit(browser, f"{address}/concepts.html", dark=dark)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    light, darker = (sum(map(int, one.split("(")[1].rstrip(")").split(",")[:3])) for one in colours)
    assert light > 600 > 200 > darker


def test_the_search_finds(browser: Any, address: str) -> None:
    page, wrong = visit(browser, f"{address}/index.html")
    page.click(".md-search__input")
    page.keyboard.type("permuted labels")
    page.wait_for_selector(".md-search-result__item")
    assert "decomposition.html" in page.eval_on_selector_all(
        ".md-search-result__link", "all => all.map(one => one.href).join()"
    )
    assert wrong == []
    page.close()
