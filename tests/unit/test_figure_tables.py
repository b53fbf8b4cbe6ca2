"""Tables of figures made of a run's artefacts, and what is said of figures that a run cannot have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chart_frames import FRAMES

from emovec_sae.studies.figure_tables import _means, frontier_table, lens_table
from emovec_sae.studies.figures import FIGURES, draw_figures, run_facts
from emovec_sae.studies.portraits import _bins, _strongest
from emovec_sae.studies.tables import write_table


def run_with(folder: Path, tables: dict[str, pd.DataFrame]) -> Path:
    study = {"seed": 0, "interventions": {"sizes": [4], "arms_for": ["afraid", "happy"], "level": 0.1}}
    folder.mkdir()
    (folder / "study.json").write_text(json.dumps({"study": study}))
    for name, frame in tables.items():
        write_table(folder, name, frame)
    return folder


def test_means_of_families_are_over_pairs_of_different_emotions() -> None:
    rng = np.random.default_rng(0)
    units = rng.normal(size=(7, 5))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    family = np.array([0, 0, 0, 1, 1, 2, 2])
    member = np.stack([family == one for one in range(3)]).astype(float)
    pairs = member.sum(1)[:, None] * member.sum(1)[None] - np.diag(member.sum(1))
    found = _means(units @ units.T, member, pairs)
    for one in range(3):
        for other in range(3):
            each = [
                units[i] @ units[j]
                for i in np.flatnonzero(family == one)
                for j in np.flatnonzero(family == other)
                if i != j
            ]
            assert found[one, other] == pytest.approx(np.mean(each))


def test_the_frontier_is_a_mean_over_the_emotions_that_have_every_dose(tmp_path: Path) -> None:
    effects = pd.DataFrame(
        [
            {"emotion": emotion, "arm": arm, "level": level, "kl": level * 1.02, "effect": gain + bonus, "n": 24}
            for emotion, gain in (("afraid", 1.0), ("happy", 3.0), ("calm", 50.0))
            for arm, bonus in (("raw", 0.5), ("k=4", 0.0), ("k=8", 9.0))
            for level in (0.1, 0.2)
        ]
    )
    table = frontier_table(run_with(tmp_path / "run", {"effects": effects})).set_index(["arm", "damage"])["effect"]
    assert set(table.index.get_level_values("arm")) == {"raw", "k=4"}
    assert table["raw", 0.1 * 1.02] == pytest.approx(2.5)
    assert table["k=4", 0.2 * 1.02] == pytest.approx(2.0)


def test_the_lens_is_shown_of_the_emotions_that_the_similarity_has(tmp_path: Path) -> None:
    lens = FRAMES["logit_lens"]()
    pairs = pd.DataFrame({"emotion_a": ["afraid", "sad"]})
    run = run_with(tmp_path / "run", {"logit_lens": lens, "similarity": pairs})
    assert set(lens_table(run)["emotion"]) == {"afraid", "sad"}


def test_a_run_without_a_stage_has_fewer_figures_and_says_which(tmp_path: Path) -> None:
    run = run_with(tmp_path / "run", {"patching": FRAMES["patching"](), "site_sweep": FRAMES["site_sweep"]()})
    seen: list[int] = []
    drawn = draw_figures(run, facts=run_facts(run), progress=lambda done, _: seen.append(done))
    assert {path.name.split(".")[0] for path in drawn.files} == {"patching", "site_sweep"}
    assert set(drawn.left_out) == set(FIGURES) - {"patching", "site_sweep"}
    assert drawn.left_out["dose_curves"] == "dose_curves.parquet is missing, which stage 'interventions' makes"
    assert seen == list(range(1, len(FIGURES) + 1))


def test_activations_are_counted_in_bins_that_hold_them_all() -> None:
    values = np.array([0.5, 1.0, 1.0, 4.0])
    bins = _bins(values)
    assert sum(share for _, _, share, _, _ in bins) == pytest.approx(1.0)
    assert {n for *_, n in bins} == {4}
    assert _bins(np.zeros(0)) == []


def test_the_strongest_passages_are_counted_by_emotion_and_silent_texts_are_not() -> None:
    peaks = np.array([5.0, 4.0, 3.0, 0.0, 0.0])
    emotions = np.array(["sad", "afraid", "sad", "calm", "calm"])
    assert _strongest(peaks, emotions) == [("emotion", "sad", 2.0, 0, 3), ("emotion", "afraid", 1.0, 1, 3)]
