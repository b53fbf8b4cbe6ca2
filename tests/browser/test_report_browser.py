"""The page in a real browser: figures are drawn, no text brings a script along, no request, a phone holds it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chromium import needs_chromium, watched
from report_run import ENDING, LIVE, make_card, make_run

from emovec_sae.report import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a planted run whose texts carry scripts, with a score card."""
    folder = tmp_path_factory.mktemp("report")
    make_card(folder / "card")
    return write_report(make_run(folder / "run", live=True), card=folder / "card")


@pytest.fixture
def visit(browser: Browser, report: Path) -> Iterator[Callable[..., Page]]:
    """Opens the page."""
    with watched(browser, report.as_uri()) as opened:
        yield opened


def draw(page: Page, name: str) -> None:
    """Scroll to a figure, and wait until it is drawn."""
    page.locator(f"#figure-{name}").scroll_into_view_if_needed()
    page.locator(f"#figure-{name}.drawn").wait_for()


def test_figures_are_drawn_when_they_are_reached_and_answer(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 1200, "height": 500})
    assert page.locator(".drawn").count() == 0, "figures far below are not drawn yet"
    for name in LIVE:
        draw(page, name)
        assert page.locator(f"#figure-{name} .live svg").is_visible()
        assert page.locator(f"#figure-{name} .hint").is_visible()
        assert page.locator(f"#figure-{name} .plate img").is_hidden()
    marks = page.locator("#figure-dose_curves .live g.mark-symbol.role-mark path")
    assert marks.count() >= 3
    marks.first.hover(force=True)  # intervals may lie over it
    page.locator("#vg-tooltip-element.visible").wait_for()
    assert any(letter.isdigit() for letter in page.locator("#vg-tooltip-element").inner_text())
    assert page.locator("#figure-similarity .plate img").is_visible()


def test_no_text_runs_a_script(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 1200, "height": 500})
    draw(page, "naming")
    assert page.title().startswith("A run ")
    assert page.locator("script:not([type])").count() == 2
    assert page.locator("#figure-naming .live script").count() == 0
    assert ENDING in str(page.locator("#spec-naming").text_content()).replace("\\u003c", "<").replace(
        "\\u003e", ">"
    ).replace('\\"', '"')


def test_a_script_that_comes_later_is_refused(browser: Browser, report: Path) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())
    title = page.evaluate(
        "() => { const s = document.createElement('script'); s.textContent = 'document.title = \"owned\"';"
        " document.body.append(s); return document.title }"
    )
    page.close()
    assert title.startswith("A run ")


def test_links_lead_somewhere_and_downloads_open(visit: Callable[..., Page], report: Path) -> None:
    page = visit()
    links = page.evaluate("() => [...document.links].map(one => [one.getAttribute('href'), one.download])")
    inside = [href for href, name in links if not name]
    assert inside
    assert all(href.startswith("#") and page.locator(f"[id='{href[1:]}']").count() == 1 for href in inside)
    files = {name: href for href, name in links if name}
    assert {"scores.csv", "generations.csv", "score_card.csv", "missed_doses.csv", "naming.csv"} <= set(files)
    for name, href in files.items():
        content = base64.b64decode(href.partition(";base64,")[2], validate=True)
        beside = report.parent / "figures" / name
        assert content == beside.read_bytes() if beside.is_file() else content.decode().count("\n") > 1
    with page.expect_download() as fetched:
        page.locator("a[download='naming.csv']").click()
    assert Path(fetched.value.path()).read_bytes() == (report.parent / "figures" / "naming.csv").read_bytes()


@pytest.mark.parametrize(("scheme", "dark"), [("dark", True), ("light", False)])
def test_a_phone_holds_it_light_and_dark(visit: Callable[..., Page], scheme: str, *, dark: bool) -> None:
    page = visit(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    draw(page, LIVE[0])
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    assert page.evaluate("() => [...document.images].every(one => one.naturalWidth > 0)")
    colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (int(colour.removeprefix("rgb(").partition(",")[0]) < 128) is dark
    turned = page.evaluate("() => getComputedStyle(document.querySelector('.drawn .plate')).filter")
    assert turned.startswith("invert(") is dark


def test_paper_gets_the_pictures(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 1200, "height": 500})
    draw(page, LIVE[0])
    page.emulate_media(media="print")
    assert page.locator(f"#figure-{LIVE[0]} .plate img").is_visible()
    for unwanted in ("nav", f"#figure-{LIVE[0]} .live", ".drawn .hint", ".get"):
        assert page.locator(unwanted).first.is_hidden()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_the_pictures_stay(visit: Callable[..., Page]) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator(f"#figure-{LIVE[0]} .plate img").is_visible()
    assert page.locator(".live").first.is_hidden()
