"""The site: built strictly, whole, with links that lead somewhere, and nothing fetched from elsewhere."""

from __future__ import annotations

import importlib.util
import posixpath
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from doc_blocks import ROOT, trouble

import emovec_sae

SITE = ROOT / "docs" / "_site"


def part(name: str) -> Any:
    """A module of docs/_site."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", SITE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Page(HTMLParser):
    """Links, anchors and what a browser would load of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in {"script", "img", "iframe", "source"} and "src" in found:
            self.loads.append(found["src"])
        if tag == "link" and found.get("rel") in {"stylesheet", "icon", "preload", "preconnect", "modulepreload"}:
            self.loads.append(found["href"])


@pytest.fixture(scope="module")
def read(site: Path) -> dict[str, Page]:
    """Path below the site -> page."""
    return {path.relative_to(site).as_posix(): Page(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_links_lead_somewhere(site: Path, read: dict[str, Page]) -> None:
    broken = []
    for name, page in read.items():
        if name == "404.html":  # its links are absolute, for whatever address was wrong
            continue
        for link in page.links + page.loads:
            address = urlsplit(link)
            if address.scheme:
                continue
            place = (
                posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(address.path)))
                if address.path
                else name
            )
            place = f"{place}/index.html" if (site / place).is_dir() else place
            if not (site / place).is_file():
                broken.append(f"{name}: {link}")
            elif address.fragment and place in read and unquote(address.fragment) not in read[place].anchors:
                broken.append(f"{name}: no anchor {link}")
    assert not broken, "\n".join(broken[:40])
    assert sum(len(page.links) for page in read.values()) > 500


def test_nothing_is_fetched_from_elsewhere(site: Path, read: dict[str, Page]) -> None:
    assert [f"{name}: {one}" for name, page in read.items() for one in page.loads if urlsplit(one).netloc] == []
    for path in site.rglob("*.css"):
        styles = path.read_text("utf-8")
        assert not re.search(r"@import\s+[^;]*//|url\(\s*[\"']?(?:https?:)?//", styles), path.name


def test_every_public_name_is_in_the_reference(read: dict[str, Page]) -> None:
    anchors = set().union(*(page.anchors for name, page in read.items() if name.startswith("reference/")))
    assert {name for name in emovec_sae.__all__ if f"emovec_sae.{name}" not in anchors} == set()


def test_every_verb_has_its_section_and_its_example(read: dict[str, Page]) -> None:
    verbs = part("verbs")
    known = verbs.commands()
    anchors = set().union(*(page.anchors for name, page in read.items() if name.startswith("cli/")))
    assert {verb for verb in known if f"emovec-{verb.replace(' ', '-')}" not in anchors} == set()
    told = {
        verb: {"json": page.get("json"), **about}
        for page in verbs.told().values()
        for verb, about in page["verbs"].items()
    }
    assert set(known) <= set(told), "say in docs/_site/verbs.yaml what a new verb writes, with an example"
    for verb, about in ((verb, told[verb]) for verb in known):
        lines = [*about.get("before", "").splitlines(), *about["example"].splitlines()]
        assert any(line.split("emovec ")[1].startswith(verb) for line in lines), verb
        assert [trouble(line) for line in lines if trouble(line)] == [], verb
        answers = any("--json" in one.names for one in known[verb].assemble_argument_collection())
        assert bool(about["json"]) == answers, verb


def test_every_option_is_in_the_table_with_what_it_means(site: Path) -> None:
    verbs = part("verbs")
    text = "\n".join(verbs.pages().values())
    rows = re.findall(r"^\| `(--[a-z-]+)`[^|]*\|[^|]*\|[^|]*\| (.*) \|$", text.replace("\\|", "/"), flags=re.MULTILINE)
    assert len(rows) > 200
    assert {option for option, meaning in rows if not meaning.strip()} == set()


def test_every_page_is_in_the_navigation(read: dict[str, Page]) -> None:
    reachable = {
        posixpath.normpath(urlsplit(link).path) for link in read["index.html"].links if not urlsplit(link).scheme
    }
    assert {name for name in read if name not in reachable | {"404.html", "index.html"}} == set()


def test_the_search_knows_the_pages(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text("utf-8")
    for word in ("batch_centred", "emovec-train-sae", "Why a direction is never encoded"):
        assert word in index


def test_links_out_of_the_site(tmp_path: Path) -> None:
    outside = part("outside")
    pages = {"docs/a.md": "a.md", "experiments/03_composition/README.md": "experiments/03_composition.md"}
    text = (
        "[x](a.md#y) [r](../experiments/03_composition/README.md) [c](../emovec_sae/config/study.py) [h](https://x.org)"
    )
    told = outside.rewrite(text, name="docs/b.md", uri="b.md", pages=pages)
    assert told == "[x](a.md#y) [r](experiments/03_composition.md) c [h](https://x.org)"
    assert outside.rewrite("[g](../gone.py)", name="docs/b.md", uri="b.md", pages=pages) == "[g](../gone.py)"
    assert outside.rewrite("```\n[x](../LICENSE)\n```", name="docs/b.md", uri="b.md", pages=pages).count("(") == 1


def test_links_between_files_of_the_repository() -> None:
    outside, broken = part("outside"), []
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/**/*.md")]:
        name = path.relative_to(ROOT).as_posix()
        made = {"docs/tutorial.md", "docs/experiments/index.md", "docs/packaged-texts.md"}
        for _, _, link in outside.LINK.findall(outside.FENCE.sub("", path.read_text("utf-8"))):
            place = outside.resolve(link, name)
            if (
                place
                and place not in made
                and not place.startswith(("docs/cli/", "docs/reference/"))
                and not (ROOT / place).exists()
            ):
                broken.append(f"{name}: {link}")
    assert not broken


def test_the_stored_outputs_are_those_of_the_tutorial() -> None:
    notebook = part("notebook")
    code = [cell.digest for cell in notebook.cells(notebook.NOTEBOOK.read_text("utf-8")) if cell.kind == "code"]
    stored = yaml.safe_load(notebook.OUTPUTS.read_text("utf-8"))
    assert [one["cell"] for one in stored] == code, "run python docs/_site/notebook.py"
    drawn = [one["figure"] for one in stored if "figure" in one]
    assert len(drawn) >= 2
    assert {path.relative_to(ROOT / "docs").as_posix() for path in notebook.FIGURES.iterdir()} == set(drawn)
