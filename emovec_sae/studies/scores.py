"""The score table of a run: every number with its interval, n and note, gathered from what the stages wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emovec_sae.provenance import plain, read_json
from emovec_sae.stats.bootstrap import Interval, bootstrap_mean
from emovec_sae.studies.context import Context
from emovec_sae.studies.tables import read_table


def gather_scores(context: Context, compared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the score table: group, name, value, low, high, n, note; `compared` is `comparison_summary`."""
    first = (_directions, _geometry, _sae, _decomposition)
    rows = [row for part in first for row in part(context)]
    return [*rows, *_steering(context, compared), *_patching(context)]


def comparison_summary(context: Context) -> dict[str, Any]:
    """What ``emovec compare`` answers: ratios of the arms to the raw vectors with intervals, k90, and the dose."""
    found = _comparison(context)
    level = context.study.interventions.level
    ratios = found.ratios(level, seed=context.study.seed)
    arms = {row["arm"]: {key: row[key] for key in ("value", "low", "high", "n")} for row in ratios.to_dict("records")}
    matching = found.k90(level, seed=context.study.seed).query("selector == 'share'")["k90"].dropna()
    above, of = found.above_random(level)
    wrong = found.wrong_way(level).set_index("arm")["value"].to_dict()
    doses = found.doses[found.doses["level"] == level]
    return {
        "level": level,
        "arms": arms,
        "k90": None if matching.empty else int(matching.iloc[0]),
        "above_random": {"value": above, "n": of},
        "wrong_way": wrong,
        "reached": float(doses["reached"].mean()),
        "falsifiers": found.falsifiers(level, seed=context.study.seed).to_dict("records"),
        "verdict": found.verdict(level, seed=context.study.seed),
        "page": str(context.path / "verdict.md"),
    }


def _comparison(context: Context) -> Any:
    from emovec_sae.interventions.comparison.result import load_comparison

    return load_comparison(context.path / "comparison.parquet")


def _row(group: str, name: str, value: Interval | Mapping[str, Any] | float, note: str = "") -> dict[str, Any]:
    """One row; takes an interval, a mapping with value, low, high, n, or a bare number."""
    if isinstance(value, Interval):
        value = value.as_dict()
    found = value if isinstance(value, Mapping) else {"value": float(value)}
    numbers = plain({key: found.get(key) for key in ("value", "low", "high", "n")})
    return {"group": group, "name": name, **numbers, "note": note}


def _directions(context: Context) -> list[dict[str, Any]]:
    here = read_json(context.path / "evaluation_at_site.json")["summary"]
    nested = read_json(context.path / "evaluation.json")["summary"]
    rows = []
    for metric, name in (("top1", "top-1"), ("top5", "top-5"), ("auroc", "AUROC")):
        how = f"{here['emotions']} emotions, held-out topics, {here['readout']} at {here['site']}"
        rows.append(_row("directions", name, here[metric], f"{how}; chance {here['chance'][metric]:.3f}"))
    note = "nested: for each held-out topic the site is chosen on the other topics"
    rows.append(_row("directions", "top-1, site chosen", nested["top1"], note))
    if here["baseline"]:
        for metric, name in (("top1", "top-1"), ("top5", "top-5")):
            rows.append(_row("directions", f"TF-IDF {name}", here["baseline"][metric], "words alone, the same split"))
    return rows


def _geometry(context: Context) -> list[dict[str, Any]]:
    found = read_json(context.path / "geometry.json")
    rows = []
    for one in found["ridge"]:
        note = f"{one['folds']}-fold cross-validated ridge from the unit vectors, against norms.csv"
        rows.append(_row("geometry", f"{one['rating']} read out, r", {**one, "value": one["r"]}, note))
    for one in found["correlations"]:
        if one["r"] is None:  # too few rated emotions
            continue
        name = f"{one['component']} with {one['rating']}, r"
        rows.append(_row("geometry", name, {**one, "value": one["r"]}, f"Pearson; permutation p {one['p']:.3g}"))
    return rows


def _sae(context: Context) -> list[dict[str, Any]]:
    found = read_json(context.path / "passport.json")
    section = context.study.sae
    groups = ", ".join(section.held_out)
    which = (
        "all texts of the study" if not groups else groups if section.source else f"topics not trained on ({groups})"
    )
    tokens = f"{found['n_tokens']} tokens of {which}"
    return [
        _row("SAE", "explained variance", found["explained_variance"], tokens),
        _row("SAE", "l0", found["l0"], "mean number of active latents of a token"),
        _row("SAE", "dead share", found["dead_share"], "latents that fire on none of those tokens"),
        _row("SAE", "dense share", found["dense_share"], "latents that fire on more than a tenth of them"),
    ]


def _decomposition(context: Context) -> list[dict[str, Any]]:
    seed, shown, group = context.study.seed, context.study.decomposition.shown, "decomposition"
    contrast = context.decomposition("contrast")
    table = contrast.summary
    error = bootstrap_mean(table["error_share"].to_numpy(), seed=seed)
    worst = float(table["identity_error"].max())
    first = contrast.frame().query("emotion == @shown").sort_values("rank").iloc[0]
    largest = {"value": first["share"], "low": first["low"], "high": first["high"], "n": len(context.corpus.groups)}
    rows = [
        _row(group, "error share of |v|^2", error, "contrast; mean and interval over emotions"),
        _row(group, "identity error, relative", worst, f"largest over {len(table)} emotions, float32"),
        _row(group, f"largest latent of '{shown}', share", largest, f"latent {first['latent']}; interval over topics"),
    ]
    for method, found in (("contrast", contrast), ("omp", context.decomposition("omp"))):
        for quantity, column in (("cosine", "cosine_k"), ("R^2", "r2_k")):
            curve = found.curves[
                found.curves["quantity"].eq(quantity.replace("R^2", "r2")) & found.curves["k"].eq(found.k)
            ]
            note = (
                f"random targets {curve['null_mean'].mean():.2f}, permuted labels {curve['permuted_mean'].mean():.2f}"
            )
            mean = bootstrap_mean(found.summary[column].to_numpy(), seed=seed)
            rows.append(_row(group, f"{method}: {quantity} of the first {found.k} latents", mean, note))
    return rows


def _steering(context: Context, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    level, group, found = context.study.interventions.level, "steering", _comparison(context)
    raw = found.raw_effect(level, seed=context.study.seed)
    note = f"raw vectors at {level} nats of KL, held-out words and prompts"
    rows = [
        _row(group, "emotions raised more than by random directions", told["above_random"], note),
        _row(group, "raw vectors, change of log-odds", raw, f"nats, at {level} nats of KL; interval over emotions"),
    ]
    for arm, ratio in told["arms"].items():
        wrong = f"{told['wrong_way'][arm]:.0%} of (emotion, prompt) cells moved the wrong way"
        rows.append(_row(group, f"{arm}, effect relative to raw", ratio, f"ratio of means over emotions; {wrong}"))
    latent = f"k={max(context.study.interventions.sizes)}"
    by_emotion = found.ratios_by_emotion(level, seed=context.study.seed)
    for one in by_emotion[by_emotion["arm"] == latent].to_dict("records"):
        rows.append(
            _row(group, f"{latent} relative to raw, {one['emotion']}", one, "ratio of means, interval over prompts")
        )
    rows.append(_row(group, "doses within 2 % of the level", told["reached"], "share of the calibrations"))
    return rows


def _patching(context: Context) -> list[dict[str, Any]]:
    frame = read_table(context.path, "patching").sort_values("layer")
    here = frame[frame["site"] == str(context.site)]
    rows = []
    for one in here[here["where"].isin(["changed word", "last token"])].to_dict("records"):
        found: dict[str, Any] = {str(key): value for key, value in one.items()} | {"value": one["recovered"]}
        over = "pairs" if one["clusters"] == one["n"] else f"{one['clusters']:.0f} families of pairs"
        note = f"whole residual, interval over {over}"
        rows.append(_row("patching", f"recovered at {context.site}, {one['where']}", found, note))
    by_part = frame.set_index(["layer", "where"])["recovered"].unstack()  # pivot_table would drop a column of NaN
    later = by_part.index[by_part["last token"] > by_part["changed word"]]
    if len(later):
        note = "the first block at which the last token recovers more than the changed word"
        rows.append(_row("patching", "block where the answer has moved to the end", int(later[0]), note))
    return rows
