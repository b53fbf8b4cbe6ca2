"""What cannot be recorded, or not into that folder, is refused in one line, and nothing there is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emovec_sae.corpora.frame import Corpus
from emovec_sae.errors import ConfigError, CorpusError, StoreError
from emovec_sae.provenance import file_digest, write_json
from emovec_sae.store.reader import open_activations
from emovec_sae.store.verify import verify
from emovec_sae.testing import tiny_corpus, tiny_model


def stop(done: int, total: int) -> None:
    """Break a recording off after its first shard."""
    raise RuntimeError("stopped by the test")


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
        with pytest.raises(RuntimeError, match="stopped"):
            recorded(out, progress=stop)
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


def test_a_shard_of_another_recording_is_not_taken_over(recorded: Callable[..., Any], tmp_path: Path) -> None:
    """Same texts, same plan, another model: only the shard's own mark tells."""
    recorded(tmp_path / "other", model=tiny_model(seed=7))
    fingerprint = recorded(tmp_path / "right").fingerprint
    out = tmp_path / "store"
    with pytest.raises(RuntimeError, match="stopped"):
        recorded(out, progress=stop)
    (out / "shard-00001.h5").write_bytes((tmp_path / "other" / "shard-00001.h5").read_bytes())
    assert recorded(out).fingerprint == fingerprint


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
    def one(text: str) -> Corpus:
        texts = ["long enough to be read", text]
        return Corpus.from_frame(pd.DataFrame({"id": ["good", "bad"], "text": texts}), name="mine")

    with pytest.raises(CorpusError, match="text 'bad' of mine has no token left to pool: 5 tokens"):
        recorded(tmp_path / "store", corpus=one("short"))
    with pytest.raises(CorpusError, match="text 'bad' of mine has 300 tokens; tiny-llama reads at most 256"):
        recorded(tmp_path / "store", corpus=one("x" * 300))
    with pytest.raises(CorpusError, match="'bad' of mine has no token left to pool: 1 tokens, of which the first 1"):
        recorded(tmp_path / "store", corpus=one("x"), offset=0)
    with pytest.raises(CorpusError, match=r"text 'bad' .* special ones are not used"):
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
