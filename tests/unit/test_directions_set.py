"""DirectionSet: fitting, what it holds, and files that must not lie."""

from __future__ import annotations

import json

import numpy as np
import pytest
from directions_planted import SITES, neutral, planted, some

from emovec_sae.directions import DirectionSet, NeutralComponents, fit_directions, load_directions
from emovec_sae.errors import ConfigError, MismatchError, StoreError


def fitted(seed: int = 0, **options) -> DirectionSet:
    acts, _ = planted(seed=seed)
    return fit_directions(acts, **({"site": "resid_post.2"} | options))


def test_auto_takes_the_site_that_carries_the_emotions() -> None:
    found = fitted(site="auto")
    assert found.site == SITES[1]
    scores = found.provenance["site_choice"]["top1"]
    assert scores["resid_post.2"] > scores["resid_post.1"]
    assert fitted().provenance["site_choice"] == {"how": "given"}


def test_vectors_are_denoised_and_keep_their_norms() -> None:
    acts, truth = planted()
    remove = NeutralComponents(neutral(truth[0]))
    plain, found = fit_directions(acts, site="resid_post.2"), fit_directions(acts, site="resid_post.2", remove=remove)
    assert np.abs(found.vectors @ found.removed.T).max() < 1e-5
    wanted = plain.vectors - (plain.vectors @ found.removed.T) @ found.removed
    np.testing.assert_allclose(found.vectors, wanted, atol=1e-5)
    np.testing.assert_allclose(found.norms, np.linalg.norm(wanted, axis=1), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.units, axis=1), 1, rtol=1e-6)
    assert (plain.residual_norm_of, found.residual_norm_of) == ("corpus-a", "neutral")
    assert found.residual_norm == 42.0
    assert found.provenance["remove"]["corpus_hash"] == "neutral"
    assert "e0" in found.emotions


def test_one_direction() -> None:
    found = fitted()
    one = found["e3"]
    np.testing.assert_array_equal(one.vector, found.vectors[3])
    assert (one.emotion, one.site, one.set) == ("e3", found.site, found)
    assert one.norm == pytest.approx(np.linalg.norm(one.vector))
    assert np.linalg.norm(one.scaled(0.5)) == pytest.approx(0.5 * found.residual_norm, rel=1e-5)
    assert [direction.emotion for direction in found] == list(found.emotions)


def test_unknown_emotion_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no direction for 'e33' \(did you mean 'e3'\?\)"):
        fitted()["e33"]


def test_arrays_are_read_only_and_the_caller_keeps_his() -> None:
    found = fitted()
    for array in (found.vectors, found.units, found.norms, found.removed):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_frame_tells_the_nearest_neighbour() -> None:
    found = fitted()
    table = found.frame()
    cosines = found.units @ found.units.T - 2 * np.eye(6)
    assert table["nearest"].tolist() == [f"e{row}" for row in cosines.argmax(axis=1)]
    np.testing.assert_allclose(table["cosine"], cosines.max(axis=1), rtol=1e-6)
    assert table["n_texts"].tolist() == [5] * 6


def test_fingerprint_follows_the_content() -> None:
    assert fitted().fingerprint == fitted().fingerprint
    assert fitted().fingerprint != fitted(seed=1).fingerprint
    assert fitted().fingerprint != fitted(readout="dot").fingerprint


def test_another_model_is_refused() -> None:
    found = fitted()
    found.check_model({"name": "same under another name", "fingerprint": "model-a"})
    with pytest.raises(MismatchError, match=r"'planted' \(fingerprint model-a\), not from 'other'"):
        found.check_model({"name": "other", "fingerprint": "model-b"})


def test_a_vector_without_length_is_refused() -> None:
    acts, _ = planted(emotions=2)
    values = {site: np.zeros_like(acts.pooled(site)) for site in acts.sites}
    acts.pooled = lambda site, pool="mean": values[site]
    with pytest.raises(ConfigError, match=r"the vector of 'e0' has no length"):
        fit_directions(acts, site="resid_post.2")


def test_written_and_read_again(tmp_path) -> None:
    acts, truth = planted()
    found = fit_directions(acts, site="auto", remove=NeutralComponents(neutral(truth[0])))
    path = found.save(tmp_path / "set.safetensors")
    again = load_directions(path)
    assert again.fingerprint == found.fingerprint
    assert again.emotions == found.emotions
    assert again.provenance == json.loads(json.dumps(found.provenance))
    for name, array in found.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    held = some(acts, np.arange(7))
    assert again.evaluate(held).frame().equals(found.evaluate(held).frame())
    assert load_directions(tmp_path / "set.json").fingerprint == found.fingerprint
    assert sorted(one.name for one in tmp_path.iterdir()) == ["set.json", "set.safetensors"]


def test_nothing_is_overwritten_unasked(tmp_path) -> None:
    path = fitted().save(tmp_path / "set.safetensors")
    with pytest.raises(ConfigError, match="exists and is not overwritten"):
        fitted(seed=1).save(path)
    assert load_directions(path).fingerprint == fitted().fingerprint
    fitted(seed=1).save(path, overwrite=True)
    assert load_directions(path).fingerprint == fitted(seed=1).fingerprint
    with pytest.raises(ConfigError, match=r"end in .safetensors"):
        fitted().save(tmp_path / "set.npz")


@pytest.mark.parametrize("keep", [0, 7, 300, -1])
def test_a_truncated_file_is_noticed(tmp_path, keep: int) -> None:
    path = fitted().save(tmp_path / "set.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StoreError, match="truncated or no safetensors file"):
        load_directions(path)


def test_a_sidecar_of_another_set_is_noticed(tmp_path) -> None:
    one, two = fitted().save(tmp_path / "one.safetensors"), fitted(seed=1).save(tmp_path / "two.safetensors")
    one.with_suffix(".json").write_bytes(two.with_suffix(".json").read_bytes())
    with pytest.raises(MismatchError, match="not of one pair"):
        load_directions(one)


@pytest.mark.parametrize(
    ("where", "value"),
    [(("facts", "site"), "resid_post.1"), (("facts", "emotions", 0), "joy"), (("provenance", "seed"), 9)],
)
def test_an_edited_sidecar_is_noticed(tmp_path, where: tuple, value: object) -> None:
    path = fitted().save(tmp_path / "set.safetensors")
    told = json.loads(path.with_suffix(".json").read_text())
    node = told
    for key in where[:-1]:
        node = node[key]
    node[where[-1]] = value
    path.with_suffix(".json").write_text(json.dumps(told))
    with pytest.raises(MismatchError, match="not of one pair"):
        load_directions(path)


def test_a_flipped_bit_is_noticed(tmp_path) -> None:
    path = fitted().save(tmp_path / "set.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(MismatchError, match="not of one pair"):
        load_directions(path)


def test_what_is_missing_or_no_sidecar_is_said(tmp_path) -> None:
    path = fitted().save(tmp_path / "set.safetensors")
    sidecar = path.with_suffix(".json")
    text = sidecar.read_text()
    sidecar.unlink()
    with pytest.raises(StoreError, match=r"no file .*set.json"):
        load_directions(path)
    for broken, message in ((text[:50], "is no JSON"), ("[]", "no sidecar of a direction set")):
        sidecar.write_text(broken)
        with pytest.raises(StoreError, match=message):
            load_directions(path)
    sidecar.write_text(text.replace('"encoding-version": "1"', '"encoding-version": "9"'))
    with pytest.raises(StoreError, match="this version reads"):
        load_directions(path)
