"""The tutorial: a notebook in text form, run for its outputs, and shown as a page.

``python docs/_site/notebook.py`` runs it and writes the outputs beside this file; a test tells when they are old.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1]
NOTEBOOK = DOCS / "tutorial.py"
OUTPUTS = Path(__file__).with_name("tutorial.json")
FIGURES = DOCS / "images" / "tutorial"
WIDE = 90
"""Output with longer lines than this is wrapped; tables are not, their columns would fall apart."""


@dataclass(frozen=True)
class Cell:
    """A cell: Markdown, or code."""

    kind: str
    source: str

    @property
    def digest(self) -> str:
        """By which a stored output tells its cell."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]


def cells(text: str) -> list[Cell]:
    """The cells of a notebook in jupytext's percent format."""
    import jupytext

    found = jupytext.reads(text, fmt="py:percent").cells
    return [Cell(cell.cell_type, cell.source) for cell in found]


def run(text: str, folder: Path, space: dict[str, Any]) -> Iterator[tuple[Cell, str, Any]]:
    """Run the code cells in order, in `space`; give each with what it printed and what its last line is worth.

    Each cell is compiled under the name of a file that holds it: nnsight reads the source of what it traces.
    """
    space["__name__"] = "tutorial"
    for number, cell in enumerate(one for one in cells(text) if one.kind == "code"):
        path = folder / f"cell_{number}.py"
        path.write_text(cell.source, encoding="utf-8")
        tree, last = ast.parse(cell.source, str(path)), None
        if tree.body and isinstance(tree.body[-1], ast.Expr) and not _prints(tree.body[-1]):
            last = ast.Expression(tree.body.pop().value)  # pyright: ignore[reportAttributeAccessIssue]
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, str(path), "exec"), space)  # noqa: S102
            value = None if last is None else eval(compile(last, str(path), "eval"), space)  # noqa: S307
        yield cell, printed.getvalue(), value


def _prints(line: ast.Expr) -> bool:
    return isinstance(line.value, ast.Call) and isinstance(line.value.func, ast.Name) and line.value.func.id == "print"


def shown(value: Any) -> str:
    """A value as text: frames as tables without an index, everything else as it presents itself."""
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value.to_string(index=False, float_format=lambda number: f"{number:.3g}")
    return repr(value)


def record_outputs() -> None:
    """Run the tutorial and write down what it gives."""
    import altair as alt

    FIGURES.mkdir(parents=True, exist_ok=True)
    for old in FIGURES.glob("*.svg"):
        old.unlink()
    written = []
    with tempfile.TemporaryDirectory() as folder:
        for cell, printed, value in run(NOTEBOOK.read_text(encoding="utf-8"), Path(folder), {}):
            output: dict[str, Any] = {"cell": cell.digest, "text": printed.rstrip()}
            if isinstance(value, alt.TopLevelMixin):
                figure = FIGURES / f"{len(written):02d}.svg"
                value.save(str(figure))
                output["figure"] = figure.relative_to(DOCS).as_posix()
            elif value is not None:
                output["text"] = "\n".join(filter(None, [printed.rstrip(), shown(value)]))
            written.append(output)
    OUTPUTS.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def page() -> str:
    """The notebook as Markdown, each code cell with its stored output."""
    stored = {one["cell"]: one for one in json.loads(OUTPUTS.read_text(encoding="utf-8"))}
    parts = []
    for cell in cells(NOTEBOOK.read_text(encoding="utf-8")):
        if cell.kind == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        output = stored.get(cell.digest, {"text": ""})
        if output["text"]:
            style = ".text .wrapped" if max(map(len, output["text"].splitlines())) > WIDE else ".text"
            parts.append(f'``` {{{style} title="Output"}}\n{output["text"]}\n```')
        if "figure" in output:
            parts.append(f"![What this cell draws]({output['figure']})")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "The 'utils' module has been deprecated", DeprecationWarning)
    logging.getLogger("emovec_sae").setLevel(logging.ERROR)
    record_outputs()
