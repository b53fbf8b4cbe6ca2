"""Selectors of latents and controls: each order against a plain computation, each control wrong in one way only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from emovec_sae.errors import ConfigError, MismatchError
from emovec_sae.interventions.arms import latent_arms, remainder_arms
from emovec_sae.interventions.comparison.controls import (
    covariance_arms,
    flipped_arms,
    other_emotion_arms,
    permuted_label_arms,
)
from emovec_sae.interventions.comparison.selectors import SELECTORS, Sources, select_latents
from emovec_sae.interventions.comparison.selectors.amplified import amplify
from emovec_sae.interventions.edits import Shift
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.sites import Site

SITE = Site("resid_post", 1)
EMOTIONS = ("afraid", "happy")
D, LATENTS = 32, 60
FINGERPRINT = "f" * 64


def rows() -> Any:
    import torch

    return torch.nn.functional.normalize(torch.randn(LATENTS, D, generator=torch.Generator().manual_seed(1)), dim=1)


def coder() -> Any:
    import torch

    norms = torch.linspace(1, 2, LATENTS)
    return SimpleNamespace(directions=rows(), decoder_norms=norms, site=SITE, name="planted", fingerprint=FINGERPRINT)


def contrast() -> Any:
    """Ranks of 8 latents an emotion, the first of them dense; the vector is their sum and a rest."""
    random = np.random.default_rng(3)
    ranks, vectors = [], []
    for first, emotion in enumerate(EMOTIONS):
        latents = np.arange(8) + 10 * first
        delta = np.linspace(2, 0.5, 8) * np.where(np.arange(8) % 3 == 2, -1, 1)
        area = random.permutation(np.linspace(0.1, 0.95, 8))
        for rank in range(8):
            facts = {"emotion": emotion, "rank": rank + 1, "latent": latents[rank], "coefficient": delta[rank]}
            ranks.append({**facts, "share": 0.1 - 0.01 * rank, "dense": rank == 0, "auroc": area[rank]})
        vectors.append(delta @ rows().numpy()[latents] + 0.3 * random.standard_normal(D))
    table = pd.DataFrame(ranks)
    index = np.unique(table["latent"].to_numpy())
    coefficients = np.stack([np.arange(len(index)) + 100.0 * row for row in range(2)])
    for row, emotion in enumerate(EMOTIONS):
        own = table[table["emotion"] == emotion]
        coefficients[row, np.searchsorted(index, own["latent"])] = own["coefficient"]
    return SimpleNamespace(
        emotions=EMOTIONS, ranks=table, index=index, coefficients=coefficients, vectors=np.stack(vectors), k=8,
        row=EMOTIONS.index, sae="planted", sae_fingerprint=FINGERPRINT, method="contrast",
        firing_rate=np.geomspace(0.001, 0.09, LATENTS), latents=lambda *_, **__: (np.arange(3), np.ones(3)),
    )  # fmt: skip


def other(latents: list[int]) -> Any:
    """A decomposition by another method, with the same latents for each emotion."""
    ranks = [
        {"emotion": emotion, "rank": rank, "latent": latent, "coefficient": 5.0 + rank, "dense": False}
        for emotion in EMOTIONS
        for rank, latent in enumerate(latents, 1)
    ]
    return SimpleNamespace(
        ranks=pd.DataFrame(ranks), emotions=EMOTIONS, row=EMOTIONS.index, k=len(latents), sae_fingerprint=FINGERPRINT,
        latents=lambda emotion, k, *, dense: (np.asarray(latents[:k]), np.full(k, 10.0 * k)),
    )  # fmt: skip


def sources(**more: Any) -> Sources:
    return Sources(contrast=contrast(), coder=coder(), **more)


def test_delta_share_keeps_the_order_of_the_contrast_without_its_dense_latent() -> None:
    found = select_latents("share", sources())
    latents, amounts = found.latents("afraid", 3)
    assert latents.tolist() == [1, 2, 3]
    assert (amounts < 0).tolist() == [False, True, False]
    assert found.k == 7
    assert found.frame()["rank"].tolist() == [*range(1, 8)] * 2
    with pytest.raises(ConfigError, match=r"nothing was selected for 'hapy'.*happy"):
        found.latents("hapy")


def test_auroc_orders_by_the_distance_from_one_half() -> None:
    found = select_latents("auroc", sources()).table
    ranks = contrast().ranks
    for emotion in EMOTIONS:
        own = ranks[(ranks["emotion"] == emotion) & ~ranks["dense"]]
        right = own.assign(far=(own["auroc"] - 0.5).abs()).sort_values("far", ascending=False)
        got = found[found["emotion"] == emotion]
        assert got["latent"].tolist() == right["latent"].tolist()
        assert got["amount"].tolist() == right["coefficient"].tolist()


def test_omp_has_amounts_of_its_own_that_depend_on_k() -> None:
    found = select_latents("omp", sources(others={"omp": other([5, 40, 2])}))
    assert found.latents("happy", 2)[0].tolist() == [5, 40]
    assert found.latents("happy", 2)[1].tolist() == [20.0, 20.0]
    assert found.latents("happy", 3)[1].tolist() == [30.0] * 3
    stranger = other([1])
    stranger.sae_fingerprint = "0" * 64
    with pytest.raises(ConfigError, match="different SAEs"):
        select_latents("omp", sources(others={"omp": stranger}))


def test_attribution_takes_the_contrasts_amounts_and_passes_over_latents_without_one() -> None:
    found = select_latents("attribution", sources(others={"attribution": other([15, 50, 3])}))
    latents, amounts = found.latents("afraid")
    assert latents.tolist() == [15, 3]
    whole = contrast()
    assert amounts.tolist() == [whole.coefficients[0][whole.index == latent][0] for latent in (15, 3)]


def test_matched_latents_fire_and_are_written_alike_and_are_none_of_the_emotions_own() -> None:
    found = select_latents("matched", sources(seed=5)).table
    whole = contrast()
    norms = coder().decoder_norms.numpy()
    for emotion in EMOTIONS:
        mine = whole.ranks[(whole.ranks["emotion"] == emotion) & ~whole.ranks["dense"]]
        drawn = found[found["emotion"] == emotion]
        assert not set(drawn["latent"]) & set(mine["latent"])
        assert drawn["latent"].is_unique
        assert drawn["amount"].tolist() == mine["coefficient"].tolist()
        # rate and norm both rise with the latent's number here: near in both is near in number
        apart = np.abs(drawn["latent"].to_numpy() - mine["latent"].to_numpy())
        assert apart.max() < 22
        assert np.abs(norms[drawn["latent"]] / norms[mine["latent"]] - 1).max() < 0.4
    again = select_latents("matched", sources(seed=5)).table
    assert again["latent"].tolist() == found["latent"].tolist()
    assert select_latents("matched", sources(seed=6)).table["latent"].tolist() != found["latent"].tolist()


PROMPTS = ["The stone lay by", "A river ran past the old lamp", "It was"]


@pytest.fixture(scope="module")
def model(tiny: Callable[..., Model]) -> Model:
    return tiny("llama", seed=3)


def test_amplified_latents_are_read_as_one_by_one(model: Model) -> None:
    import torch

    some = rows()[:40]
    found = amplify(model, some, PROMPTS, site=SITE, strength=0.5)
    ids = [model.tokens.encode([prompt])[0] for prompt in PROMPTS]
    norms = []
    for one in ids:
        hidden = forward(model, pad([one], pad_id=0, device=model.device), read=[SITE]).values[SITE][0]
        norms += hidden[torch.from_numpy(model.tokens.counted(one))].norm(dim=-1).tolist()
    size = 0.5 * float(np.mean(norms))

    def last(one: list[int], edits: list[Shift]) -> Any:
        final = forward(model, pad([one], pad_id=0, device=model.device), edits=edits, final=True).final
        assert final is not None
        with torch.no_grad():
            return model.head(final[0, -1]).log_softmax(-1)

    for latent in (0, 17, 39):  # of the first and of a later batch
        own = (model.unembedding() @ some[latent]).topk(10).indices
        edit = Shift(some[latent].numpy(), site=SITE, coefficient=size)
        base, added = [last(one, []) for one in ids], [last(one, [edit]) for one in ids]
        gain = [float(b[own].logsumexp(0) - a[own].logsumexp(0)) for a, b in zip(base, added, strict=True)]
        sure = [abs(float(b.max() - a.max())) for a, b in zip(base, added, strict=True)]
        assert found["output"][latent] == pytest.approx(np.mean(gain), abs=2e-5)
        assert found["confidence"][latent] == pytest.approx(np.mean(sure), abs=2e-5)
    assert found["output"].std() > 1e-3


def test_output_score_and_confidence_order_candidates_by_what_amplifying_them_did(model: Model) -> None:
    given = sources(model=model, prompts=PROMPTS, strength=0.5)
    tried = amplify(model, rows()[:20], PROMPTS, site=SITE, strength=0.5)
    for selector, column in (("output score", "output"), ("confidence", "confidence")):
        own = select_latents(selector, given).table
        own = own[own["emotion"] == "happy"]
        assert sorted(own["latent"]) == list(range(11, 18))
        assert own["latent"].tolist() == tried[column][11:18].sort_values(ascending=False).index.tolist()
    with pytest.raises(ConfigError, match="give a model and prompts"):
        select_latents("output score", sources())


def test_a_latent_that_was_tried_is_not_tried_again(model: Model) -> None:
    known: dict[int, tuple[float, float]] = {}
    first = replace(sources(model=model, prompts=PROMPTS, strength=0.5), amplified=known)
    own = select_latents("output score", first).table
    assert set(known) == set(own["latent"])
    known[11] = (1e6, 0.0)  # what is known is believed
    again = select_latents("output score", replace(first, model=model)).table
    assert again[again["emotion"] == "happy"]["latent"].iloc[0] == 11


def test_a_selector_that_is_not_there_or_lacks_a_source_says_so() -> None:
    with pytest.raises(ConfigError, match=r"unknown selector 'outputscore'.*output score"):
        select_latents("outputscore", sources())
    with pytest.raises(ConfigError, match="needs a decomposition by omp"):
        select_latents("omp", sources())
    without = replace(sources(), contrast=SimpleNamespace(**{**vars(contrast()), "firing_rate": None}))
    with pytest.raises(ConfigError, match="needs firing rates"):
        select_latents("matched", without)
    assert set(SELECTORS) >= {"share", "omp", "auroc", "attribution", "output score", "confidence", "matched"}


def test_latents_and_remainder_add_up_to_the_vector() -> None:
    whole = contrast()
    chosen = select_latents("share", sources())
    alone = latent_arms(chosen, coder(), ["happy"], sizes=(2, 5), selector="auroc")
    left = remainder_arms(whole, coder(), ["happy"], sizes=(2, 5), chosen=chosen)
    assert [arm.name for arm in alone + left] == ["k=2, auroc", "k=5, auroc", "remainder of k=2", "remainder of k=5"]
    for one, rest, k in zip(alone, left, (2, 5), strict=True):
        latents, amounts = chosen.latents("happy", k)
        part = amounts @ rows().numpy()[latents]
        np.testing.assert_allclose(one.edit.unit, part / np.linalg.norm(part), atol=1e-6)
        remainder = whole.vectors[1] - part
        np.testing.assert_allclose(rest.edit.unit, remainder / np.linalg.norm(remainder), atol=1e-6)
    stranger = coder()
    stranger.fingerprint = "0" * 64
    with pytest.raises(MismatchError, match="made with SAE 'planted'"):
        remainder_arms(whole, stranger, ["happy"], sizes=(2,), chosen=chosen)


class Directions(dict[str, Any]):
    removed = np.eye(D, dtype=np.float32)[:1]


def direction_set() -> Any:
    made = np.random.default_rng(0).standard_normal((3, D)).astype(np.float32)
    return Directions({name: SimpleNamespace(vector=made[row], site=SITE) for row, name in enumerate("abc")})


def test_random_directions_with_the_covariance_lie_where_the_activations_vary() -> None:
    random = np.random.default_rng(0)
    scale = np.where(np.arange(D) < 2, 10.0, 0.1)
    values = random.standard_normal((400, D)) * scale + 50
    arms = covariance_arms(SITE, values, draws=60, seed=1)
    units = np.stack([arm.edit.unit for arm in arms])
    assert (np.square(units[:, :2]).sum(axis=1) > 0.8).mean() > 0.9  # 2 of 32 dimensions hold 99.9 % of the variance
    assert abs(units[:, 0].mean()) < 0.4, "the mean of the activations is in the draws"
    assert arms[3].draw == 3
    assert arms[3].emotion is None
    with pytest.raises(ConfigError, match="at least 2 activations"):
        covariance_arms(SITE, values[:1], draws=1, seed=0)


def test_other_emotions_are_never_ones_own_and_each_is_used_once() -> None:
    fitted = direction_set()
    arms = other_emotion_arms(fitted, ["a", "b", "c"], seed=0)
    used = []
    for arm in arms:
        cosines = {name: float(arm.edit.unit @ one.vector / np.linalg.norm(one.vector)) for name, one in fitted.items()}
        used.append(max(cosines, key=lambda name: cosines[name]))
        assert used[-1] != arm.emotion
        assert cosines[used[-1]] == pytest.approx(1.0, abs=1e-5)
    assert sorted(used) == ["a", "b", "c"]
    with pytest.raises(ConfigError, match="at least 2 emotions"):
        other_emotion_arms(fitted, ["a"], seed=0)
    flipped = flipped_arms(fitted, ["b"])[0]
    np.testing.assert_allclose(flipped.edit.unit * np.linalg.norm(fitted["b"].vector), -fitted["b"].vector, atol=1e-6)


def test_permuted_labels_lose_the_emotion_and_keep_group_and_denoising() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 40)
    groups = np.tile(np.repeat(["g", "h"], 20), 3)
    truth = 5 * np.eye(D)[3:6]
    values = truth[np.repeat([0, 1, 2], 40)] + random.standard_normal((120, D))
    values[groups == "h"] += 30 * np.eye(D)[8]
    arms = permuted_label_arms(
        direction_set(), ["a", "b"], values=values, labels=list(labels), groups=list(groups), seed=0
    )
    kept = values[labels == "a"].mean(axis=0) - values.mean(axis=0)
    assert abs(float(arms[0].edit.unit @ kept) / np.linalg.norm(kept)) < 0.8
    for arm in arms:
        assert arm.edit.unit[0] == pytest.approx(0.0, abs=1e-7), "the denoising was left out"
        assert abs(arm.edit.unit[8]) < 0.5, "a group leaked into a label"
    with pytest.raises(ConfigError, match="no text is labelled c"):
        permuted_label_arms(
            direction_set(), ["c"], values=values[:80], labels=list(labels[:80]), groups=list(groups[:80]), seed=0
        )
