"""The code in a page of Markdown: what runs, what is a command line, and what is marked as not run, with its reason."""

from __future__ import annotations

import ast
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from cyclopts import CycloptsError
from markdown_it import MarkdownIt

from emovec_sae.cli.main import app

ROOT = Path(__file__).parents[1]
NOT_RUN = re.compile(r"<!--\s*not run:\s*(.+?)\s*-->", flags=re.DOTALL)
SHELL = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:emovec|make|pip|python3?|export|ray|jupytext) ?")


@dataclass(frozen=True)
class Block:
    """Code of a page.

    Attributes
    ----------
    page
        Path of the page below the repository.
    line
        Line of the page on which the code begins, from 1.
    kind
        ``python``, ``sh``, or what a fence says.
    code
        The code.
    reason
        Why it is not run; empty for code that is.
    """

    page: str
    line: int
    kind: str
    code: str
    reason: str = ""


def pages() -> list[Path]:
    """README and every page of docs/."""
    return [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


def blocks(path: Path) -> list[Block]:
    """The code of a page in order; an indented block is divided into its command lines and its Python."""
    page, found, reason = path.relative_to(ROOT).as_posix(), [], ""
    for token in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
        if token.type == "html_block":
            marked = NOT_RUN.search(token.content)
            reason = marked.group(1) if marked else ""
        elif token.type in {"fence", "code_block"}:
            line = (token.map or [0])[0] + 1 + (token.type == "fence")
            kind = token.info.split()[0] if token.type == "fence" and token.info.strip() else ""
            parts = [(kind, token.content)] if kind else _divided(token.content)
            found += [Block(page, line, one, code, reason) for one, code in parts]
            reason = ""
    return found


def _divided(content: str) -> list[tuple[str, str]]:
    """Indented code as ``sh`` and ``python``, each with empty lines for the other; ``text`` if it is neither."""
    lines = content.splitlines()
    is_shell: list[bool] = []
    for number, line in enumerate(lines):
        goes_on = number > 0 and is_shell[-1] and lines[number - 1].rstrip().endswith("\\")
        is_shell.append(goes_on or bool(SHELL.match(line)))
    shell = [line if one else "" for line, one in zip(lines, is_shell, strict=True)]
    rest = ["" if one else line for line, one in zip(lines, is_shell, strict=True)]
    parts = [("sh", "\n".join(shell))] if any(shell) else []
    if any(line.strip() for line in rest):
        code = "\n".join(rest)
        parts.append(("python" if _is_python(code) else "text", code))
    return parts


def _is_python(code: str) -> bool:
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Call | ast.Import | ast.ImportFrom) for node in ast.walk(tree))


def commands(code: str) -> list[str]:
    """The ``emovec`` lines of shell code: continued lines joined, comments and assignments in front taken off."""
    joined = re.sub(r"\\\n\s*", " ", code)
    lines = [re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines()]
    lines = [re.sub(r"^(?:\$ )?(?:[A-Z_]+=\S+ )*", "", line) for line in lines]
    return [line for line in lines if re.match(r"(?:\S*/)?emovec(\s|$)", line)]


def inline_commands(text: str) -> list[str]:
    """Commands in the running text, in backticks."""
    return [*re.findall(r"(?<!`)`(emovec [a-z][^`]*)`(?!`)", text)]


def trouble(line: str, *, loose: bool = False) -> str:
    """What is wrong with a command line; empty if nothing is.

    Brackets and dots stand for what may be or is left out, and with `loose` what is required may be missing, too: then
    the verb and the names of the options are looked at.
    """
    elided = loose or "..." in line or "[" in line
    words = [word for word in shlex.split(line.replace("[", " ").replace("]", " ")) if word != "..."][1:]
    if not elided:
        try:
            app.parse_args(words, print_error=False, exit_on_error=False)
        except CycloptsError as error:
            return " ".join(str(error).split())
        return ""
    part = app
    while words and words[0] in part and not words[0].startswith("-"):
        part, words = part[words[0]], words[1:]
    if part is app:
        return f"no verb {words[:1]}"
    known = {"--help"}
    if part.default_command is not None:
        known |= {name for one in part.assemble_argument_collection() for name in one.names}
    unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
    return f"no option {unknown}" if unknown else ""
