"""The page in a real browser: it renders, runs nothing that a text brings along, and fits a phone."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from report_run import make_run

from emovec_sae.report import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on this machine (Debian: apt-get install chromium)"
)


def browse(folder: Path, *options: str, page: Path) -> str:
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}", *options, page.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return write_report(make_run(tmp_path / "run"))


def test_the_browser_sees_every_section_and_runs_no_text(report: Path, tmp_path: Path) -> None:
    dom = browse(tmp_path, "--dump-dom", page=report)
    for part in ("verdict", "scores", "figures", "latents", "generations", "provenance"):
        assert f'id="{part}"' in dom
    # The corpus brings a script that would rename the page.
    (title,) = re.findall(r"<title>(.*?)</title>", dom)
    assert title.startswith("A run ")
    assert "<script" not in dom


def test_the_page_fits_a_phone(report: Path, tmp_path: Path) -> None:
    # The frame is as wide as a phone; a script of the test's own reads how wide the page inside would like to be.
    host = tmp_path / "host.html"
    host.write_text(
        f'<iframe id="f" src="{report.as_uri()}" style="width:390px;height:2000px;border:0"></iframe>'
        "<script>f.onload=()=>{const d=f.contentDocument.documentElement;"
        "document.title=`${d.scrollWidth} ${[...f.contentDocument.images].every(i=>i.naturalWidth>0)}`}</script>"
    )
    dom = browse(tmp_path, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom", page=host)
    assert re.search(r"<title>390 true</title>", dom), dom[-300:]


@pytest.mark.parametrize(("scheme", "dark"), [("0", True), ("1", False)])
def test_it_draws_light_and_dark(report: Path, tmp_path: Path, *, scheme: str, dark: bool) -> None:
    host, picture = tmp_path / "host.html", tmp_path / "page.png"
    host.write_text(
        f'<iframe id="f" src="{report.as_uri()}"></iframe><script>f.onload=()=>{{'
        "document.title=getComputedStyle(f.contentDocument.body).backgroundColor}</script>"
    )
    option = f"--blink-settings=preferredColorScheme={scheme}"
    dom = browse(
        tmp_path, option, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom", page=host
    )
    (colour,) = re.findall(r"<title>rgb\((\d+), \d+, \d+\)</title>", dom)
    assert (int(colour) < 128) is dark
    browse(tmp_path, option, f"--screenshot={picture}", "--window-size=800,600", page=report)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (800, 600)
