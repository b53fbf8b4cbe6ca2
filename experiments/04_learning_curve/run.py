"""Learning curves beyond the packaged topics: 24 core emotions, 16 packaged topics and 16 that the model wrote itself.

    .venv/bin/python experiments/04_learning_curve/run.py

Run from the root of the repository. ``written_stories.jsonl`` was made by ``emovec corpora generate --kind stories
--emotions core --topics new:16``; its settings and drop rates are in ``written_stories.json``.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd

import emovec_sae as ev
from emovec_sae.charts import save_chart
from emovec_sae.directions.checks import learning_curve

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MODEL, SITE, SEED = "smollm2-135m-instruct", "resid_post.18", 0
COLUMNS = ["id", "text", "emotion", "group", "lang", "writer"]
ESTIMATORS = {"diff_mean": ev.DiffMean(), "lda": ev.ShrinkageLDA(shrinkage=0.5)}


def main() -> None:
    """Record both sets of stories at one site, and draw the curves of each alone and of both together."""
    packaged = ev.load_corpus("stories", emotions="core").frame[COLUMNS]
    written = ev.load_corpus(HERE / "written_stories.jsonl").frame[COLUMNS]
    both = ev.Corpus.from_frame(pd.concat([packaged, written], ignore_index=True), name="packaged and written stories")
    run = ROOT / "runs" / "learning_curve"
    acts = ev.record(ev.load_model(MODEL), both, sites=SITE, out=run / "activations")
    own = acts.frame["writer"].eq(MODEL).to_numpy()
    # A topic that lacks an emotion (a story that was never accepted) cannot be balanced: it is left out and said.
    count = acts.frame.groupby("group")["emotion"].nunique()
    whole = acts.frame["group"].map(count).eq(count.max()).to_numpy()
    parts = {"packaged": ~own, "written": own & whole, "both": whole}
    told = {"left_out_topics": sorted(count.index[count < count.max()]), "curves": {}}
    for name, rows in parts.items():
        for label, estimator in ESTIMATORS.items():
            found = learning_curve(acts.where(rows), SITE, estimator=estimator, seed=SEED)
            told["curves"][f"{name}, {label}"] = {**found.summary(), "table": found.frame().to_dict("records")}
            save_chart(
                found.plot(), run / "figures", f"learning_{name}_{label}", table=found.frame(),
                provenance=dict(found.provenance), caption=found.caption(),
            )  # fmt: skip
    (HERE / "results.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    target = ROOT / "figures" / "learning_curve"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(run / "figures", target)


if __name__ == "__main__":
    main()
