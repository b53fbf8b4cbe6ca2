"""The little Markdown of a verdict as parts of a page: headings, paragraphs, lists and tables, all of it plain text."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """A part of a page.

    Attributes
    ----------
    kind
        ``heading``, ``paragraph``, ``list`` or ``table``.
    text
        Of a heading or a paragraph.
    rows
        Items of a list (one cell each), or rows of a table, its head first.
    """

    kind: str
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)


def parts_of(markdown: str) -> list[Part]:
    """Return the parts of a page that `emovec_sae.interventions.comparison.page` wrote, in order."""
    found: list[Part] = []
    for block in markdown.split("\n\n"):
        lines = [line.strip() for line in block.strip().splitlines()]
        if not lines:
            continue
        if lines[0].startswith("#"):
            found.append(Part("heading", lines[0].lstrip("#").strip()))
        elif all(line.startswith("- ") for line in lines):
            found.append(Part("list", rows=[[line[2:]] for line in lines]))
        elif all(line.startswith("|") for line in lines):
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            found.append(Part("table", rows=[row for row in rows if not all(set(cell) <= {"-", ":"} for cell in row)]))
        else:
            found.append(Part("paragraph", " ".join(lines)))
    return found
