"""Read a study file; a misspelt key is an error that names the right one."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from emovec_sae.config.problems import explain
from emovec_sae.config.study import CheckStudy, Study
from emovec_sae.errors import ConfigError


def load_study(path: str | Path) -> Study:
    """Read the file of a study with stages.

    Raises
    ------
    ConfigError
        As `read_study`; also if the study is one of checks.
    """
    found = read_study(path)
    if isinstance(found, CheckStudy):
        raise ConfigError(f"{path} is a study of checks (it has the key 'checks'); run it with: emovec run {path}")
    return found


def read_study(path: str | Path) -> Study | CheckStudy:
    """Read a study file: one with the key ``checks`` is a `CheckStudy`, any other a `Study`.

    Raises
    ------
    ConfigError
        If there is no such file, it is no YAML, or a key or value is wrong; the message names file, line and key.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no study file at {file}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the study file {file}: {error}") from error
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise ConfigError(f"{file}{f', line {line + 1}' if line is not None else ''}: not valid YAML") from error
    if found is not None and not isinstance(found, dict):
        raise ConfigError(f"{file} holds a {type(found).__name__}; a study is a mapping such as 'model: {{name: ...}}'")
    shape = CheckStudy if found and "checks" in found else Study
    try:
        return shape.model_validate(found or {})
    except ValidationError as error:
        raise ConfigError(explain(file, text, error, shape)) from error
