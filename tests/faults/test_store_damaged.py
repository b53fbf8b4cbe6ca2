"""A damaged store is found out, said in one line, and repaired to the very same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from emovec_sae.errors import StoreError
from emovec_sae.provenance import read_json, write_json
from emovec_sae.store.reader import Activations, open_activations
from emovec_sae.store.shard import open_shard
from emovec_sae.store.verify import verify

SITE = "resid_post.1"


@pytest.fixture
def store(recorded: Callable[..., Any], tmp_path: Path) -> Path:
    return recorded(tmp_path / "store").path


def one_line(error: StoreError) -> str:
    assert "\n" not in str(error)
    return str(error)


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-700])


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 0x40
    file.write_bytes(bytes(data))


def values_at(file: Path) -> int:
    """Where the stored bytes of the tokens' values begin in a shard."""
    with h5py.File(file) as opened:
        return opened[f"sites/{SITE}/none"].id.get_chunk_info(0).byte_offset


def attribute(file: Path, name: str, value: str) -> None:
    with h5py.File(file, "r+") as opened:
        opened.attrs[name] = value


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncate, "cut short: "),
    "emptied": (lambda file: file.write_bytes(b""), "cut short: 0 of "),
    "missing": (Path.unlink, "missing"),
    "no HDF5": (lambda file: file.write_text("hello" * 4000), "no HDF5 file"),
    "flipped value": (lambda file: flip(file, values_at(file) + 40), "bytes changed: it cannot be read"),
    "appended": (lambda file: file.write_bytes(file.read_bytes() + b"x"), "bytes changed since it was recorded"),
    "duplicated": (
        lambda file: shutil.copy(file.with_name("shard-00002.h5"), file),
        "the same bytes as shard-00002.h5",
    ),
    "foreign": (lambda file: attribute(file, "recording", "0" * 64), "of another recording"),
    "another version": (lambda file: attribute(file, "encoding-version", "7"), "version 7; this package reads"),
    "no shard": (lambda file: attribute(file, "encoding-type", "table"), "is 'table' version 1; this package reads"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_repaired(recorded: Callable[..., Any], store: Path, kind: str) -> None:
    damage, problem = DAMAGE[kind]
    right, file = open_activations(store), store / "shard-00001.h5"
    pooled, fingerprint = right.pooled(SITE), right.fingerprint
    damage(file)
    found = verify(store)
    assert (found.ok, found.checked, found.repaired) == (False, 5, False)
    assert list(found.broken) == ["shard-00001.h5"]
    assert problem in found.broken["shard-00001.h5"]
    assert found.frame().to_dict("records") == [{"file": "shard-00001.h5", "problem": found.broken["shard-00001.h5"]}]
    kept = {one.name: one.stat().st_mtime_ns for one in store.glob("shard-*.h5") if one != file}
    assert verify(store, repair=True).repaired
    with pytest.raises(StoreError, match="has not finished"):
        open_activations(store)
    again = recorded(store)
    assert again.fingerprint == fingerprint
    np.testing.assert_array_equal(again.pooled(SITE), pooled)
    assert {one.name: one.stat().st_mtime_ns for one in store.glob("shard-*.h5") if one != file} == kept
    assert verify(store).ok


@pytest.mark.parametrize("kind", ["truncated", "emptied", "missing", "no HDF5"])
def test_a_store_with_a_damaged_shard_does_not_open(store: Path, kind: str) -> None:
    DAMAGE[kind][0](store / "shard-00001.h5")
    with pytest.raises(StoreError, match=r"shard-00001\.h5.*emovec verify .* --repair") as caught:
        open_activations(store)
    one_line(caught.value)


READS: list[Callable[[Activations], object]] = [
    lambda acts: acts.pooled(SITE),
    lambda acts: list(acts.tokens(SITE)),
    lambda acts: next(acts.shuffled(SITE, batch=10_000, seed=0)),
    lambda acts: acts.count_tokens(SITE),
]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", ["truncated", "emptied", "missing", "no HDF5"])
def test_a_shard_damaged_behind_an_open_store_is_one_line(
    store: Path, kind: str, read: Callable[[Activations], object]
) -> None:
    acts = open_activations(store)
    DAMAGE[kind][0](store / "shard-00001.h5")
    with pytest.raises(StoreError, match=r"shard-00001\.h5") as caught:
        read(acts)
    assert "--repair" in one_line(caught.value)


def test_a_shard_of_somebody_else_is_one_line(store: Path) -> None:
    acts = open_activations(store)
    with h5py.File(store / "shard-00001.h5", "w") as file:
        file["x"] = np.arange(3)
    with pytest.raises(StoreError, match=r"shard-00001\.h5 is 'None' version None; this package reads 'emovec-shard'"):
        acts.pooled(SITE)


def test_a_shard_without_a_node_names_it(store: Path) -> None:
    acts = open_activations(store)
    with h5py.File(store / "shard-00001.h5", "r+") as file:
        del file[f"sites/{SITE}/mean"]
    with pytest.raises(StoreError, match=rf"cannot read node 'sites/{SITE}/mean' of .*shard-00001\.h5: damaged"):
        acts.pooled(SITE)


def test_a_value_that_cannot_be_unpacked_names_the_node(store: Path) -> None:
    acts, file = open_activations(store), store / "shard-00001.h5"
    place = values_at(file)
    data = bytearray(file.read_bytes())
    data[place : place + 16] = b"\xff" * 16  # the header of the compressed chunk
    file.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=rf"cannot read node 'sites/{SITE}/none' of .*shard-00001\.h5: damaged"):
        list(acts.tokens(SITE))
    assert not verify(store).ok


def test_a_foreign_file_beside_the_shards_is_told_and_dropped(recorded: Callable[..., Any], store: Path) -> None:
    fingerprint = open_activations(store).fingerprint
    shutil.copy(store / "shard-00000.h5", store / "shard-00077.h5")
    assert verify(store).broken == {"shard-00077.h5": "not named in the manifest"}
    assert open_activations(store).pooled(SITE).shape == (9, 32), "it is no part of the store"
    verify(store, repair=True)
    assert recorded(store).fingerprint == fingerprint
    assert not (store / "shard-00077.h5").exists()


@pytest.mark.parametrize("damage", [truncate, Path.unlink, lambda file: file.write_text("")])
def test_texts_that_are_damaged_are_one_line(store: Path, damage: Callable[[Path], object]) -> None:
    damage(store / "corpus.parquet")
    for read in (open_activations, verify):
        with pytest.raises(StoreError, match=r"corpus\.parquet is missing or") as caught:
            read(store)
        one_line(caught.value)


@pytest.mark.parametrize("key", ["settings", "shards", "residual_norm", "fingerprint", "provenance", "corpus_sha256"])
def test_a_manifest_that_lacks_a_key_names_it(store: Path, key: str) -> None:
    manifest = read_json(store / "manifest.json")
    write_json(store / "manifest.json", {name: value for name, value in manifest.items() if name != key})
    for read in (open_activations, verify):
        with pytest.raises(StoreError, match=f"lacks '{key}'"):
            read(store)


def test_a_manifest_that_points_outside_is_refused(store: Path) -> None:
    manifest = read_json(store / "manifest.json")
    shutil.copy(store / "shard-00000.h5", store.parent / "shard-00000.h5")
    manifest["shards"][0]["file"] = "../shard-00000.h5"
    write_json(store / "manifest.json", manifest)
    with pytest.raises(StoreError, match="is missing"):
        open_activations(store)


def test_a_version_that_is_not_ours_is_named(store: Path) -> None:
    manifest = read_json(store / "manifest.json")
    write_json(store / "manifest.json", {**manifest, "encoding-version": "9"})
    for read in (open_activations, verify):
        with pytest.raises(StoreError, match="version 9; this package reads 'emovec-activations' version 1"):
            read(store)


def test_a_place_without_a_store_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there are no activations at .*emovec record"):
        open_activations(tmp_path / "none")
    with pytest.raises(StoreError, match=r"there is no manifest\.json"):
        verify(tmp_path / "none")


def test_a_copied_store_reads_the_same(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "copy")
    one, other = open_activations(store), open_activations(tmp_path / "copy")
    assert one.fingerprint == other.fingerprint
    np.testing.assert_array_equal(one.pooled(SITE), other.pooled(SITE))


@pytest.fixture
def unfinished(recorded: Callable[..., Any], tmp_path: Path) -> Path:
    """A recording that stopped after three of its five shards."""
    left = iter(range(3))

    def stop(_done: int, _total: int) -> None:
        if next(left) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recorded(tmp_path / "store", progress=stop)
    return tmp_path / "store"


def test_an_unfinished_store_is_checked_too(recorded: Callable[..., Any], unfinished: Path, store_twin: str) -> None:
    found = verify(unfinished)
    assert (found.ok, found.complete, found.checked) == (True, False, 3)
    flip(unfinished / "shard-00000.h5", values_at(unfinished / "shard-00000.h5") + 40)
    shutil.copy(unfinished / "shard-00001.h5", unfinished / "shard-00002.h5")
    found = verify(unfinished, repair=True)
    assert found.broken == {
        "shard-00000.h5": "bytes changed: it cannot be read",
        "shard-00002.h5": "the same bytes as shard-00001.h5",
    }
    assert [one.name for one in sorted(unfinished.glob("shard-*.h5"))] == ["shard-00001.h5"]
    assert recorded(unfinished).fingerprint == store_twin


@pytest.fixture
def store_twin(recorded: Callable[..., Any], tmp_path: Path) -> str:
    return recorded(tmp_path / "twin").fingerprint


@pytest.mark.parametrize("kind", [name for name in DAMAGE if name not in ("missing", "appended")])
def test_going_on_does_not_trust_a_damaged_shard(
    recorded: Callable[..., Any], unfinished: Path, store_twin: str, kind: str
) -> None:
    DAMAGE[kind][0](unfinished / "shard-00001.h5")
    assert recorded(unfinished).fingerprint == store_twin


def read_all(file: Path) -> dict[str, bytes]:
    """Everything that the package reads of a shard."""
    with open_shard(file) as shard:
        found = shard.contents()
        facts = {"recording": shard.recording.encode(), "norms": repr(found.norms).encode()}
    parts = {name: getattr(found, name) for name in ("rows", "n_tokens", "start", "token_id", "position", "pooled")}
    parts |= {f"{site}/{pool}": array for site, pools in found.values.items() for pool, array in pools.items()}
    return facts | {name: array.tobytes() for name, array in parts.items()}


def test_a_bit_flipped_in_any_part_is_found_and_never_read_as_something_else(store: Path) -> None:
    """Every 23rd byte of a shard, so each node, attribute, chunk and index: a read fails, or gives what was stored."""
    file = store / "shard-00001.h5"
    right, whole = file.read_bytes(), read_all(file)
    outcome = {"refused": 0, "unharmed": 0}
    for place in range(0, len(right), 23):
        flip(file, place)
        assert not verify(store).ok, f"verify did not see byte {place}"
        try:
            found = read_all(file)
        except StoreError as error:
            one_line(error)
            outcome["refused"] += 1
        else:
            assert found == whole, f"byte {place} was read as something else"
            outcome["unharmed"] += 1
        file.write_bytes(right)
    assert outcome["refused"] > outcome["unharmed"], outcome
    assert outcome["unharmed"] > 0, "free space and spare bytes are part of every file"
