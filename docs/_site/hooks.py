"""What mkdocs calls while it builds the site: pages that are made, pages from elsewhere, links, the navigation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import names
import notebook
import outside
import verbs
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the sections of the navigation whose pages are made, and list every page that is not listed."""
    nav: list[Any] = config.nav or []
    listed = set(_pages(nav))
    rest = sorted(
        path.relative_to(outside.DOCS).as_posix()
        for path in outside.DOCS.glob("**/*.md")
        if path.relative_to(outside.DOCS).as_posix() not in listed
    )
    filled = {
        "Command line": [f"cli/{one}.md" for one in verbs.pages()],
        "Python": [f"reference/{one}.md" for one in names.pages()],
        "Experiments": [uri for uri in outside.sources() if uri.startswith("experiments/")],
        "In depth": rest,
    }
    for section in nav:
        for title, pages in filled.items():
            if title in section:
                section[title] = [*(section[title] or []), *pages]
    config.nav = nav
    return config


def _pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for one in (nav.values() if isinstance(nav, dict) else nav or []) for page in _pages(one)]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made and what lies elsewhere in the repository."""
    made = {
        "tutorial.md": notebook.page(),
        **{f"cli/{name}.md": text for name, text in verbs.pages().items()},
        **{f"reference/{name}.md": text for name, text in names.pages().items()},
    }
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    for uri, place in outside.sources().items():
        files.append(File.generated(config, uri, abs_src_path=str(outside.ROOT / place)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to their pages."""
    del config
    uri = page.file.src_uri
    found = outside.sources()
    pages = {place: one for one, place in found.items()}
    pages |= {f"docs/{one.src_uri}": one.src_uri for one in files if one.src_uri not in found}
    return outside.rewrite(markdown, name=found.get(uri, f"docs/{uri}"), uri=uri, pages=pages)
