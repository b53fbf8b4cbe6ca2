"""Stage 8: the numbers of a run in one place, and the verdict in words made from them."""

from __future__ import annotations

from typing import Any

from emovec_sae.provenance import collect, read_json, write_json
from emovec_sae.stats.bootstrap import Interval
from emovec_sae.studies.context import Context
from emovec_sae.studies.figures import run_facts
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import read_table

STAGES = ("directions", "sae", "decomposition", "interventions", "patching")


def summary_stage(run: Run, context: Context) -> None:
    """Write ``results.json``: title, model, verdict, scores, provenance."""

    def work(progress: Progress) -> None:
        scores = [*_directions(context), *_sae(context), *_decomposition(context), *_interventions(context), *_patching(context)]
        facts = run_facts(context.path)
        seconds = {name: read_json(context.path / "stages" / f"{name}.json")["seconds"] for name in ("record", *STAGES)}
        results = {
            "title": context.study.title,
            "model": f"{context.acts.model['name']} ({context.acts.model['dtype']}), {context.site}",
            "verdict": verdict({f"{row['group']}/{row['name']}": row for row in scores}, context),
            "scores": scores,
            "provenance": collect(**facts, acts=context.acts.fingerprint, seconds=seconds),
        }
        write_json(context.path / "results.json", results)
        progress(1, 1)

    outputs = ["results.json"]
    settings = {"title": context.study.title}
    run.stage("summary", "gather the numbers", settings=settings, after=STAGES, outputs=outputs, work=work)


def comparison_summary(context: Context) -> dict[str, Any]:
    """What ``emovec compare`` answers: ratios of the arms to the raw vectors with intervals, k90, and the dose."""
    found = _comparison(context)
    level, seed = context.study.interventions.level, context.study.seed
    ratios = found.ratios(level, seed=seed)
    arms = {row["arm"]: {key: row[key] for key in ("value", "low", "high", "n")} for row in ratios.to_dict("records")}
    matching = [int(name[2:]) for name, row in arms.items() if name.startswith("k=") and row["low"] >= 0.9]
    above, of = found.above_random(level)
    wrong = found.wrong_way(level).set_index("arm")["value"].to_dict()
    doses = found.doses[found.doses["level"] == level]
    return {
        "level": level,
        "arms": arms,
        "k90": min(matching, default=None),
        "above_random": {"value": above, "n": of},
        "wrong_way": wrong,
        "reached": float(doses["reached"].mean()),
    }


def _comparison(context: Context) -> Any:
    from emovec_sae.interventions.compare import load_comparison

    return load_comparison(context.path / "comparison.parquet")


def _score(group: str, name: str, value: Any, note: str = "", **more: Any) -> dict[str, Any]:
    """One row of the score table; takes an interval, a dict with value, low, high, n, or a number."""
    if isinstance(value, Interval):
        value = value.as_dict()
    if isinstance(value, dict):
        kept = {key: value.get(key) for key in ("value", "low", "high", "n")}
    else:
        kept = {"value": float(value), "low": None, "high": None, "n": None}
    return {"group": group, "name": name, **kept, "note": note, **more}


def _directions(context: Context) -> list[dict[str, Any]]:
    at_site = read_json(context.path / "evaluation_at_site.json")["summary"]
    nested = read_json(context.path / "evaluation.json")["summary"]
    geometry = read_json(context.path / "geometry.json")
    group, rows = "directions", []
    for metric, name in (("top1", "top-1"), ("top5", "top-5"), ("auroc", "AUROC")):
        note = f"held-out topics, {at_site['emotions']} emotions, {at_site['readout']} at {at_site['site']}, training statistics only; chance {at_site['chance'][metric]:.3f}"
        rows.append(_score(group, name, at_site[metric], note))
    rows.append(_score(group, "top-1, site chosen inside the training topics", nested["top1"], "nested: the site is chosen anew for each held-out topic"))
    if at_site["baseline"]:
        for metric, name in (("top1", "top-1"), ("top5", "top-5")):
            rows.append(_score(group, f"TF-IDF {name}", at_site["baseline"][metric], "the same split, words only"))
    for row in geometry["reads"]:
        rows.append(_score(group, f"{row['rating']} read by ridge, r", row, f"{row['folds']}-fold cross-validated, unit vectors against norms.csv"))
    for row in geometry["correlations"]:
        rows.append(_score(group, f"{row['component']} with {row['rating']}, r", row, f"explains {row['explained']:.0%} of the variance"))
    return rows


def _sae(context: Context) -> list[dict[str, Any]]:
    found = read_json(context.path / "passport.json")
    held_out = ", ".join(context.study.sae.held_out)
    note = f"{found['n_tokens']} tokens of held-out topics ({held_out})"
    return [
        _score("SAE", "explained variance", {**found["explained_variance"]}, note),
        _score("SAE", "l0", found["l0"], "mean number of active latents of a token"),
        _score("SAE", "dead share", found["dead_share"], "latents that fire on none of those tokens"),
        _score("SAE", "dense share", found["dense_share"], "latents that fire on more than a tenth of them"),
    ]


def _decomposition(context: Context) -> list[dict[str, Any]]:
    from emovec_sae.stats.bootstrap import bootstrap_mean

    rows, seed = [], context.study.seed
    for method in ("contrast", "omp"):
        found = context.decomposition(method)
        table = found.summary
        if method == "contrast":
            error = bootstrap_mean(table["error_share"].to_numpy(), seed=seed)
            rows.append(_score("decomposition", "error share of |v|^2", error, "mean over emotions; interval over emotions"))
            worst = float(table["identity_error"].max())
            rows.append(_score("decomposition", "identity error, relative", worst, f"largest over {len(table)} emotions, float32"))
            shown = context.study.decomposition.shown
            largest = found.frame().query("emotion == @shown").sort_values("rank").iloc[0]
            rows.append(_score("decomposition", f"largest latent of '{shown}', share", {**largest[["low", "high"]].to_dict(), "value": float(largest["share"]), "n": int(table["n_groups"].iloc[0])}, f"latent {int(largest['latent'])}; interval over topics"))
        cosine = bootstrap_mean(table["cosine_k"].to_numpy(), seed=seed)
        null = float(table["null_mean"].mean())
        rows.append(_score("decomposition", f"{method}: cosine of the first {found.k} latents", cosine, f"random targets: {null:.2f}"))
        r2 = bootstrap_mean(table["r2_k"].to_numpy(), seed=seed)
        curve = found.curves[(found.curves["quantity"] == "r2") & (found.curves["k"] == found.k)]
        rows.append(_score("decomposition", f"{method}: R^2 of the first {found.k} latents", r2, f"random targets: {float(curve['null_mean'].mean()):.2f}"))
    return rows


def _interventions(context: Context) -> list[dict[str, Any]]:
    found = _comparison(context)
    level, seed = context.study.interventions.level, context.study.seed
    told = comparison_summary(context)
    above = told["above_random"]
    rows = [
        _score("steering", "emotions raised more than by random directions", {"value": above["value"], "low": None, "high": None, "n": above["n"]}, f"raw vectors at {level} nats, held-out words and prompts"),
        _score("steering", "raw vectors, change of log-odds", found.raw_effect(level, seed=seed), f"nats, mean over emotions at {level} nats of KL"),
    ]
    for arm, ratio in told["arms"].items():
        rows.append(_score("steering", f"{arm}, effect relative to raw", ratio, f"ratio of means at {level} nats, interval over emotions"))
    rows.append(_score("steering", "doses reached within 2 %", told["reached"], "share of the calibrations at this level"))
    return rows


def _patching(context: Context) -> list[dict[str, Any]]:
    frame = read_table(context.path, "patching")
    best = frame.sort_values("recovered", ascending=False).iloc[0]
    word = frame[(frame["where"] == "changed word")].sort_values("layer")
    last = frame[(frame["where"] == "last token")].sort_values("layer")
    kept = ("low", "high", "n")
    rows = [_score("patching", f"largest recovered fraction ({best['site']}, {best['where']})", {"value": best["recovered"], **best[list(kept)].to_dict()}, "a maximum over the map")]
    crossing = [int(a["layer"]) for a, b in zip(last.to_dict("records"), word.to_dict("records"), strict=False) if a["recovered"] > b["recovered"]]
    if crossing:
        rows.append(_score("patching", "first block at which the last token recovers more than the changed word", crossing[0], "where the emotion has moved to the end"))
    return rows


def verdict(scores: dict[str, dict[str, Any]], context: Context) -> list[str]:
    """Sentences made from the numbers, the failures included."""

    def told(name: str, digits: int = 2) -> str:
        row = scores[name]
        n = f", n = {row['n']}" if row["n"] else ""
        if row["low"] is None:
            return f"{row['value']:.{digits}f}"
        return f"{row['value']:.{digits}f} [{row['low']:.{digits}f}, {row['high']:.{digits}f}{n}]"

    study = context.study
    words = f" A reader of words alone (TF-IDF) reaches {told('directions/TF-IDF top-1')}." if "directions/TF-IDF top-1" in scores else ""
    first = f"On held-out topics the emotion vectors at {context.site} name the right emotion with top-1 {told('directions/top-1')} and top-5 {told('directions/top-5')}.{words}"
    k = study.decomposition.k
    second = (
        f"The local SAE explains {told('SAE/explained variance')} of the variance on topics that it has not seen; on average "
        f"{told('decomposition/error share of |v|^2')} of a vector's squared length lies in its error, not in its latents. "
        f"The first {k} latents by share reach cosine {told(f'decomposition/contrast: cosine of the first {k} latents')} with the vector "
        f"({scores[f'decomposition/contrast: cosine of the first {k} latents']['note']})."
    )
    above = scores["steering/emotions raised more than by random directions"]
    third = f"At {study.interventions.level} nats of KL on neutral text the raw vectors raise their emotion's held-out words more than random directions do for {above['value']:.0f} of {above['n']} emotions."
    arms = [f"{name} {told(f'steering/{name}, effect relative to raw')}" for name in (f"k={size}" for size in study.interventions.sizes)]
    largest = scores[f"steering/k={max(study.interventions.sizes)}, effect relative to raw"]
    matches = largest["low"] is not None and largest["low"] >= 0.9
    claim = "match it (lower bound at least 0.9)" if matches else "are not shown to match it (their lower bound is below 0.9)"
    fourth = f"Relative to the raw vector at equal KL, over {largest['n']} emotions: {', '.join(arms)}. So the {max(study.interventions.sizes)} latents {claim}."
    return [first, second, third, fourth]
