"""Every chart family in the report's own Vega: drawn, and without a warning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from chart_frames import FRAMES
from chromium import needs_chromium

from emovec_sae import charts, report
from emovec_sae.charts.save import specification

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = needs_chromium

DRAW = """async spec => {
  const host = document.getElementById("host");
  await vegaEmbed(host, spec, {mode: "vega-lite", renderer: "svg", ast: true, actions: false});
  return host.querySelectorAll("svg path, svg text").length;
}"""


def two_selectors() -> pd.DataFrame:
    one = FRAMES["k90"]()
    return pd.concat([one, one.assign(selector="omp")], ignore_index=True)


def sums_without_targets() -> pd.DataFrame:
    """As decompositions give it: only single latents have random targets beside them."""
    found = FRAMES["composition"]()
    return found.assign(**{end: found[end].where(found["kind"] == "latent") for end in ("null_low", "null_high")})


DRAWN = [*FRAMES.items(), ("k90", two_selectors), ("composition", sums_without_targets)]


def test_no_family_draws_with_a_warning(browser: Browser) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda one: said.append(one.text))
    page.on("pageerror", lambda one: said.append(str(one)))
    page.set_content("<div id=host></div>")
    page.add_script_tag(path=Path(report.__file__).parent / "vega" / "vega.js")
    troubles: dict[str, list[str]] = {}
    for name, frame in DRAWN:
        drawn = page.evaluate(DRAW, specification(charts.draw(name, frame(), interactive=True)))
        assert drawn > 10, name
        if said:
            troubles[name] = said.copy()
            said.clear()
    page.evaluate("console.warn('heard')")
    page.close()
    assert troubles == {}
    assert said == ["heard"], "the page's warnings are not heard"
