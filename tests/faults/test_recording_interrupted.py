"""A recording that dies at any moment goes on where it was and ends with the very same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import emovec_sae
from emovec_sae.errors import ConfigError, CorpusError, StoreError
from emovec_sae.provenance import file_digest, write_json
from emovec_sae.store.reader import open_activations
from emovec_sae.store.verify import verify
from emovec_sae.testing import tiny_corpus, tiny_model

CHILD = """
import os, signal, sys
from functools import partial
from pathlib import Path
from emovec_sae.recording import record as room
from emovec_sae.recording.plan import make_plan
from emovec_sae.testing import tiny_corpus, tiny_model
room.make_plan = partial(make_plan, per_shard=2)
out, moment, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if limit:
    import resource
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
replace, seen = Path.replace, []
def last(part, target):
    seen.append(Path(target).name)
    if seen[-1] == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(part, target)
Path.replace = last
from emovec_sae.errors import StoreError
try:
    room.record(tiny_model(), tiny_corpus(), offset=5, budget=130, out=out,
                sites={"resid_post.1": ("mean", "last", "none"), "resid_post.2": ("mean",)})
except StoreError as error:
    print(error)
    sys.exit(2)
"""


def child(out: Path, *, moment: str = "", limit: int = 0) -> subprocess.CompletedProcess[str]:
    """Record in another process, which is killed when a file is about to appear, or may write `limit` bytes a file."""
    root = str(Path(emovec_sae.__file__).resolve().parent.parent)
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(out), moment, str(limit)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": root}, check=False,
    )  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    return {file.name: file_digest(file) for file in sorted(folder.glob("shard-*.h5"))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of an uninterrupted recording, made in a process of its own."""
    out = tmp_path_factory.mktemp("whole") / "store"
    done = child(out)
    assert done.returncode == 0, done.stderr
    assert len(digests(out)) == 5
    return digests(out)


class Stop:
    """A progress callback that breaks off after some calls."""

    def __init__(self, calls: int, error: type[BaseException]) -> None:
        self.left, self.error = calls, error

    def __call__(self, done: int, total: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error("stopped by the test")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_recording_goes_on(
    recorded: Callable[..., Any], whole: dict[str, str], tmp_path: Path, error: type[BaseException]
) -> None:
    out = tmp_path / "store"
    with pytest.raises(error, match="stopped by the test"):
        recorded(out, progress=Stop(2, error))
    kept = {name: (out / name).stat().st_mtime_ns for name in digests(out)}
    assert len(kept) == 2
    with pytest.raises(StoreError, match="has not finished; run the same record command again"):
        open_activations(out)
    seen: list[tuple[int, int]] = []
    acts = recorded(out, progress=lambda done, total: seen.append((done, total)))
    assert digests(out) == whole
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept, "a whole shard was made again"
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]
    assert acts.pooled("resid_post.1").shape == (9, 32)
    assert verify(out).ok


@pytest.mark.parametrize("moment", ["corpus.parquet", "shard-00001.h5", "manifest.json"])
def test_a_killed_recording_goes_on(
    recorded: Callable[..., Any], whole: dict[str, str], tmp_path: Path, moment: str
) -> None:
    """SIGKILL while a file is whole under its temporary name and not yet in its place."""
    out = tmp_path / "store"
    assert child(out, moment=moment).returncode == -signal.SIGKILL
    assert [one.name for one in out.iterdir() if one.name.startswith(f".{moment}")], "it was not killed there"
    assert not (out / moment).exists()
    assert (out / ".lock").exists()
    acts = recorded(out)
    assert digests(out) == whole
    assert verify(out).ok
    assert len(acts) == 9
    assert not list(out.glob(".shard-*")), "the dead process's shard was left behind"


def test_a_finished_recording_is_not_made_again(recorded: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "store"
    first = recorded(out)
    times = {file: file.stat().st_mtime_ns for file in out.iterdir()}
    again = recorded(out, progress=Stop(1, AssertionError))
    assert {file: file.stat().st_mtime_ns for file in out.iterdir() if file.name != ".lock"} == {
        file: time for file, time in times.items() if file.name != ".lock"
    }
    assert again.fingerprint == first.fingerprint


def test_a_full_disk_is_one_line_and_leaves_only_whole_shards(
    recorded: Callable[..., Any], whole: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "store"
    done = child(out, limit=12_000)  # bytes a file: the texts fit, the shards do not
    assert done.returncode == 2, done.stderr
    assert done.stdout.count("\n") == 1
    assert "cannot write" in done.stdout
    assert "shard-00000.h5" in done.stdout
    assert not [one.name for one in out.iterdir() if one.name.startswith(".shard")]
    assert not digests(out)
    recorded(out)
    assert digests(out) == whole


@pytest.mark.parametrize("name", ["recording.json", "corpus.parquet", "manifest.json"])
def test_a_disk_that_is_full_at_any_file_is_one_line(
    recorded: Callable[..., Any], whole: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out, replace = tmp_path / "store", Path.replace

    def full(part: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise OSError(28, "No space left on device")
        return replace(part, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(StoreError, match="cannot write into .*: No space left on device"):
            recorded(out)
    assert not (out / name).exists()
    recorded(out)
    assert digests(out) == whole


def test_two_writers_at_once(recorded: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "store"
    out.mkdir()
    with FileLock(str(out / ".lock")), pytest.raises(StoreError, match="another process is recording into"):
        recorded(out)
    assert [one.name for one in out.iterdir() if one.name != ".lock"] == []
    recorded(out)


def test_a_file_in_place_of_the_folder(recorded: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    for out in (tmp_path / "store", tmp_path / "store" / "below"):
        with pytest.raises(StoreError, match="cannot write into"):
            recorded(out)
    assert (tmp_path / "store").read_text() == "mine"


def test_a_folder_with_something_else_in_it_is_left_alone(recorded: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"is not empty and holds no recording \(thesis\.tex"):
        recorded(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"offset": 6}, "offset: there 5, now 6"),
        ({"budget": 200}, "budget: there 130, now 200"),
        ({"sites": {"resid_post.1": ("mean",)}}, r"sites\.resid_post\.1: there \['mean', 'last', 'none'\], now"),
        ({"corpus": tiny_corpus(seed=1)}, r"corpus\.hash: there"),
        ({"corpus": tiny_corpus().head(8)}, r"corpus\.n_texts: there 9, now 8"),
    ],
    ids=["offset", "budget", "sites", "texts", "count"],
)
@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_in_the_same_folder_are_refused(
    recorded: Callable[..., Any], tmp_path: Path, options: dict[str, Any], said: str, *, finished: bool
) -> None:
    out = tmp_path / "store"
    if finished:
        recorded(out)
    else:
        with pytest.raises(RuntimeError):
            recorded(out, progress=Stop(1, RuntimeError))
    before = {file.name: file_digest(file) for file in out.iterdir()}
    with pytest.raises(StoreError, match=f"holds another recording .*{said}"):
        recorded(out, **options)
    assert {file.name: file_digest(file) for file in out.iterdir()} == before


@pytest.mark.parametrize(("options", "fact"), [({"dtype": "bfloat16"}, "dtype"), ({"seed": 7}, "fingerprint")])
def test_another_model_in_the_same_folder_is_refused(
    recorded: Callable[..., Any], tmp_path: Path, options: dict[str, Any], fact: str
) -> None:
    out = tmp_path / "store"
    recorded(out)
    with pytest.raises(StoreError, match=rf"model\.{fact}: there .*, now"):
        recorded(out, model=tiny_model(**options))


def test_a_shard_of_another_recording_is_not_taken_over(
    recorded: Callable[..., Any], whole: dict[str, str], tmp_path: Path
) -> None:
    """Same texts, same plan, another model: only the shard's own mark tells."""
    recorded(tmp_path / "other", model=tiny_model(seed=7))
    out = tmp_path / "store"
    with pytest.raises(RuntimeError):
        recorded(out, progress=Stop(1, RuntimeError))
    (out / "shard-00001.h5").write_bytes((tmp_path / "other" / "shard-00001.h5").read_bytes())
    recorded(out)
    assert digests(out) == whole


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"encoding-type": "x"}', "\xff"])
@pytest.mark.parametrize("name", ["manifest.json", "recording.json"])
def test_a_corrupt_manifest_is_one_line(recorded: Callable[..., Any], tmp_path: Path, name: str, text: str) -> None:
    out = tmp_path / "store"
    out.mkdir()
    (out / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=name) as caught:
        recorded(out)
    assert "\n" not in str(caught.value)
    if name == "manifest.json":
        for read in (open_activations, verify):
            with pytest.raises(StoreError):
                read(out)


def test_a_value_that_is_not_finite_names_text_site_and_token(recorded: Callable[..., Any], tmp_path: Path) -> None:
    import torch

    model, corpus = tiny_model(), tiny_corpus()
    letter = "z"  # the third emotion's own letter: no other text has it
    token = model.tokens.encode([letter])[0][0]
    model.module.get_submodule("model.embed_tokens").weight.data[token] = torch.nan
    texts = corpus.frame[corpus.frame["text"].str.contains(letter)]
    with pytest.raises(StoreError, match=r"not finite: text 'e2\.g\d\.0', site resid_post\.1, token 1;") as caught:
        recorded(tmp_path / "store", model=model)
    assert any(f"'{name}'" in str(caught.value) for name in texts["id"])
    assert "float32" in str(caught.value)


def test_texts_that_cannot_be_recorded_are_named(recorded: Callable[..., Any], tmp_path: Path) -> None:
    import pandas as pd

    from emovec_sae.corpora.frame import Corpus

    def one(text: str) -> Corpus:
        texts = ["long enough to be read", text]
        return Corpus.from_frame(pd.DataFrame({"id": ["good", "bad"], "text": texts}), name="mine")

    with pytest.raises(CorpusError, match="text 'bad' of mine has no token left to pool: 5 tokens"):
        recorded(tmp_path / "store", corpus=one("short"))
    with pytest.raises(CorpusError, match="text 'bad' of mine has 300 tokens; tiny-llama reads at most 256"):
        recorded(tmp_path / "store", corpus=one("x" * 300))
    with pytest.raises(CorpusError, match="'bad' of mine has no token left to pool: 1 tokens, of which the first 1"):
        recorded(tmp_path / "store", corpus=one("x"), offset=0)
    with pytest.raises(CorpusError, match="text 'bad' .* special ones are not used"):
        recorded(tmp_path / "store", corpus=one("a" + "<eos>" * 9))
    assert not (tmp_path / "store").exists(), "a refused recording left a folder behind"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sites": "resid_post.1", "pool": "men"}, "unknown pool 'men' .did you mean 'mean'"),
        ({"sites": "resid_post.3"}, "the model has 3 blocks"),
        ({"offset": -1}, "offset is -1"),
        ({"sites": {}}, "no site was given"),
        ({"sites": "resid_post.1", "pool": ()}, "no pool was given"),
    ],
)
def test_impossible_settings_are_refused(
    recorded: Callable[..., Any], tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        recorded(tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


def test_an_unfinished_store_of_a_later_version_is_left_alone(recorded: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "store"
    header = {"encoding-type": "emovec-activations", "encoding-version": "2", "settings": {}}
    write_json(out / "recording.json", header)
    with pytest.raises(StoreError, match="version 2; this package reads 'emovec-activations' version 1"):
        recorded(out)
