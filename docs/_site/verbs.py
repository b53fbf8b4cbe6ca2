"""The pages of the command line: usage and options from the program itself, the rest from verbs.yaml."""

from __future__ import annotations

import inspect
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import yaml

if TYPE_CHECKING:
    from cyclopts import App, Argument

TOLD = Path(__file__).with_name("verbs.yaml")
OTHER = "other"
USUAL = {
    "--seed": "Of all that is drawn.",
    "--max-new-tokens": "Length of the answer in tokens.",
    "--temperature": "0 takes the likeliest token; above, tokens are sampled.",
    "--sae-id": "The SAE's id within a release, or its folder in a repository.",
}
"""What options mean whose verb does not say it."""
ABOUT = """\
Every verb has `--help`, and `--json` where it answers something. With `--json` the last line on standard output is one
JSON object, for machines. A number with an interval is `{"value", "low", "high", "n"}`. Messages and progress go to
standard error. Bad input ends with exit code 2 and one line that says what was got, what would be right and what to do;
nothing is left half-written. After Ctrl-C (exit code 130) the long verbs go on where they stopped when the same command
is given again."""


@cache
def told() -> dict[str, Any]:
    """Page -> title, about, and verbs with what is said of each."""
    return yaml.safe_load(TOLD.read_text(encoding="utf-8"))


def commands() -> dict[str, App]:
    """Every verb that does something, such as ``fit`` or ``latents show``, with its part of the program."""
    from emovec_sae.cli.main import app

    found: dict[str, App] = {}
    for name in app:
        if name.startswith("-"):
            continue
        part = app[name]
        inner = [one for one in part if not one.startswith("-")]
        if part.default_command is not None:
            found[name] = part
        found |= {f"{name} {one}": part[one] for one in inner}
    return found


def pages() -> dict[str, str]:
    """Page -> its Markdown; verbs that no page of verbs.yaml names stand on a page of their own."""
    known = commands()
    grouped = dict(told())
    rest = sorted(set(known) - {verb for page in grouped.values() for verb in page["verbs"]})
    if rest:
        grouped = {**grouped, OTHER: {"title": "More verbs", "about": "", "verbs": {verb: {} for verb in rest}}}
    made = {"index": _index(grouped, known)}
    for name, page in grouped.items():
        parts = [f"# {page['title']}", page["about"]]
        parts += [
            _section(verb, known[verb], {"json": page.get("json"), **about})
            for verb, about in page["verbs"].items()
            if verb in known
        ]
        made[name] = "\n\n".join(parts) + "\n"
    return made


def _index(grouped: dict[str, Any], known: dict[str, App]) -> str:
    lines = ["# Command line", ABOUT]
    for name, page in grouped.items():
        rows = [
            f"| [`{verb}`]({name}.md#{_anchor(verb)}) | {_first(known[verb])} |"
            for verb in page["verbs"]
            if verb in known
        ]
        lines.append(f"## {page['title']}\n\n| | |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(lines) + "\n"


def _anchor(verb: str) -> str:
    return f"emovec-{verb.replace(' ', '-')}"


def _first(part: App) -> str:
    """The first sentence of a verb's help."""
    return inspect.cleandoc(part.help or "").partition("\n\n")[0].replace("\n", " ")


def _section(verb: str, part: App, about: dict[str, Any]) -> str:
    arguments = [one for one in part.assemble_argument_collection(parse_docstring=True) if one.show]
    parts = [f"## emovec {verb} {{ #{_anchor(verb)} }}", _described(part), f"```text\n{_usage(verb, arguments)}\n```"]
    if about.get("example"):
        lines = [*about.get("before", "").strip().splitlines(), *about["example"].strip().splitlines()]
        parts.append("```sh\n" + "\n".join(map(_folded, lines)) + "\n```")
    if arguments:
        help_ = _grouped_help(part)
        rows = [f"| {_names(one)} | {_kind(one)} | {_default(one)} | {_about(one, help_)} |" for one in arguments]
        parts.append("| | takes | default | |\n|---|---|---|---|\n" + "\n".join(rows))
    if about.get("writes"):
        parts.append(f"**Writes.** {about['writes']}")
    if about.get("json"):
        keys = [f"`{key}`" + (f" ({what})" if what else "") for key, what in about["json"].items()]
        parts.append(f"**JSON.** {', '.join(keys)}.")
    return "\n\n".join(parts)


def _described(part: App) -> str:
    """The help of the verb's function, without its parameters."""
    function = part.default_command
    text = inspect.getdoc(function) if function is not None else None
    return (text or _first(part)).partition("\n\nParameters\n")[0]


def _usage(verb: str, arguments: list[Argument]) -> str:
    words = ["emovec", verb]
    for one in arguments:
        if _positional(one):
            word = one.name.lstrip("-").upper() + ("..." if _many(one) else "")
            words.append(word if one.required else f"[{word}]")
        elif one.required:
            words.append(f"{one.name} {_kind(one, plain=True).upper()}")
    return " ".join([*words, "[OPTIONS]"])


def _folded(line: str, *, width: int = 84) -> str:
    """A command over several lines, divided before its options."""
    lines = [""]
    for part in re.split(r" (?=--)", line):
        if lines[-1] and len(f"{lines[-1]} {part}") > width:
            lines.append(f"    {part}")
        else:
            lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return " \\\n".join(lines)


def _positional(one: Argument) -> bool:
    return one.field_info.kind not in {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}


def _many(one: Argument) -> bool:
    return one.field_info.kind is one.field_info.VAR_POSITIONAL or get_origin(_bare(one.hint)) in {list, tuple}


def _bare(hint: Any) -> Any:
    """A type without None."""
    options = [one for one in get_args(hint) if one is not type(None)]
    return options[0] if type(None) in get_args(hint) and len(options) == 1 else hint


def _names(one: Argument) -> str:
    return f"`{one.name.lstrip('-').upper()}`" if _positional(one) else ", ".join(f"`{name}`" for name in one.names)


def _kind(one: Argument, *, plain: bool = False) -> str:
    """What an option takes, in a word, or its choices."""
    choices = one.get_choices()
    if choices and not plain:
        return ", ".join(f"`{choice}`" for choice in choices)
    hint = _bare(one.hint)
    if get_origin(hint) in {list, tuple}:
        hint = get_args(hint)[0]
    words = {"bool": "", "int": "number", "float": "number", "str": "text", "Path": "path"}
    return words.get(getattr(hint, "__name__", ""), "text")


def _default(one: Argument) -> str:
    if one.required:
        return "required"
    value = one.field_info.default
    if value is None or value is False or value == () or value is inspect.Parameter.empty:
        return ""
    if value is True:
        return "on"
    if isinstance(value, tuple | list):
        return " ".join(f"`{item}`" for item in value)
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _grouped_help(part: App) -> dict[str, str]:
    """Option -> what the docstring says of several parameters at once (``readout, reference``)."""
    found: dict[str, str] = {}
    text = inspect.getdoc(part.default_command) or ""
    for names, said in re.findall(r"^(\w+(?:, \w+)+)\n((?:    .*\n?)+)", text, flags=re.MULTILINE):
        for name in names.split(", "):
            found[f"--{name.strip('_').replace('_', '-')}"] = said
    return found


def _about(one: Argument, grouped: dict[str, str]) -> str:
    return _cell(one.parameter.help or grouped.get(one.name) or USUAL.get(one.name, ""))


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", str(text)).strip().replace("|", "\\|")
