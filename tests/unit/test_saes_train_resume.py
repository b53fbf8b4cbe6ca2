"""Runs that stop and go on end as if they had not stopped; finished ones are left alone, others are refused."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
import torch
from memory_store import SITE
from training_planted import D_SAE, sparse_store

from emovec_sae.errors import ConfigError, ModelError
from emovec_sae.provenance import file_digest, read_json
from emovec_sae.saes.train import train_sae

SETTINGS = {"d_sae": D_SAE, "k": 3, "tokens": 64 * 40, "batch": 64, "held_out": ["g7"], "dead_after": 4}
HARD = {
    "topk": {},
    "matryoshka": {},
    "jumprelu": {"l0_warm_up_steps": 25},
    "gated": {"l1_warm_up_steps": 25},
    "standard": {"l1_warm_up_steps": 25},
}
"""Architectures, with penalties that still rise when the run is stopped."""


@pytest.fixture(scope="module")
def acts():
    return sparse_store()


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Stop(Exception):
    pass


def train(acts, out, *, until=None, **options):
    """Train with a checkpoint after each step; `until` some step, where given."""

    def progress(done, total):
        if until is not None and done == until * 64:
            raise Stop

    given = {"checkpoint_seconds": 0.0, "progress": progress, **SETTINGS, **options}
    return train_sae(acts[SITE], out=out, **given)


def stop(acts, out, until, **options):
    with pytest.raises(Stop):
        train(acts, out, until=until, **options)


def weights(out):
    return file_digest(out / "sae_weights.safetensors")


@pytest.mark.parametrize("architecture", HARD)
def test_a_run_stopped_twice_ends_in_the_very_weights(acts, tmp_path, architecture):
    options = {"architecture": architecture, "options": HARD[architecture]}
    train(acts, tmp_path / "whole", checkpoint_seconds=1e9, **options)
    stop(acts, tmp_path / "cut", 13, **options)
    # Progress is told before the step's checkpoint: twelve steps are safe.
    assert [one.name for one in (tmp_path / "cut.unfinished").iterdir()] == ["step-00000012"]
    stop(acts, tmp_path / "cut", 31, **options)
    seen = []
    coder = train_sae(
        acts[SITE], out=tmp_path / "cut", **SETTINGS, **options, progress=lambda done, _: seen.append(done)
    )
    assert seen[0] == 31 * 64, "it must go on, not start anew"
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert (tmp_path / "cut" / "training.csv").read_text() == (tmp_path / "whole" / "training.csv").read_text()
    facts = [read_json(tmp_path / name / "emovec.json") for name in ("cut", "whole")]
    for one in facts:
        one["training"].pop("seconds")
        one.pop("provenance")
    assert facts[0] == facts[1]
    assert coder.facts["training"]["sinks_left_out"] > 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cut", "whole"]


def test_checkpoints_hold_no_pickle(acts, tmp_path):
    stop(acts, tmp_path / "sae", 5)
    names = {one.name for one in (tmp_path / "sae.unfinished" / "step-00000004").iterdir()}
    assert names == {"resid_post.2.seed-0.safetensors", "state.json"}


def test_a_finished_folder_with_the_same_settings_is_left_alone(acts, tmp_path, caplog):
    first = train(acts, tmp_path / "sae")
    before = {one: one.stat().st_mtime_ns for one in (tmp_path / "sae").iterdir()}

    def never(done, total):
        raise AssertionError("nothing is to be trained")

    with caplog.at_level(logging.INFO, logger="emovec_sae"):
        again = train_sae(acts[SITE], out=tmp_path / "sae", **SETTINGS, progress=never)
    assert "is finished, with these settings; nothing to do" in caplog.text
    assert again.fingerprint == first.fingerprint
    assert {one: one.stat().st_mtime_ns for one in (tmp_path / "sae").iterdir()} == before


def test_what_a_kill_at_the_very_end_leaves_is_cleared_by_the_next_call(acts, tmp_path):
    stop(acts, tmp_path / "sae", 5)
    shutil.copytree(tmp_path / "sae.unfinished", tmp_path / "kept")
    train(acts, tmp_path / "sae")
    shutil.copytree(tmp_path / "kept", tmp_path / "sae.unfinished")
    train(acts, tmp_path / "sae")
    assert not (tmp_path / "sae.unfinished").exists()
    stop(acts, tmp_path / "sae", 5, overwrite=True, k=2)
    train(acts, tmp_path / "sae")
    assert (tmp_path / "sae.unfinished" / "step-00000004").is_dir(), "another run's checkpoint is not ours to remove"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"k": 4}, "k 3 there, 4 asked"),
        ({"lr": 1e-3, "order_seed": 2}, "lr 0.003 there, 0.001 asked; order_seed 0 there, 2 asked"),
        ({"held_out": []}, "texts .* asked; held_out \\['g7'\\] there, \\[\\] asked"),
        ({"options": {"aux_loss_coefficient": 0.5}}, "options {} there, {'aux_loss_coefficient': 0.5} asked"),
    ],
)
def test_other_settings_are_refused_with_the_difference(acts, tmp_path, other, words):
    train(acts, tmp_path / "done")
    with pytest.raises(ConfigError, match=f"exists already, trained with other settings .{words}"):
        train(acts, tmp_path / "done", **other)
    stop(acts, tmp_path / "cut", 5)
    with pytest.raises(ConfigError, match=f"is an unfinished run with other settings .{words}"):
        train(acts, tmp_path / "cut", **other)
    with pytest.raises(ConfigError, match=r"SAEs \['resid_post.2.seed-0'\] there, \['resid_post.2.seed-5'\] asked"):
        train(acts, tmp_path / "cut", seed=5)
    assert (tmp_path / "cut.unfinished" / "step-00000004").is_dir()


def test_other_activations_are_other_settings(acts, tmp_path):
    train(acts, tmp_path / "sae")
    with pytest.raises(ConfigError, match="stores"):
        train(sparse_store(draw=1, prefix="u"), tmp_path / "sae")


def test_overwriting_starts_anew_or_goes_on_with_the_same_run(acts, tmp_path):
    train(acts, tmp_path / "sae")
    kept = weights(tmp_path / "sae")
    stop(acts, tmp_path / "sae", 9, seed=3, overwrite=True)
    assert weights(tmp_path / "sae") == kept, "the old folder stays until the new one is complete"
    stop(acts, tmp_path / "sae", 20, seed=3, overwrite=True)
    assert [one.name for one in (tmp_path / "sae.unfinished").iterdir()] == ["step-00000019"]
    seen = []
    given = {**SETTINGS, "seed": 4, "overwrite": True}
    train_sae(acts[SITE], out=tmp_path / "sae", **given, progress=lambda done, _: seen.append(done))
    assert seen[0] == 64, "a checkpoint of another run is no start for this one"
    assert weights(tmp_path / "sae") != kept
    assert [one.name for one in tmp_path.iterdir()] == ["sae"]


@pytest.mark.parametrize("damage", ["cut short", "no state", "not JSON", "a tensor is missing"])
def test_a_damaged_checkpoint_is_one_line_that_says_what_to_do(acts, tmp_path, damage):
    stop(acts, tmp_path / "sae", 5)
    (folder,) = (tmp_path / "sae.unfinished").iterdir()
    tensors = folder / "resid_post.2.seed-0.safetensors"
    if damage == "cut short":
        tensors.write_bytes(tensors.read_bytes()[:200])
    elif damage == "no state":
        (folder / "state.json").unlink()
    elif damage == "not JSON":
        (folder / "state.json").write_text("{")
    else:
        from safetensors.torch import load_file, save_file

        state = load_file(tensors)
        del state["idle"]
        save_file(state, tensors)
    with pytest.raises(ModelError, match=r"the checkpoint in '.*' cannot be read .*; remove '.*' to start anew"):
        train(acts, tmp_path / "sae")


def test_a_folder_of_something_else_is_not_touched(acts, tmp_path):
    (tmp_path / "sae").mkdir()
    (tmp_path / "sae" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="exists already; choose another name"):
        train(acts, tmp_path / "sae")
    (tmp_path / "sae" / "emovec.json").write_text(json.dumps({"release": "someone's"}))
    with pytest.raises(ConfigError, match="exists already, trained with other settings"):
        train(acts, tmp_path / "sae")
    assert (tmp_path / "sae" / "notes.txt").read_text() == "mine"
