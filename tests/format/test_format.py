"""The format as docs/format.md says it: archived stores of each version, plain h5py, and the portable copy."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.store.reader import Activations, open_activations
from emovec_sae.store.repack import repack
from emovec_sae.store.verify import verify

HERE = Path(__file__).parent
DOCUMENT = HERE.parent.parent / "docs" / "format.md"
TOKENS = {"token_id": "int32", "position": "int32", "pooled": "bool"}

PLAIN = """
import json, sys, warnings
import h5py
with h5py.File(sys.argv[1]) as file:
    print(json.dumps(file["sites/resid_post.1/none"][:].tolist()))
assert "hdf5plugin" not in sys.modules
"""


def test_an_archived_store_of_version_1_is_read_to_the_last_bit() -> None:
    acts = open_activations(HERE / "v1" / "store")
    assert verify(acts.path).ok
    with np.load(HERE / "v1" / "values.npz") as right:
        for name in right.files:
            if "/" in name:
                np.testing.assert_array_equal(acts.pooled(*name.split("/")), right[name])
        every = list(acts.tokens("resid_post.1"))
        for name in ("text", "position", "values"):
            np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in every]), right[name])
    assert acts.frame["emotion"].tolist() == ["e0", "e0", "e1", "e1", "e2", "e2"]


def test_plain_h5py_reads_a_store_by_the_words_of_the_document(
    recorded: Callable[..., Activations], tmp_path: Path
) -> None:
    import h5py
    import hdf5plugin  # noqa: F401  registers the filter, as the document says

    acts = recorded(tmp_path / "store")
    folder = acts.path
    manifest = json.loads((folder / "manifest.json").read_text())
    settings = json.dumps(manifest["settings"], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    recording = hashlib.sha256(settings.encode()).hexdigest()
    shas = [shard["sha256"] for shard in manifest["shards"]]
    assert manifest["fingerprint"] == hashlib.sha256(json.dumps(shas, separators=(",", ":")).encode()).hexdigest()
    corpus = pd.read_parquet(folder / "corpus.parquet")
    means = np.full((len(corpus), 32), np.nan, np.float32)
    tokens: dict[int, np.ndarray] = {}
    sums = np.zeros(2)
    for shard in manifest["shards"]:
        data = (folder / shard["file"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (shard["bytes"], shard["sha256"])
        with h5py.File(folder / shard["file"]) as file:
            nodes: list[str] = []
            file.visit(nodes.append)
            kinds = {node: file[node].attrs["encoding-type"].decode() for node in ["/", *nodes]}
            assert {file[node].attrs["encoding-version"] for node in kinds} == {b"1"}
            assert kinds.pop("/") == "emovec-shard"
            assert all((kind == "array") == isinstance(file[node], h5py.Dataset) for node, kind in kinds.items())
            assert file.attrs["recording"].decode() == recording
            assert all(file[node].fletcher32 for node, kind in kinds.items() if kind == "array")
            assert {name: str(file[f"tokens/{name}"].dtype) for name in TOKENS} == TOKENS
            rows, start = file["texts/row"][:], file["tokens/start"][:]
            means[rows] = file["sites/resid_post.1/mean"][:]
            np.testing.assert_array_equal(file["texts/n_tokens"][:], corpus["n_tokens"][rows])
            for place, row in enumerate(rows):
                tokens[int(row)] = file["sites/resid_post.1/none"][start[place] : start[place + 1]]
                used = file["tokens/pooled"][start[place] : start[place + 1]]
                np.testing.assert_allclose(tokens[int(row)][used].mean(axis=0), means[row], atol=1e-5)
            attributes = file["sites/resid_post.1"].attrs
            sums += [attributes["norm_sum"], attributes["norm_count"]]
    np.testing.assert_array_equal(means, acts.pooled("resid_post.1"))
    assert sorted(tokens) == list(range(len(corpus)))
    assert sums[0] / sums[1] == pytest.approx(acts.residual_norm["resid_post.1"])


def test_the_document_names_every_key_and_node(recorded: Callable[..., Activations], tmp_path: Path) -> None:
    import h5py

    acts = recorded(tmp_path / "store")
    words = DOCUMENT.read_text(encoding="utf-8")
    named = [
        *acts.manifest,
        *acts.settings,
        *acts.manifest["shards"][0],
        *acts.settings["corpus"],
        *acts.settings["model"],
    ]
    with h5py.File(acts.shards[0]) as file:
        named += [
            *file.attrs,
            *file["texts"],
            *file["tokens"],
            *file["sites/resid_post.1"],
            *file["sites/resid_post.1"].attrs,
        ]
    assert [name for name in named if f"`{name}`" not in words and f"/{name}`" not in words] == []


def test_a_portable_copy_is_read_without_plugins_and_is_the_same_recording(
    recorded: Callable[..., Activations], tmp_path: Path
) -> None:
    acts = recorded(tmp_path / "store")
    copy = repack(acts, tmp_path / "copy", packing="gzip")
    assert (copy.fingerprint, copy.settings) == (acts.fingerprint, acts.settings)
    assert copy.manifest["filter"] == "gzip"
    assert copy.provenance["repacked"]["from"] == "store"
    assert verify(copy.path).ok
    np.testing.assert_array_equal(copy.pooled("resid_post.1"), acts.pooled("resid_post.1"))
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(copy.shards[0])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first = np.concatenate([one.values for one in copy.where(copy.frame.index >= 0).tokens("resid_post.1")])
    plain = np.array(json.loads(done.stdout), np.float32)
    np.testing.assert_array_equal(plain, first[: len(plain)])
    refused = subprocess.run(
        [sys.executable, "-c", PLAIN, str(acts.shards[0])], capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0, "the usual packing needs the plugin, as the document says"
    back = repack(copy, tmp_path / "back", packing="lz4")
    assert [one["sha256"] for one in back.manifest["shards"]] == [one["sha256"] for one in acts.manifest["shards"]]


def test_repacking_goes_on_where_it_stopped_and_refuses_what_makes_no_sense(
    recorded: Callable[..., Activations], tmp_path: Path
) -> None:
    acts = recorded(tmp_path / "store")
    whole = repack(acts, tmp_path / "whole")
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in ("corpus.parquet", "shard-00000.h5"):
        (begun / name).write_bytes((whole.path / name).read_bytes())
    header = json.loads((whole.path / "manifest.json").read_text())
    (begun / "recording.json").write_text(
        json.dumps({key: header[key] for key in ("encoding-type", "encoding-version", "settings")})
    )
    time = (begun / "shard-00000.h5").stat().st_mtime_ns
    assert repack(acts, begun).manifest["shards"] == whole.manifest["shards"]
    assert (begun / "shard-00000.h5").stat().st_mtime_ns == time
    with pytest.raises(ConfigError, match=r"unknown filter 'zip' .did you mean 'gzip'"):
        repack(acts, tmp_path / "x", packing="zip")
    with pytest.raises(StoreError, match="this view shows 4 of 9 texts"):
        repack(acts.where([0, 1, 2, 3]), tmp_path / "x")
    with pytest.raises(StoreError, match="is the store itself"):
        repack(acts, acts.path)
    assert not (tmp_path / "x").exists()


def test_other_settings_show_both_provenances(recorded: Callable[..., Any], tmp_path: Path) -> None:
    recorded(tmp_path / "store")
    with pytest.raises(
        StoreError, match=r"offset: there 5, now 6\); there: 20\S+ by '.*' \(emovec_sae .*\); now: 20\S+ by"
    ):
        recorded(tmp_path / "store", offset=6)
