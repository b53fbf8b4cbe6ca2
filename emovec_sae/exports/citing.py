"""cite: the BibTeX of the methods that results were made with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.errors import ConfigError, StoreError, suggest
from emovec_sae.exports.references import METHODS, entries, method_name
from emovec_sae.exports.used import (
    CHECKS,
    PLAIN,
    WITH_MODEL,
    of_arms,
    of_evaluation_facts,
    of_patching_method,
    of_sae_facts,
    used_by,
)
from emovec_sae.provenance import atomic, read_json


@dataclass(frozen=True)
class Citations:
    """References of what was used.

    Attributes
    ----------
    used
        (what, method) pairs: the object or file, and the method.
    """

    used: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return self.bibtex()

    @property
    def keys(self) -> list[str]:
        """Keys of the entries, each once, in the order in which methods were met."""
        return list(dict.fromkeys(key for _, method in self.used for key in METHODS.get(method, ())))

    @property
    def missing(self) -> list[tuple[str, str]]:
        """(what, method) of methods that have no entry here: their reference is still to be found."""
        return [(what, method) for what, method in self.used if method not in METHODS]

    def frame(self) -> pd.DataFrame:
        """One row a use and entry: what, method, key (None where there is no entry)."""
        rows = [(what, method, key) for what, method in self.used for key in METHODS.get(method, (None,))]
        return pd.DataFrame(rows, columns=["what", "method", "key"])

    def bibtex(self) -> str:
        """The entries, each once; what has none is a comment line at the top."""
        told = [f"% no entry for '{method}', used by {what}" for what, method in self.missing]
        return "\n\n".join([*(["\n".join(told)] if told else []), *(entries()[key] for key in self.keys)]) + "\n"

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write a ``.bib`` file, atomically; `ConfigError` if it is there and `overwrite` is not set."""
        target = Path(path)
        if target.exists() and not overwrite:
            raise ConfigError(
                f"'{target}' exists and is not overwritten; choose another name, or say overwrite (--force)"
            )
        with atomic(target) as part:
            part.write_text(self.bibtex(), encoding="utf-8")
        return target


def cite(*what: Any) -> Citations:
    """Tell the references of results, of files, or of methods by name.

    Parameters
    ----------
    *what
        Results of this package (directions, decompositions, SAEs, comparisons, patching maps, checks, ...), paths of
        saved ones or of a run's folder, names of methods (``"omp"``, ``"holm"``) or keys of entries. Nothing: the
        package itself and the protocol that it follows.

    Returns
    -------
    Citations
        `str()` of it is BibTeX; methods without an entry are in `missing`, and said in a comment.

    Raises
    ------
    ConfigError
        If a name is unknown (the message names the nearest), or nothing is known of an object's kind.
    StoreError
        If a file cannot be read.
    """
    pairs: list[tuple[str, str]] = [] if what else [("emovec_sae", "emovec-sae"), ("emovec_sae", "protocol")]
    for one in what:
        if isinstance(one, Path) or (isinstance(one, str) and _is_file(one)):
            pairs += _of_path(Path(one))
        elif isinstance(one, str):
            pairs += [(one, _known(one))]
        else:
            pairs += _pairs(type(one).__name__, used_by(one))
    return Citations(tuple(dict.fromkeys(pairs)))


def _is_file(text: str) -> bool:
    """Whether a text is meant as a path: it exists, or looks like one."""
    return Path(text).exists() or "/" in text or Path(text).suffix in (".safetensors", ".parquet", ".json")


def _known(text: str) -> str:
    name = method_name(text)
    if name in METHODS:
        return name
    for method, keys in METHODS.items():
        if text in keys:
            return method
    raise ConfigError(
        f"no reference for '{text}'{suggest(name, [*METHODS, *entries()])}; methods are {', '.join(sorted(METHODS))}"
    )


def _pairs(what: str, methods: Iterable[str]) -> list[tuple[str, str]]:
    return [(what, method_name(method)) for method in methods]


def _of_path(path: Path) -> list[tuple[str, str]]:
    """A saved result, an SAE's folder, or a folder that holds such files."""
    if path.is_dir():
        if (path / "cfg.json").is_file():
            return _pairs(path.name, _of_sae_folder(path))
        found = [pair for file in sorted(path.glob("*.json")) for pair in _of_json(file) or ()]
        found += [pair for one in sorted(path.glob("*/cfg.json")) for pair in _of_path(one.parent)]
        if not found:
            raise StoreError(f"'{path}' holds no saved result of this package")
        return found
    file = path.with_suffix(".json") if path.suffix in (".safetensors", ".parquet") else path
    if not file.is_file():
        raise StoreError(
            f"no file {file}; cite takes saved results, an SAE's folder, a run's folder, or names of methods"
        )
    found = _of_json(file)
    if found is None:
        raise StoreError(f"{file} is no result that this package saved, as far as can be told")
    return found


def _of_sae_folder(folder: Path) -> list[str]:
    facts = read_json(folder / "emovec.json") if (folder / "emovec.json").is_file() else {}
    return of_sae_facts(str(read_json(folder / "cfg.json").get("architecture")), facts, folder.name)


def _of_json(file: Path) -> list[tuple[str, str]] | None:
    """The methods of a saved result, or None if it is none."""
    try:
        told: Any = read_json(file)
    except ValueError as error:
        raise StoreError(f"{file} is no JSON: {error}") from error
    if not isinstance(told, Mapping):
        return None
    methods = _of_facts(file, told)
    return None if methods is None else _pairs(file.stem, methods)


def _of_facts(file: Path, told: Mapping[str, Any]) -> list[str] | None:
    kind = told.get("encoding-type")
    if kind == "emovec-directions":
        from emovec_sae.directions.files import load_directions

        return used_by(load_directions(file))
    if kind == "emovec-decomposition":
        from emovec_sae.decomposition.files import load_decomposition

        return used_by(load_decomposition(file.with_suffix(".parquet")))
    if told.get("check") in CHECKS:
        return [*WITH_MODEL, *CHECKS[str(told["check"])]]
    provenance = told.get("provenance")
    if not isinstance(provenance, Mapping):
        return None
    if {"arms", "levels"} <= set(provenance):
        return of_arms([str(one) for one in provenance["arms"]])
    if {"what", "mode", "method"} <= set(provenance):
        return of_patching_method(str(provenance["method"]))
    summary = told.get("summary")
    if isinstance(summary, Mapping) and "top1" in summary:
        return of_evaluation_facts(str(summary.get("estimator")), str((summary.get("baseline") or {}).get("name", "")))
    return PLAIN["Passport"] if "explained_variance" in told else None
