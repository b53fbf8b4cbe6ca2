"""compare: arms at equal teacher-forced KL, scored by the log-odds of emotion words after prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import StoreError
from emovec_sae.interventions.arms import Arm
from emovec_sae.interventions.dose import calibrate
from emovec_sae.provenance import atomic, collect, read_json, write_json
from emovec_sae.scoring.damage import KLProbe
from emovec_sae.scoring.words import WordScorer, log_odds
from emovec_sae.stats.bootstrap import Interval, bootstrap_mean, bootstrap_ratio

if TYPE_CHECKING:
    import altair as alt


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison.

    Attributes
    ----------
    effects
        One row an (arm, draw, level, prompt, scored emotion): arm, emotion (whose arm; None for random), draw, level,
        kl, coefficient, reached, prompt, scored, effect (change of the scored emotion's log-odds, nats).
    doses
        One row a calibration: arm, emotion, draw, level, kl, coefficient, strength, reached, monotone, evaluations.
    provenance
        Model, site, prompts, levels, seed.
    """

    effects: pd.DataFrame
    doses: pd.DataFrame
    provenance: dict[str, Any]

    def own(self) -> pd.DataFrame:
        """Effects on the arm's own emotion; a random draw counts for every emotion.

        Returns
        -------
        pandas.DataFrame
            emotion, arm, draw, level, prompt, effect.
        """
        effects = self.effects
        kept = effects[effects["emotion"].isna() | (effects["emotion"] == effects["scored"])]
        return kept.assign(emotion=kept["scored"])[["emotion", "arm", "draw", "level", "kl", "prompt", "effect"]]

    def frame(self, *, seed: int = 0) -> pd.DataFrame:
        """Mean effect by emotion, arm and level: emotion, arm, level, kl, effect, low, high, n.

        Draws of a random arm are averaged within a prompt; the 95 % interval is over prompts.
        """
        keys = ["emotion", "arm", "level"]
        by_prompt = self.own().groupby([*keys, "prompt"], as_index=False, sort=False)[["effect", "kl"]].mean()
        rows = []
        for (emotion, arm, level), some in by_prompt.groupby(keys, sort=False):
            mean = bootstrap_mean(some["effect"].to_numpy(), seed=seed)
            row = {"emotion": emotion, "arm": arm, "level": level, "kl": some["kl"].mean()}
            rows.append({**row, "effect": mean.value, "low": mean.low, "high": mean.high, "n": len(some)})
        return pd.DataFrame(rows)

    def ratios(self, level: float, *, seed: int = 0) -> pd.DataFrame:
        """Mean effect of each arm over that of the raw vectors, pooled over the emotions that have the arm.

        Returns
        -------
        pandas.DataFrame
            arm, value, low, high, n: a ratio of means with an interval over emotions (n of them; prompts averaged).
        """
        means = (
            self.frame(seed=seed).query("level == @level").pivot_table(index="emotion", columns="arm", values="effect")
        )
        rows = []
        for arm in [one for one in means.columns if one != "raw"]:
            both = means[[arm, "raw"]].dropna()
            ratio = bootstrap_ratio(both[arm].to_numpy(), both["raw"].to_numpy(), seed=seed)
            rows.append({"arm": arm, "value": ratio.value, "low": ratio.low, "high": ratio.high, "n": len(both)})
        return pd.DataFrame(rows, columns=["arm", "value", "low", "high", "n"])

    def ratios_by_emotion(self, level: float, *, seed: int = 0) -> pd.DataFrame:
        """Effect of each arm over that of the raw vector within an emotion, prompts resampled.

        Returns
        -------
        pandas.DataFrame
            emotion, arm, value, low, high, n (prompts); NaN where the interval of the raw effect holds 0: such an
            emotion has no ratio.
        """
        by_prompt = self.own().query("level == @level").groupby(["emotion", "arm", "prompt"])["effect"].mean()
        rows = []
        for emotion, some in by_prompt.groupby(level="emotion"):
            wide = some.droplevel("emotion").unstack("arm")
            for arm in [one for one in wide.columns if one != "raw"]:
                ratio = bootstrap_ratio(wide[arm].to_numpy(), wide["raw"].to_numpy(), seed=seed)
                rows.append(
                    {"emotion": emotion, "arm": arm, "value": ratio.value, "low": ratio.low, "high": ratio.high}
                )
                rows[-1]["n"] = len(wide)
        return pd.DataFrame(rows, columns=["emotion", "arm", "value", "low", "high", "n"])

    def above_random(self, level: float) -> tuple[int, int]:
        """Emotions whose raw vector raises its own words more than the random directions do on average, and all."""
        means = self.frame().query("level == @level").pivot_table(index="emotion", columns="arm", values="effect")
        both = means[["raw", "random"]].dropna()
        return int((both["raw"] > both["random"]).sum()), len(both)

    def wrong_way(self, level: float) -> pd.DataFrame:
        """Share of (emotion, prompt) cells that an arm moved away from its emotion: arm, value, n."""
        by_prompt = (
            self.own().query("level == @level").groupby(["arm", "emotion", "prompt"], as_index=False)["effect"].mean()
        )
        found = (
            by_prompt.assign(wrong=by_prompt["effect"] < 0)
            .groupby("arm", as_index=False)["wrong"]
            .agg(["mean", "size"])
        )
        return found.rename(columns={"mean": "value", "size": "n"})

    def raw_effect(self, level: float, *, seed: int = 0) -> Interval:
        """Mean effect of the raw vectors over emotions, in nats, with an interval over emotions."""
        means = self.frame(seed=seed).query("level == @level and arm == 'raw'")
        return bootstrap_mean(means["effect"].to_numpy(), seed=seed)

    def plot(self, emotions: Sequence[str] | None = None) -> alt.TopLevelMixin:
        """Dose curves of the arms, a panel an emotion."""
        from emovec_sae.charts import draw

        frame = self.frame()
        return draw("dose_curves", frame if emotions is None else frame[frame["emotion"].isin(list(emotions))])

    def save(self, path: str | Path) -> Path:
        """Write the effects as Parquet, the doses beside them, and a JSON file with the provenance."""
        path = Path(path)
        for table, name in ((self.effects, path), (self.doses, path.with_name(f"{path.stem}.doses.parquet"))):
            with atomic(name) as part:
                table.to_parquet(part, index=False)
        write_json(path.with_suffix(".json"), {"provenance": self.provenance})
        return path


def compare(
    arms: Sequence[Arm],
    *,
    scorer: WordScorer,
    probe: KLProbe,
    lexicon: Mapping[str, list[str]],
    levels: Sequence[float] | Callable[[Arm], Sequence[float]],
    residual_norm: float,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Bring every arm to the same KL on neutral text and measure what it does to the emotions' words.

    Parameters
    ----------
    arms
        From `raw_arms`, `latent_arms`, `random_arms`.
    scorer
        Words and the prompts to report on; doses never see them.
    probe
        Neutral positions at which the dose is matched.
    lexicon
        Emotion -> held-out words, none shared between emotions.
    levels
        KL in nats; a function gives each arm its own.
    residual_norm
        Mean residual norm at the site: the first guess of a dose, and the unit of ``strength``.
    progress
        Called with (conditions done, conditions in all).
    """
    asked = [sorted(levels(arm) if callable(levels) else levels) for arm in arms]
    total, done = sum(map(len, asked)), 0
    names = list(lexicon)
    base = log_odds(scorer.log_probs(), scorer.tree.words, dict(lexicon))
    effects, doses = [], []
    starts: dict[float, float] = {}
    for arm, steps in zip(arms, asked, strict=True):
        for level in steps:
            # arms need much the same coefficient for a level, so the last one's is the best first guess
            dose = calibrate(arm.edit, probe, level=level, start=starts.get(level, 0.1 * residual_norm))
            if dose.reached:
                starts[level] = dose.coefficient
            facts = {"arm": arm.name, "emotion": arm.emotion, "draw": arm.draw, "level": level, "kl": dose.kl}
            facts |= {"coefficient": dose.coefficient, "reached": dose.reached}
            strength = dose.coefficient / residual_norm
            doses.append({**facts, "strength": strength, "monotone": dose.monotone, "evaluations": dose.evaluations})
            edited = scorer.log_probs([arm.edit.at(dose.coefficient)])
            change = log_odds(edited, scorer.tree.words, dict(lexicon)) - base
            for column, name in enumerate(names):
                effects.append(
                    pd.DataFrame(
                        {**facts, "scored": name, "prompt": np.arange(len(change)), "effect": change[:, column]}
                    )
                )
            done += 1
            if progress is not None:
                progress(done, total)
    facts = {
        "model": scorer.model.describe(),
        "arms": sorted({arm.name for arm in arms}),
        "levels": sorted({one for steps in asked for one in steps}),
    }
    facts |= {"prompts": len(scorer.prompts), "positions": probe.n_positions, "divergence": "KL(base || edited), nats"}
    table = pd.concat(effects, ignore_index=True)
    return Comparison(table.astype({"emotion": object}), pd.DataFrame(doses), collect(**facts))


def load_comparison(path: str | Path) -> Comparison:
    """Read what `Comparison.save` wrote.

    Raises
    ------
    StoreError
        If one of its files is missing.
    """
    path = Path(path)
    files = (path, path.with_name(f"{path.stem}.doses.parquet"), path.with_suffix(".json"))
    for file in files:
        if not file.is_file():
            raise StoreError(f"{file} is missing; run the comparison again with: emovec compare STUDY.yaml")
    return Comparison(pd.read_parquet(files[0]), pd.read_parquet(files[1]), read_json(files[2])["provenance"])
