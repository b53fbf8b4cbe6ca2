"""A recording that dies at any moment goes on where it was and ends with the very same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

import emovec_sae
from emovec_sae.corpora.frame import Corpus
from emovec_sae.errors import StoreError
from emovec_sae.provenance import file_digest
from emovec_sae.recording.record import record
from emovec_sae.store.reader import open_activations
from emovec_sae.store.verify import verify
from emovec_sae.testing import tiny_model

CHILD = """
import os, signal, sys
from functools import partial
from pathlib import Path
from emovec_sae.recording import job
from emovec_sae.recording.plan import make_plan
from emovec_sae.recording.record import record
from emovec_sae.testing import tiny_corpus, tiny_model
job.make_plan = partial(make_plan, per_shard=2)
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
    record(tiny_model(), tiny_corpus(), offset=5, budget=130, out=out,
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
        with pytest.raises(StoreError, match=r"cannot write into .*: No space left on device"):
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


TIMES = 20


def test_twenty_recordings_killed_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """SIGKILL, then the same call again: the finished store is the uninterrupted one's, shard by shard."""
    root = str(Path(emovec_sae.__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_recordings.py")), str(tmp_path), str(TIMES)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    runs = found["runs"]
    assert len(runs) == TIMES
    assert [one for one in runs if one["foreign"] or one["made_again"] or one["litter"]] == []
    assert all(one["same"] and one["manifest"] and one["texts"] == 72 for one in runs)
    kept = {one["kept"] for one in runs}
    assert len(kept) > 3, f"the moments were all alike: {kept}"


def test_a_folder_that_cannot_be_written_is_one_line(recorded: Callable[..., Any]) -> None:
    for place in ("/proc/emovec-acts", "/sys/emovec-acts"):  # read-only for root, too
        with pytest.raises(StoreError, match=f"cannot write into {place}: ") as caught:
            recorded(Path(place))
        assert "\n" not in str(caught.value)


def test_ten_thousand_very_short_texts_and_a_very_long_one(tmp_path: Path) -> None:
    model = tiny_model(context=2048)
    texts = [f"{'abcdefghij'[row % 10]}{row % 7}." for row in range(10_000)]
    texts.insert(5_000, "long " * 400)
    corpus = Corpus.from_frame(pd.DataFrame({"text": texts}), name="uneven")
    acts = record(model, corpus, sites="resid_post.1", pool=("mean", "none"), offset=1, budget=512, out=tmp_path / "a")
    assert acts.frame["text"].tolist() == texts
    assert acts.count_tokens("resid_post.1") == sum(map(len, texts)) - len(texts)
    pooled = acts.pooled("resid_post.1")
    for row in (0, 4_999, 5_000, 5_001, 10_000):
        alone = record(
            model, Corpus.from_frame(corpus.frame.iloc[[row]], name="one"), sites="resid_post.1", offset=1, budget=512,
            out=tmp_path / f"one{row}",
        )  # fmt: skip
        np.testing.assert_allclose(pooled[row], alone.pooled("resid_post.1")[0], atol=1e-5)
