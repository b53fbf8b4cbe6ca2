"""What is wrong with a study file, in one line: file, line, key, and the nearest right key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from emovec_sae.config.section import Section
from emovec_sae.errors import suggest


def explain(file: Path, text: str, error: ValidationError, shape: type[Section]) -> str:
    """One line for the first problem: file, line, key, and the nearest right key."""
    first: dict[str, Any] = dict(error.errors()[0])
    keys = _keys(first["loc"], shape)
    where = f"{file}, line {_line(text, keys)}"
    name = ".".join(keys)
    if first["type"] == "extra_forbidden":
        known = _known(keys[:-1], shape)
        return f"{where}: unknown key '{name}'{suggest(keys[-1], known)}; keys here are {', '.join(known)}"
    return f"{where}: {name or 'the study'}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {first.get('input')!r}"


def _keys(loc: Sequence[Any], shape: type[Section]) -> list[str]:
    """Keys of the file on the way to a problem: pydantic appends the place in a list, and the union member tried."""
    found: list[str] = []
    for part in loc:
        found.append(str(part))
        if not _known(found, shape):
            break
    return found


def _known(parents: list[str], shape: type[Section]) -> list[str]:
    """Keys of a section; none below a plain value or an unknown key."""
    fields: Any = shape.model_fields
    for parent in parents:
        annotation = fields[parent].annotation if parent in fields else None
        if type(None) in get_args(annotation):  # a section that may be left out
            annotation = next(one for one in get_args(annotation) if one is not type(None))
        fields = annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else {}
    return list(fields)


def _line(text: str, keys: list[str]) -> int:
    """Line of a nested key, counted from 1."""
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    line = 1
    for key in keys:
        for name, value in getattr(node, "value", []) if isinstance(node, yaml.MappingNode) else []:
            if name.value == key:
                line, node = name.start_mark.line + 1, value
                break
        else:
            break
    return line
