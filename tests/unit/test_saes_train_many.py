"""Several sites, seeds and stores in one pass: each SAE is the one that a run of its own makes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from planted_stores import BARE, SITE, plant
from training_planted import D_SAE, sparse_store

from emovec_sae.errors import ConfigError, MismatchError, StoreError
from emovec_sae.provenance import file_digest, read_json
from emovec_sae.saes.train import train_sae, train_saes
from emovec_sae.saes.training.stream import Scaled, shuffled
from emovec_sae.sites import Site
from emovec_sae.store.site_view import SiteActivations

OTHER = Site("resid_post", 3)


class TwoSites:
    """Two memory stores of the same texts as two sites of one."""

    def __init__(self, one, other):
        self.parts = {one.sites[0]: one, other.sites[0]: other}
        self.frame, self.model, self.sites = one.frame, one.model, tuple(self.parts)
        self.fingerprint, self.corpus_hash = one.fingerprint, one.corpus_hash

    def __getitem__(self, site):
        return SiteActivations(self, Site.parse(site))

    def where(self, rows):
        return TwoSites(*(part.where(rows) for part in self.parts.values()))

    def count_tokens(self, site):
        return self.parts[site].count_tokens(site)

    def shuffled(self, site, **options):
        return self.parts[site].shuffled(site, **options)


@pytest.fixture(scope="module")
def acts():
    one, other = sparse_store(), sparse_store(draw=1, sinks=False, site=OTHER)
    return TwoSites(one, other)


SETTINGS = {"d_sae": D_SAE, "k": 3, "tokens": 64 * 30, "batch": 64, "held_out": ["g7"], "dead_after": 4}


def weights(folder):
    return file_digest(folder / "sae_weights.safetensors")


def test_each_of_many_is_what_a_single_run_makes(acts, tmp_path):
    reads = Counter()

    class Counted(TwoSites):
        def shuffled(self, site, **options):
            reads[site] += options["batch"] == 64
            return super().shuffled(site, **options)

        def where(self, rows):
            return Counted(*(part.where(rows) for part in self.parts.values()))

    points = []
    found = train_saes(
        Counted(*acts.parts.values()), sites=["resid_post.2", OTHER], seeds=[0, 1], out=tmp_path / "many", **SETTINGS,
        watch=lambda name, point: points.append((name, point.step)),
    )  # fmt: skip
    assert list(found) == [(site, seed) for site in acts.sites for seed in (0, 1)]
    assert reads == dict.fromkeys(acts.sites, 1), "both seeds of a site read one stream"
    assert points[-4:] == [(f"{site}.seed-{seed}", 30) for site in acts.sites for seed in (0, 1)]
    for (site, seed), coder in found.items():
        folder = tmp_path / "many" / str(site) / f"seed-{seed}"
        alone = train_sae(acts[site], out=tmp_path / f"{site}-{seed}", seed=seed, **SETTINGS)
        assert weights(folder) == weights(tmp_path / f"{site}-{seed}")
        assert coder.fingerprint == alone.fingerprint
        assert coder.site == site
        assert coder.facts["training"]["seed"] == seed
    assert len({coder.fingerprint for coder in found.values()}) == 4
    assert {path.name for path in (tmp_path / "many").iterdir()} == {"resid_post.2", "resid_post.3"}
    assert not (tmp_path / "many.unfinished").exists()


def test_finished_ones_are_left_alone_and_the_missing_are_trained(acts, tmp_path):
    first = train_saes(acts, sites=[OTHER], seeds=[0], out=tmp_path / "many", **SETTINGS)
    before = (tmp_path / "many" / str(OTHER) / "seed-0" / "cfg.json").stat().st_mtime_ns
    names = set()
    both = train_saes(
        acts, sites=[OTHER], seeds=[0, 1], out=tmp_path / "many", **SETTINGS, watch=lambda name, _: names.add(name)
    )
    assert names == {f"{OTHER}.seed-1"}
    assert (tmp_path / "many" / str(OTHER) / "seed-0" / "cfg.json").stat().st_mtime_ns == before
    assert both[OTHER, 0].fingerprint == first[OTHER, 0].fingerprint
    with pytest.raises(ConfigError, match=r"seed-0' exists already, trained .* .k 3 there, 2 asked"):
        train_saes(acts, sites=[OTHER], seeds=[2, 0], out=tmp_path / "many", **{**SETTINGS, "k": 2})
    assert not (tmp_path / "many" / str(OTHER) / "seed-2").exists()


def test_many_stopped_while_they_are_written_are_finished_by_the_next_call(acts, tmp_path, monkeypatch):
    """A kill between two folders: the last checkpoint holds all, and only what is missing is written."""
    from emovec_sae.saes import train as module

    whole = train_saes(acts, sites=[OTHER], seeds=[0, 1], out=tmp_path / "whole", **SETTINGS)
    finish, written = module.finish, []

    def one_then_stop(job, *rest, **options):
        if written:
            raise KeyboardInterrupt
        written.append(job.name)
        return finish(job, *rest, **options)

    monkeypatch.setattr(module, "finish", one_then_stop)
    with pytest.raises(KeyboardInterrupt):
        train_saes(acts, sites=[OTHER], seeds=[0, 1], out=tmp_path / "cut", **SETTINGS)
    monkeypatch.undo()
    steps = []
    found = train_saes(
        acts, sites=[OTHER], seeds=[0, 1], out=tmp_path / "cut", **SETTINGS, progress=lambda done, _: steps.append(done)
    )
    assert steps == [], "no step is to be taken again"
    assert {key: coder.fingerprint for key, coder in found.items()} == {
        key: coder.fingerprint for key, coder in whole.items()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "whole"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sites": []}, "at least one site"),
        ({"seeds": []}, "at least one site and one seed"),
        ({"seeds": [1, 1]}, "can be named once"),
        ({"sites": ["resid_post.2", "resid_post.2"]}, "can be named once"),
    ],
)
def test_impossible_sets_are_refused(acts, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        train_saes(acts, **{"sites": ["resid_post.2"], "out": tmp_path / "many", **SETTINGS, **options})
    assert not list(tmp_path.iterdir())


def test_several_stores_are_mixed_and_all_are_named(acts, tmp_path):
    big, small = sparse_store(), sparse_store(texts=16, draw=2, prefix="u", sinks=False)
    coder = train_sae([big["resid_post.2"], small["resid_post.2"]], out=tmp_path / "sae", **SETTINGS)
    facts = coder.facts
    assert facts["training"]["unique_tokens"] == 50 * (70 + 14)
    assert [(store["activations"], store["texts"], store["tokens"]) for store in facts["stores"]] == [
        ("store t80", 70, 3500),
        ("store u16", 14, 700),
    ]
    assert {"t0", "u0"} < set(facts["texts"]["ids"])
    assert len(facts["texts"]["ids"]) == 84
    assert facts["l0"]["tokens"] == 50 * (10 + 2)
    again = read_json(tmp_path / "sae" / "emovec.json")
    assert again == facts


def test_stores_of_different_models_precisions_or_sites_are_not_mixed(tmp_path):
    one = sparse_store()["resid_post.2"]
    others = {
        "fingerprint": sparse_store(fingerprint="e" * 64)["resid_post.2"],
        "site": sparse_store(site=OTHER)[OTHER],
        "d_model": sparse_store(d=20)["resid_post.2"],
    }
    half = sparse_store()
    half.model = {**half.model, "dtype": "bfloat16"}
    others["dtype"] = half["resid_post.2"]
    for key, other in others.items():
        with pytest.raises(MismatchError, match=f"cannot be mixed: {key} is .* in the first store, .* in another"):
            train_sae([one, other], out=tmp_path / "sae", **SETTINGS)
    with pytest.raises(ConfigError, match="at least one store"):
        train_sae([], out=tmp_path / "sae", **SETTINGS)
    assert not list(tmp_path.iterdir())


def test_the_mixture_is_in_proportion_and_passes_through_each_store_evenly():
    stores = [sparse_store(texts=n, draw=n, prefix=f"p{n}-", sinks=False) for n in (64, 16, 8)]
    for mark, store in enumerate(stores):
        for text in store.texts:
            text[:, 0] = mark
    sources = [store["resid_post.2"] for store in stores]
    batches = shuffled(sources, batch=44, seed=0)
    taken = [next(batches) for _ in range(100)]
    counts = np.array([[(batch[:, 0] == mark).sum() for mark in range(3)] for batch in taken])
    assert (counts.sum(1) == 44).all()
    # 64, 16 and 8 of 88 texts; a batch takes whole tokens, the shares hold over the run.
    assert np.abs(counts - [32, 8, 4]).max() <= 1
    assert counts.sum(0).tolist() == [3200, 800, 400]
    seen = np.concatenate(taken)
    tokens = Counter(row.tobytes() for row in seen[seen[:, 0] == 0])
    assert len(tokens) == 3200, "one pass: each token once"
    first, again, other = (next(shuffled(sources, batch=44, seed=seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_mixture_of_stores_on_disk_meets_every_token_and_can_be_passed_over(tmp_path):
    """Through a buffer of 64 tokens; a stream that is passed over goes on as one that is read."""
    one, two = (plant(tmp_path / name, texts=30, seed=seed) for name, seed in (("a", 0), ("b", 1)))
    sources = [one.acts[SITE], two.acts[SITE]]
    total = len(one.all_tokens) + len(two.all_tokens)
    batches = shuffled(sources, batch=16, seed=0, buffer=64)
    seen = {row.tobytes() for batch in (next(batches) for _ in range(4 * total // 16)) for row in batch}
    assert seen == {row.tobytes() for row in np.concatenate([one.all_tokens, two.all_tokens])}
    read, passed = (Scaled(shuffled(sources, batch=16, seed=0), scale=2.0, limit=2.5, device="cpu") for _ in range(2))
    expected = [next(read) for _ in range(12)]
    passed.skip(11)
    assert torch.equal(next(passed), expected[-1])
    assert passed.dropped == read.dropped > 0
    with pytest.raises(StoreError, match="holds pooled values only"):
        train_sae([one.acts[BARE], two.acts[BARE]], out=tmp_path / "sae", d_sae=8, k=2, batch=16)
