"""Pages and pictures that live elsewhere in the repository, and links that leave the site.

A document in docs/ links to other files of the repository by relative path, which works where the repository is read.
On the site such a link leads to the page of that file if there is one; otherwise its text stays, without a link.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", flags=re.DOTALL | re.MULTILINE)


def sources() -> dict[str, str]:
    """Page or picture of the site that lies outside docs/ -> its file in the repository."""
    found = {"changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
    found["packaged-texts.md"] = "emovec_sae/corpora/data/README.md"
    found["experiments/index.md"] = "experiments/README.md"
    for path in sorted((ROOT / "experiments").glob("*/README.md")):
        found[f"experiments/{path.parent.name}.md"] = path.relative_to(ROOT).as_posix()
    for name in [*found.values(), *(one.relative_to(ROOT).as_posix() for one in ROOT.glob("docs/**/*.md"))]:
        for picture, _, target in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
            place = resolve(target, name)
            if picture and place and not place.startswith("docs/") and (ROOT / place).is_file():
                found[place] = place
    return found


def resolve(target: str, name: str) -> str | None:
    """The path in the repository of a link in the file `name`; None for addresses and anchors."""
    if re.match(r"[a-z]+:|#", target):
        return None
    place = target.partition("#")[0]
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), place))


def rewrite(markdown: str, *, name: str, uri: str, pages: Mapping[str, str]) -> str:
    """Point links at pages of the site.

    Parameters
    ----------
    markdown
        Text of the file.
    name
        Path of the file in the repository.
    uri
        Path of its page in the site.
    pages
        File of the repository -> page or picture of the site.
    """

    def link(found: re.Match[str]) -> str:
        picture, text, target = found.groups()
        place = resolve(target, name)
        if place is None:
            return found.group()
        anchor = "#" + target.partition("#")[2] if "#" in target else ""
        if place in pages:
            return f"{picture}[{text}]({posixpath.relpath(pages[place], posixpath.dirname(uri) or '.')}{anchor})"
        return text if not picture and (ROOT / place).exists() else found.group()

    parts, end = [], 0
    for block in FENCE.finditer(markdown):
        parts += [LINK.sub(link, markdown[end : block.start()]), block.group()]
        end = block.end()
    return "".join([*parts, LINK.sub(link, markdown[end:])])
