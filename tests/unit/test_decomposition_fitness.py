"""The fitness gate of decompose: refused, overridden and marked, or given."""

from __future__ import annotations

from dataclasses import replace

import pytest
from memory_store import plant, planted_coder

from emovec_sae.decomposition.api import decompose
from emovec_sae.decomposition.files import load_decomposition
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import MismatchError, UnfitError
from emovec_sae.saes.passport import passport
from emovec_sae.stats import Interval


@pytest.fixture(scope="module")
def planted():
    return plant(noise=0.3)


def run(planted, **options):
    fitted = fit_directions(planted.store, site="resid_post.2")
    return decompose(fitted, planted_coder(planted), planted.store, k=4, nulls=0, **options)


def poor(planted):
    low = Interval(0.31, 0.3, 0.32, 100, 12, 0.95, "made up")
    return replace(passport(planted_coder(planted), planted.store), explained_variance=low)


def test_a_quick_passport_goes_with_every_result(planted):
    found = run(planted)
    fit = found.provenance["fitness"]
    assert found.unfit is False
    assert fit["source"] == "quick"
    measured = passport(planted_coder(planted), planted.store, tokens=20_000, neighbours=0)
    assert fit["explained_variance"]["value"] == measured.explained_variance.value > 0.5
    assert fit["hash"] == measured.hash
    assert found.facts()["unfit"] is False
    assert "UNFIT" not in repr(found)
    assert found.provenance["d_sae"] == 16


def test_below_the_threshold_it_is_refused_or_marked(planted, tmp_path):
    with pytest.raises(UnfitError, match=r"explains 0\.31 .* 0\.50 is wanted"):
        run(planted, passport=poor(planted))
    with pytest.raises(UnfitError, match=r"1\.00 is wanted"):
        run(planted, min_explained=0.999)
    found = run(planted, passport=poor(planted), override=True)
    assert found.unfit is True
    assert found.facts()["unfit"] is True
    assert "UNFIT" in repr(found)
    found.save(tmp_path / "d.parquet")
    again = load_decomposition(tmp_path / "d.parquet")
    assert again.unfit is True
    assert again.facts()["fitness"]["source"] == "given"


def test_the_passport_of_another_sae_is_refused(planted):
    with pytest.raises(MismatchError, match="passport is one of SAE"):
        run(planted, passport=replace(poor(planted), fingerprint="0" * 64))


def test_without_activations_nobody_knows(planted):
    fitted = fit_directions(planted.store, site="resid_post.2")
    found = decompose(fitted, planted_coder(planted), method="omp", k=3, nulls=0)
    assert found.unfit is None
    with pytest.raises(UnfitError):
        decompose(fitted, planted_coder(planted), method="omp", k=3, nulls=0, passport=poor(planted))
