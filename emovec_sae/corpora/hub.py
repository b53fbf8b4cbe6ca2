"""Data sets of the Hugging Face hub as corpora: their files are read, nothing of theirs is ever run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from emovec_sae.corpora.layouts import LAYOUTS
from emovec_sae.corpora.readers import READERS, read_table
from emovec_sae.corpora.separated import SUFFIXES
from emovec_sae.corpora.table import Table
from emovec_sae.errors import CorpusError, suggest
from emovec_sae.models.embedded import cache_dir
from emovec_sae.provenance import read_json, write_json

PREFIX = "hf:"
_ADDRESS = re.compile(r"hf:([\w.-]+/[\w.-]+)(?::([\w.-]+))?(?:@([\w.-]+))?")
_SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation",
           "val": "validation", "dev": "dev", "test": "test"}  # fmt: skip
"""Words in the names of files -> split."""
_KINDS = (".parquet", ".jsonl", ".csv", *SUFFIXES)
"""Suffixes in the order in which they are preferred where a set comes in several."""


@dataclass(frozen=True)
class Address:
    """``hf:owner/name:config@split``, the last two optional."""

    repo: str
    config: str | None
    split: str | None

    def __str__(self) -> str:
        return f"hf:{self.repo}" + (f":{self.config}" if self.config else "") + (f"@{self.split}" if self.split else "")


@dataclass(frozen=True)
class _Repository:
    """What is known of a data set without its files: its revision, and where files lie."""

    revision: str
    files: tuple[str, ...]
    folder: Path | None


def read_hub(text: str, *, layout: str | None = None) -> tuple[Table, str]:
    """Read a data set of the hub, or of the local copy that the hub's client keeps.

    Parameters
    ----------
    text
        ``hf:owner/name``, with ``:config`` and ``@split`` where the set has several.
    layout
        A key of `LAYOUTS`, if its files are of that kind.

    Returns
    -------
    tuple
        The table, and the name of the corpus: the address and the revision.

    Raises
    ------
    CorpusError
        If there is no such set, config or split; if the hub cannot be reached; if its files are of no kind that is
        read (scripts are never run), or cannot be read.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise CorpusError(f"cannot read '{text}'; write hf:owner/name, hf:owner/name:config or hf:owner/name@split")
    address = Address(found[1], found[2], found[3])
    if layout is not None and layout not in LAYOUTS:
        raise CorpusError(f"unknown layout '{layout}'{suggest(layout, LAYOUTS)}; layouts are {', '.join(LAYOUTS)}")
    repository = _repository(address)
    config, split, files = _choose(address, repository)
    tables = [_read(_fetch(address, repository, name), layout) for name in files]
    whole = Address(address.repo, config, split)
    name = f"{whole}, revision {repository.revision[:12]}"
    if repository.folder is None:
        write_json(_listing(address), {"revision": repository.revision, "files": repository.files})
    return _joined(tables, name, split), name


def _repository(address: Address) -> _Repository:
    """Ask the hub; where it does not answer, look into the local copy."""
    try:
        from huggingface_hub import HfApi, constants
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    except ImportError as error:
        raise CorpusError(
            f"{address} needs the hub's client; run: pip install 'emovec_sae[hub]', or save the set as a file"
        ) from error
    reason = "the hub is switched off (HF_HUB_OFFLINE)"
    if not constants.HF_HUB_OFFLINE:
        try:
            info = HfApi(endpoint=constants.ENDPOINT).dataset_info(address.repo, timeout=20)
            return _Repository(str(info.sha), tuple(one.rfilename for one in info.siblings or ()), None)
        except RepositoryNotFoundError as error:
            raise CorpusError(
                f"the hub has no data set '{address.repo}', or it is private or gated (then: hf auth login)"
            ) from error
        except (HFValidationError, *_failures()) as error:
            reason = f"{constants.ENDPOINT} did not answer ({_short(error)})"
    found = _local(Path(constants.HF_HUB_CACHE) / f"datasets--{address.repo.replace('/', '--')}", _listing(address))
    if found is None:
        raise CorpusError(f"{address}: {reason}, and there is no local copy; save the set as a file and give its path")
    return found


def _local(copy: Path, listing: Path) -> _Repository | None:
    """What was listed when the set was last read; or all of the branch that another program fetched."""
    if listing.is_file():
        told = read_json(listing)
        folder = copy / "snapshots" / told["revision"]
        return _Repository(told["revision"], tuple(told["files"]), folder) if folder.is_dir() else None
    reference = copy / "refs" / "main"
    folder = copy / "snapshots" / (reference.read_text().strip() if reference.is_file() else "none")
    if not folder.is_dir():
        return None
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return _Repository(folder.name, tuple(files), folder)


def _listing(address: Address) -> Path:
    """Where the files of a set that was read are listed: the client's copy holds some of them, and does not say so."""
    return cache_dir() / "hub" / f"{address.repo.replace('/', '--')}.json"


def _fetch(address: Address, repository: _Repository, name: str) -> Path:
    if repository.folder is not None:
        path = repository.folder / name
        if not path.is_file():
            raise CorpusError(f"{address}: {name} is not in the local copy, and the hub cannot be asked for it")
        return path
    from huggingface_hub import constants, hf_hub_download

    try:
        found = hf_hub_download(
            address.repo, name, repo_type="dataset", revision=repository.revision, endpoint=constants.ENDPOINT,
            cache_dir=constants.HF_HUB_CACHE,
        )  # fmt: skip
    except (ValueError, *_failures()) as error:
        raise CorpusError(f"{address}: {name} could not be fetched ({_short(error)})") from error
    return Path(found)


def _failures() -> tuple[type[Exception], ...]:
    """What a failed request raises: the client's HTTP library has changed its name once, its base class has not."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"))  # pyright: ignore[reportReturnType]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _choose(address: Address, repository: _Repository) -> tuple[str | None, str | None, list[str]]:
    """Config, split and files: as the set's card lists them, by the names of folders and files otherwise."""
    data = [name for name in repository.files if PurePosixPath(name).suffix.lower() in _KINDS]
    if not data:
        raise CorpusError(
            f"{address} holds no {', '.join(_KINDS)} files; sets that are made by a script are not read: save it as one"
        )
    parts = _of_card(address, repository, data) or _of_names(data)
    configs = list(dict.fromkeys(config for config, _ in parts))
    config = _one(address, "config", address.config, configs, usual=("default", None))
    splits = [split for where, split in parts if where == config]
    split = _one(address, "split", address.split, splits, usual=(None,))
    files = parts[config, split]
    best = min((_KINDS.index(PurePosixPath(name).suffix.lower()) for name in files), default=0)
    return config, split, [name for name in files if PurePosixPath(name).suffix.lower() == _KINDS[best]]


def _one(
    address: Address, what: str, wanted: str | None, there: Sequence[str | None], *, usual: Iterable[str | None]
) -> str | None:
    """The wanted one, the only one, or the usual one."""
    names = [name for name in there if name is not None]
    if wanted is not None:
        if wanted not in names:
            raise CorpusError(
                f"{address} has no {what} '{wanted}'{suggest(wanted, names)}; it has {', '.join(names) or 'only one'}"
            )
        return wanted
    if len(there) == 1:
        return there[0]
    for name in usual:
        if name in there:
            return name
    mark = ":" if what == "config" else "@"
    raise CorpusError(f"{address} has the {what}s {', '.join(names)}; choose one, such as {address}{mark}{names[0]}")


Parts = dict[tuple[str | None, str | None], list[str]]
"""(config, split) -> files."""


def _of_card(address: Address, repository: _Repository, data: Sequence[str]) -> Parts:
    """What the head of the README lists under `configs`; nothing where it has none."""
    import yaml

    if "README.md" not in repository.files:
        return {}
    text = _fetch(address, repository, "README.md").read_text(encoding="utf-8", errors="replace")
    head = re.match(r"---\s*\n(.*?)\n---", text, re.DOTALL)
    try:
        card: Any = yaml.safe_load(head[1]) if head else None
    except yaml.YAMLError:
        return {}
    parts: Parts = {}
    listed = card.get("configs") if isinstance(card, dict) else None
    for config in listed if isinstance(listed, list) else ():
        if not isinstance(config, dict):
            continue
        for split, patterns in _patterns(config.get("data_files")):
            files = [name for name in data if any(fnmatch(name, pattern) for pattern in patterns)]
            if files:
                parts[str(config.get("config_name", "default")), split] = files
    return parts


def _patterns(given: object) -> list[tuple[str | None, list[str]]]:
    """Split and patterns of an entry `data_files`, in each of the forms that cards use."""
    if isinstance(given, str):
        return [(None, [given])]
    if isinstance(given, Mapping):
        return [(str(split), _strings(paths)) for split, paths in given.items()]
    if isinstance(given, list):
        if all(isinstance(one, str) for one in given):
            return [(None, _strings(given))]
        return [(str(one["split"]), _strings(one["path"])) for one in given
                if isinstance(one, Mapping) and {"split", "path"} <= set(one)]  # fmt: skip
    return []


def _strings(paths: object) -> list[str]:
    return [str(one) for one in paths] if isinstance(paths, list) else [str(paths)]


def _of_names(data: Sequence[str]) -> Parts:
    """Split from a word in the name, config from the folder (other than ``data``)."""
    parts: Parts = {}
    for name in data:
        words = re.split(r"[^a-z]+", name.lower())
        split = next((_SPLITS[word] for word in reversed(words) if word in _SPLITS), None)
        folders = [part for part in PurePosixPath(name).parts[:-1] if part != "data" and part.lower() not in _SPLITS]
        parts.setdefault((folders[0] if folders else None, split), []).append(name)
    return parts


def _read(path: Path, layout: str | None) -> Table:
    if layout is not None:
        return LAYOUTS[layout].read(path)
    if path.suffix.lower() in READERS:
        return read_table(path)
    from emovec_sae.corpora.separated import read_foreign

    return read_foreign(path)


def _joined(tables: Sequence[Table], source: str, split: str | None) -> Table:
    """One table of several; rows are counted through, and say their split where they did not."""
    columns = list(dict.fromkeys(name for table in tables for name in table.columns))
    rows = [dict(row) for table in tables for row in table.rows]
    if split is not None and "split" not in columns:
        columns.append("split")
        rows = [{**row, "split": split} for row in rows]
    return Table(source, tuple(columns), rows, range(1, len(rows) + 1), unit="row")
