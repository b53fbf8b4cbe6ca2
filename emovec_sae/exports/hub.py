"""Push artefacts to the Hugging Face hub, and pull them: checked by hash, nothing of them run."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.exports.artefact import Artefact, Evaluated, fill, load
from emovec_sae.exports.folders import MANIFEST, Listed, Manifest, check_files, filled_folder, read_manifest
from emovec_sae.provenance import file_digest

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TIMEOUT = 20


@dataclass(frozen=True)
class Pushed:
    """What went to the hub, or would go.

    Attributes
    ----------
    repo
        ``owner/name``.
    kind
        ``directions``, ``decomposition`` or ``sae``.
    files
        The files.
    private
        Whether a repository that is made for them is private.
    url
        The commit; None for a dry run.
    """

    repo: str
    kind: str
    files: tuple[Listed, ...]
    private: bool
    url: str | None

    def frame(self) -> pd.DataFrame:
        """One row a file: name, size (bytes), sha256."""
        return pd.DataFrame([vars(one) for one in self.files], columns=["name", "size", "sha256"])


def push(
    artefact: Artefact,
    repo: str,
    *,
    evaluation: Evaluated | None = None,
    corpus: str | None = None,
    licence: str | None = None,
    private: bool = True,
    dry_run: bool = False,
    overwrite: bool = False,
) -> Pushed:
    """Upload directions, a decomposition or an SAE with a model card and a list of hashes.

    Who is logged in (``hf auth login``) is the hub client's matter; this package never sees a token.

    Parameters
    ----------
    artefact
        What.
    repo
        ``owner/name``; it is made if there is none.
    evaluation, corpus, licence
        For the card, see `emovec_sae.exports.artefact.export_directions`.
    private
        Whether a new repository is private; one that exists stays as it is.
    dry_run
        Compose everything and tell what would be uploaded; the hub is not asked, nor need its client be installed.
    overwrite
        Whether a repository that holds files may get them as its next commit; files of other names stay there.

    Raises
    ------
    ConfigError
        If the name is no ``owner/name``, or the repository holds files and `overwrite` is not set.
    StoreError
        If the hub cannot be reached or refuses.
    """
    check_repo(repo)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        kind = fill(artefact, folder, evaluation=evaluation, corpus=corpus, licence=licence, repo=repo)
        paths = sorted(folder.iterdir())
        files = tuple(Listed(path.name, path.stat().st_size, file_digest(path)) for path in paths)
        url = None if dry_run else _upload(folder, repo, private=private, overwrite=overwrite)
    return Pushed(repo, kind, files, private, url)


def pull(repo: str, *, revision: str | None = None, out: str | Path | None = None, overwrite: bool = False) -> Artefact:
    """Fetch what `push` uploaded, check it, and read it.

    The manifest is fetched first; only the files that it lists are fetched, all of the same commit, and only of kinds
    that cannot hold code. Size and SHA-256 of each are checked, then the artefact checks itself as if it were read
    from disk. Hashes tell damage and mixtures; whom to trust is yours to decide: `revision` pins a commit.

    Parameters
    ----------
    repo
        ``owner/name``.
    revision
        A branch, tag or commit; the main branch by default.
    out
        A folder to keep the files in; by default they stay in the hub client's own cache.
    overwrite
        Whether files of the same names in `out` may be replaced.

    Returns
    -------
    DirectionSet, Decomposition or SparseCoder
        By what the repository holds.

    Raises
    ------
    ConfigError
        If the name is no ``owner/name``, or a file is in `out` and `overwrite` is not set.
    StoreError
        If there is no such repository, it holds no export of this package, or the hub cannot be reached.
    MismatchError
        If a file is not the one that was listed.
    """
    check_repo(repo)
    source = f"hf:{repo}"
    listed = _fetch(repo, MANIFEST, revision)
    manifest = read_manifest(listed, source=source)
    commit = listed.parent.name  # the client keeps a snapshot a commit
    folder = listed.parent
    for name in manifest.names:
        if _fetch(repo, name, commit).parent != folder:
            raise StoreError(f"{source}: {name} came from another commit than {MANIFEST}; pull again")
    check_files(folder, manifest, source=source)
    if out is None:
        return load(folder, manifest.kind)
    with filled_folder(out, overwrite=overwrite) as part:
        _copy(folder, part, manifest)
        check_files(part, manifest, source=source)
        found = load(part, manifest.kind)
    return found


def check_repo(repo: str) -> None:
    """Refuse what is no name of a repository, with `ConfigError`."""
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo:
        raise ConfigError(f"'{repo}' is no repository of the hub; write owner/name")


def _copy(source: Path, target: Path, manifest: Manifest) -> None:
    for name in [*manifest.names, MANIFEST]:
        (target / name).write_bytes((source / name).read_bytes())


def _upload(folder: Path, repo: str, *, private: bool, overwrite: bool) -> str:
    hub = _client()
    api = hub.HfApi(endpoint=hub.constants.ENDPOINT)
    try:
        there = _files_of(api, repo)
        if there and not overwrite:
            raise ConfigError(
                f"the repository '{repo}' holds {len(there)} files, such as {there[0]}; choose another name, or say "
                "overwrite (--force) to make this its next commit"
            )
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(repo_id=repo, folder_path=folder, commit_message="Upload with emovec_sae")
    except (ValueError, *_failures()) as error:
        raise StoreError(
            f"'{repo}' could not be uploaded: {_short(error)} (hf auth login gives the right to)"
        ) from error
    return str(done.commit_url)


def _files_of(api: Any, repo: str) -> list[str]:
    """Files of a repository other than the one that the hub makes itself; none where there is no repository."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        info = api.model_info(repo, timeout=_TIMEOUT)
    except RepositoryNotFoundError:
        return []
    return [one.rfilename for one in info.siblings or () if one.rfilename != ".gitattributes"]


def _fetch(repo: str, name: str, revision: str | None) -> Path:
    hub = _client()
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        found = hub.hf_hub_download(
            repo, name, revision=revision, endpoint=hub.constants.ENDPOINT, cache_dir=hub.constants.HF_HUB_CACHE
        )
    except RepositoryNotFoundError as error:
        raise StoreError(f"the hub has no repository '{repo}', or it is private or gated (hf auth login)") from error
    except LocalEntryNotFoundError as error:
        raise StoreError(f"hf:{repo}: the hub did not answer, and {name} is not in the local copy") from error
    except EntryNotFoundError as error:
        more = "it holds no export of this package" if name == MANIFEST else f"its {MANIFEST} lists it"
        raise StoreError(f"hf:{repo} has no {name}: {more}") from error
    except (ValueError, *_failures()) as error:
        raise StoreError(f"hf:{repo}: {name} could not be fetched ({_short(error)})") from error
    return Path(found)


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise ConfigError("the hub needs its client; run: pip install 'emovec_sae[hub]'") from error
    return huggingface_hub


def _failures() -> tuple[type[Exception], ...]:
    """What a failed request raises: the client's HTTP library has changed its name once, its base class has not."""
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError"))  # pyright: ignore[reportReturnType]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
