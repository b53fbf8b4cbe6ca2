"""Sweeps: every cell is what the loop over prompts and doses gives, whatever shares a batch with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from emovec_sae.errors import ConfigError
from emovec_sae.interventions import sweep as module
from emovec_sae.interventions.edits import Ablate, Dosed, Shift
from emovec_sae.interventions.sweep import Sweep, sweep
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.sites import Site

PROMPTS = ["a river", "paper", "a stone", "letter table"]
WORDS = {"one": ["lamp", "river"], "two": ["xyz"]}
DOSES = [0.0, 0.5, 2.0]


def edits(site: Site, positions: str = "all") -> dict[str, Dosed]:
    made = np.random.default_rng(0).standard_normal((2, 32))
    found: dict[str, Dosed] = {
        f"e{row}": Shift(one, site=site, coefficient=1.0, positions=positions) for row, one in enumerate(made)
    }
    return {**found, "away": Ablate((made[:1] / np.linalg.norm(made[0])).astype(np.float32), site, positions)}


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3"])
@pytest.mark.parametrize("site", ["resid_post.1", "resid_pre.0", "mlp_out.2"])
@pytest.mark.parametrize("positions", ["all", "last", "from:2"])
def test_every_cell_is_that_of_the_loop(
    tiny: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, architecture: str, site: str, positions: str
) -> None:
    monkeypatch.setattr(module, "_TOKENS", 40)  # several batches, some across prompts
    model = tiny(architecture)
    made = edits(Site.parse(site), positions)
    found = sweep(model, PROMPTS, made, DOSES, score=WORDS, unit=3.0).cells
    assert len(found) == len(PROMPTS) * len(made) * len(DOSES) * len(WORDS)
    for (prompt, name, dose), some in found.groupby(["prompt", "edit", "dose"]):
        batch = pad(model.tokens.encode([PROMPTS[prompt]]), pad_id=0)
        final = forward(model, batch, edits=[made[name].at(3.0 * dose)], final=True).final
        law = model.head(final[:, -1])[0].log_softmax(-1)
        for score, words in WORDS.items():
            first = [model.tokens.encode([f" {word}"], special=False)[0][0] for word in words]
            right = float(torch.logsumexp(law[sorted(set(first))], 0))
            assert some.set_index("score")["value"][score] == pytest.approx(right, abs=1e-4)
    # equal rows of one batch may differ in the last bit of float32, as kernels take rows in blocks
    assert found.loc[found["dose"] == 0, "change"].abs().max() < 1e-5, "dose 0 is not the model itself"
    assert (found.loc[found["dose"] == 2, "change"].abs() > 1e-4).mean() > 0.9


def test_a_score_of_ones_own_and_the_chat_template(tiny: Callable[..., Model]) -> None:
    model, site = tiny(), Site("resid_post", 1)
    calls: list[tuple[int, int]] = []
    found = sweep(
        model, ["a river"], edits(site), [1.0], score=lambda logits: {"top": logits.amax(-1)},
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert list(found.cells["score"].unique()) == ["top"]
    assert calls == [(1, 1)]
    assert {"model", "site", "positions", "edits", "doses"} <= set(found.provenance)


def test_the_result_gives_means_a_chart_and_a_file(tiny: Callable[..., Model], tmp_path: Path) -> None:
    found = sweep(tiny(), PROMPTS, edits(Site("resid_post", 1)), DOSES, score=WORDS)
    frame = found.frame()
    assert list(frame) == ["edit", "dose", "score", "change", "low", "high", "n"]
    assert (frame["n"] == len(PROMPTS)).all()
    cells = found.cells.query("edit == 'e1' and dose == 2.0 and score == 'two'")
    row = frame.query("edit == 'e1' and dose == 2.0 and score == 'two'").iloc[0]
    assert row["change"] == pytest.approx(cells["change"].mean())
    assert row["low"] <= row["change"] <= row["high"]
    assert found.plot("two").to_dict()["title"]
    with pytest.raises(ConfigError, match="no score 'three'; there are one, two"):
        found.plot("three")
    path = found.save(tmp_path / "sweep.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path), found.cells)
    assert "provenance" in (tmp_path / "sweep.json").read_text()
    assert isinstance(found, Sweep)


@pytest.mark.parametrize(
    ("prompts", "doses", "extra", "said"),
    [
        ([], [1.0], {}, "0 prompts, 3 edits, 1 doses"),
        (["a"], [], {}, "1 prompts, 3 edits, 0 doses"),
        (["a"], [1.0], {"x": Shift(np.ones(32), site=Site("mlp_out", 1), coefficient=1.0)}, "act at one place"),
    ],
)
def test_nothing_to_sweep_is_refused(
    tiny: Callable[..., Model], prompts: list[str], doses: list[float], extra: dict[str, Dosed], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        sweep(tiny(), prompts, {**edits(Site("resid_post", 1)), **extra}, doses, score=WORDS)
