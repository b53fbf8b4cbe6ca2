"""Batches: the plan, memory that runs out, and the budget that a probe finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emovec_sae.errors import ConfigError, ModelError
from emovec_sae.models.model import Model
from emovec_sae.provenance import read_json
from emovec_sae.recording import budget as room
from emovec_sae.recording import plan as plans
from emovec_sae.recording.budget import find_budget
from emovec_sae.recording.plan import make_plan
from emovec_sae.recording.reading import Reading
from emovec_sae.recording.record import record
from emovec_sae.recording.texts import Texts, prepare
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_corpus, tiny_model

SITES = {"resid_post.1": ("mean", "last", "max", "none"), "mlp_out.2": ("mean",)}
FULL = ["CUDA out of memory. Tried to allocate 2.00 GiB", "DefaultCPUAllocator: can't allocate memory: you tried"]


@contextmanager
def memory(model: Model, tokens: int, message: str = FULL[0]) -> Iterator[list[int]]:
    """Let the second block run out of memory on batches of more than `tokens` padded tokens; gives the sizes tried."""
    tried: list[int] = []

    def hook(_module: Any, _inputs: Any, output: Any) -> None:
        value = output[0] if isinstance(output, tuple) else output
        tried.append(value.shape[0] * value.shape[1])
        if tried[-1] > tokens:
            raise torch.OutOfMemoryError(message)

    handle = model.module.get_submodule("model.layers.1").register_forward_hook(hook)
    yield tried
    handle.remove()


@given(st.lists(st.integers(1, 400), min_size=1, max_size=80), st.integers(1, 1000), st.integers(1, 40))
def test_a_plan_has_every_text_once_within_the_budget(lengths: list[int], budget: int, per_shard: int) -> None:
    plan = make_plan(lengths, budget=budget, per_shard=per_shard)
    rows = [row for shard in range(len(plan.shards)) for row in plan.rows(shard)]
    assert sorted(rows) == list(range(len(lengths)))
    for shard in plan.shards:
        for batch in shard:
            assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget
        assert sum(map(len, shard[:-1])) < per_shard
    assert plan == make_plan(np.array(lengths), budget=budget, per_shard=per_shard)


def test_a_shard_of_long_texts_is_closed_by_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "TOKENS_PER_SHARD", 100)
    assert [len(shard) for shard in make_plan([60] * 5, budget=60).shards] == [2, 2, 1]


@pytest.mark.parametrize("message", FULL)
def test_a_batch_that_does_not_fit_is_halved_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, message: str
) -> None:
    model, corpus = tiny_model(), tiny_corpus(repeats=2)
    right = record(model, corpus, sites=SITES, offset=5, budget=600, out=tmp_path / "right")
    with memory(model, 200, message) as tried:
        acts = record(model, corpus, sites=SITES, offset=5, budget=600, out=tmp_path / "short")
    assert acts.settings == right.settings, "the plan stays what it was"
    assert acts.provenance["batches_cut_to"] <= 300
    assert "batches_cut_to" not in right.provenance
    assert sum(size > 200 for size in tried) <= 2, "the batches after it were not made smaller"
    assert "ran out of memory at" in caplog.text
    for site, pools in SITES.items():
        for pool in set(pools) - {"none"}:
            np.testing.assert_allclose(acts.pooled(site, pool), right.pooled(site, pool), atol=1e-5)
    one, other = (np.concatenate([chunk.values for chunk in a.tokens("resid_post.1")]) for a in (acts, right))
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_text_that_does_not_fit_alone_is_named_and_whole_shards_stay(
    recorded: Callable[..., Any], tmp_path: Path
) -> None:
    model = tiny_model()
    longest = int(tiny_corpus().frame["text"].str.len().max())
    with memory(model, longest - 1), pytest.raises(ModelError, match=rf"no memory for text '.*' alone \({longest} tok"):
        recorded(tmp_path / "store", model=model)
    acts, right = recorded(tmp_path / "store"), recorded(tmp_path / "right")
    for site in right.sites:  # halved batches differ by rounding
        np.testing.assert_allclose(acts.pooled(site), right.pooled(site), atol=1e-5)


def test_another_error_of_the_model_is_not_taken_for_short_memory(tmp_path: Path) -> None:
    model = tiny_model()
    with memory(model, 0, "shapes cannot be multiplied"), pytest.raises(RuntimeError, match="shapes"):
        record(model, tiny_corpus(), sites="resid_post.2", offset=5, out=tmp_path / "a")


@pytest.fixture
def texts(tiny: Callable[..., Model]) -> Texts:
    return prepare(tiny(), tiny_corpus(repeats=3), Reading(offset=5), ("mean",))


def probed(texts: Texts, monkeypatch: pytest.MonkeyPatch, speeds: dict[int, float | None]) -> tuple[int, list[int]]:
    """The budget found where a batch of each size has a planted speed, and the sizes that were tried."""
    tried: list[int] = []

    def rate(_runner: Any, _texts: Any, _order: Any, size: int) -> float | None:
        tried.append(size)
        return speeds[size]

    monkeypatch.setattr(room, "_WORTH", 0)
    monkeypatch.setattr(room, "_rate", rate)
    return find_budget(tiny_model(), texts, [Site("resid_post", 1)]), tried


@pytest.mark.parametrize(
    ("speeds", "best", "tried"),
    [
        ({128: 1, 256: 2, 512: 3, 1024: 2, 2048: 9, 4096: 9}, 512, {512, 256, 1024}),
        ({128: 1, 256: 2, 512: 3, 1024: 4, 2048: 5, 4096: 4.9}, 2048, {512, 256, 1024, 2048, 4096}),
        ({128: 8, 256: 4, 512: 3, 1024: 2, 2048: 9, 4096: 9}, 128, {512, 256, 128, 1024}),
        ({128: 1, 256: 2, 512: 3, 1024: 3.1, 2048: 2, 4096: 2}, 512, {512, 256, 1024, 2048}),
        ({128: 1, 256: 2, 512: 3, 1024: 5, 2048: None, 4096: 9}, 1024, {512, 256, 1024, 2048}),
        ({128: 1, 256: 2, 512: None, 1024: 5, 2048: 9, 4096: 9}, 512, {512}),
    ],
)
def test_the_probe_climbs_to_the_fastest_budget(
    texts: Texts, monkeypatch: pytest.MonkeyPatch, speeds: dict[int, float | None], best: int, tried: set[int]
) -> None:
    found, sizes = probed(texts, monkeypatch, speeds)
    assert found == best
    assert set(sizes) == tried
    assert len(sizes) == len(tried)


def test_the_probe_runs_the_model(tiny: Callable[..., Model], texts: Texts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_WORTH", 0)
    assert find_budget(tiny(), texts, [Site("resid_post", 1)]) in {128, 256, 512, 1024, 2048, 4096}


def test_a_short_corpus_is_not_probed(
    tiny: Callable[..., Model], texts: Texts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_rate", None)
    assert find_budget(tiny(), texts, [Site("resid_post", 1)]) == 512


def test_the_budget_that_was_found_is_kept_for_resuming(
    recorded: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    found = iter([130, 4000])
    monkeypatch.setattr("emovec_sae.recording.record.find_budget", lambda *_: next(found))
    with pytest.raises(KeyboardInterrupt):
        recorded(tmp_path / "store", budget=None, progress=stop)
    acts = recorded(tmp_path / "store", budget=None)
    assert acts.settings["budget"] == 130
    assert read_json(tmp_path / "store" / "manifest.json")["settings"]["budget"] == 130
    assert recorded(tmp_path / "store", budget=None).fingerprint == acts.fingerprint
    assert next(found) == 4000, "a second probe was made"


@pytest.mark.parametrize(("options", "said"), [({"engine": "rey"}, "unknown engine 'rey'"), ({"budget": 0}, "budget")])
def test_settings_that_make_no_sense_are_refused(
    recorded: Callable[..., Any], tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        recorded(tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()
