"""What the README says of the results: tables and sentences made from the numbers, for whatever part has been run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emovec_sae.provenance import read_json

MARK = "<!-- from the results; written by run.py -->"
BATTERIES = ("sycophancy", "refusal", "advice")
PROBES = ("effect and valence", "effect and that of the sign flip")


def fill_readme(here: Path, models: list[str], *, primary: float) -> None:
    """Write the part of the README behind the mark anew."""
    results = {name: read_json(file) for name in models if (file := here / f"{name}.json").exists()}
    parts = [part for name, found in results.items() for part in _model(name, found, primary)]
    if len(results) < len(models):
        parts.append(f"Not run yet: {', '.join(name for name in models if name not in results)}.")
    readme = here / "README.md"
    before = readme.read_text(encoding="utf-8").partition(MARK)[0]
    readme.write_text(before + MARK + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")


def _model(name: str, found: dict[str, Any], primary: float) -> list[str]:
    done = [one for one in BATTERIES if one in found]
    parts = [f"### {name}", _headroom({one: found[one]["headroom"] for one in done})]
    parts += [_effects({one: found[one] for one in done}, primary)]
    parts += [f"- {sentence}" for one in done for sentence in _sentences(one, found[one], primary)]
    if "preferences" in found:
        parts.append(_preferences(found["preferences"]))
    missing = [one for one in (*BATTERIES, "preferences") if one not in found]
    partly = [one for one in done if set(found[one]["levels"]) == {"raw", "random"}]
    if missing:
        parts.append(f"Not run yet: {', '.join(missing)}.")
    if partly:
        parts.append(f"Only at KL {primary:g} and without the sign flips so far: {', '.join(partly)}.")
    return parts


def _headroom(found: dict[str, Any]) -> str:
    heads = ("battery", "picks the behaviour", "one answer in both orders", "log-odds, mean (deviation)", "place, nats")
    lines = [f"| {' | '.join(heads)} | |", "|---|---|---|---|---|---|"]
    for name, one in found.items():
        verdict = "has head-room" if one["interpreted"] else f"not interpreted: {one['problem']}"
        lines.append(
            f"| {name} | {_share(one['rate'])} | {_share(one['consistent'])} | {one['log_odds']:.2f} "
            f"({one['spread']:.2f}) | {one['bias']:+.2f} | {verdict} |"
        )
    return "\n".join(lines)


def _effects(found: dict[str, Any], primary: float) -> str:
    """The ends of the emotions' effects, beside the random directions."""
    heads = (
        "battery",
        "KL",
        "arm",
        "most positive (95 %)",
        "most negative (95 %)",
        "random: mean, range of draws",
        "outside (expected)",
    )
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|---|---|"]
    for name, one in found.items():
        rows = [row for row in one["effects"] if row["emotion"]]
        for level, arm in dict.fromkeys((row["level"], row["arm"]) for row in rows):
            some = sorted(
                (row for row in rows if (row["level"], row["arm"]) == (level, arm)), key=lambda row: row["value"]
            )
            low, high, ends = some[0], some[-1], some[0]
            control = "none"
            if ends["random"] is not None:
                control = f"{ends['random']:+.2f}, {ends['random_low']:+.2f} to {ends['random_high']:+.2f}"
            count = next(
                (f"{row['count']} of {row['n']} ({row['expected']:.1f})" for row in one["outside"]
                 if (row["arm"], row["level"]) == (arm, level)), "–",
            )  # fmt: skip
            label = f"{level:g}{' (primary)' if level == primary and arm == 'raw' else ''}"
            lines.append(f"| {name} | {label} | {arm} | {_told(high)} | {_told(low)} | {control} | {count} |")
    return "\n".join(lines)


def _sentences(name: str, one: dict[str, Any], primary: float) -> list[str]:
    if not one["headroom"]["interpreted"]:
        return [f"*{name}*: no head-room ({one['headroom']['problem']}); nothing is made of its effects."]
    moved = _moved(one, "raw", primary)
    up = [row["emotion"] for row in moved if row["value"] > 0]
    down = [row["emotion"] for row in moved if row["value"] < 0]
    told = f"*{name}* at KL {primary:g}: " + (
        f"raised by {', '.join(up) or 'no emotion'}; lowered by {', '.join(down) or 'none'}." if moved else
        "no emotion moves it beyond the random directions."
    )  # fmt: skip
    found = [told]
    for quantity in PROBES:
        for row in one["over_emotions"]:
            if row["quantity"] == quantity and row["level"] == primary:
                found.append(f"*{name}*, over {row['n']} emotions at KL {primary:g}: {quantity} r = {_r(row)}.")
    kinds = {row["kind"] for row in one["by_kind"]}
    for kind in sorted(kinds if len(kinds) > 1 else ()):
        rows = [
            row for row in one["by_kind"] if row["kind"] == kind and row["arm"] == "raw" and row["level"] == primary
        ]
        if rows:
            mean = sum(row["value"] for row in rows) / len(rows)
            found.append(f"*{name}*, {kind} requests: mean effect of the {len(rows)} vectors {mean:+.2f} nats.")
    return found


def _preferences(found: dict[str, Any]) -> str:
    lines = ["| preferences | value | 95 % | n | null | p |", "|---|---|---|---|---|---|"]
    for name, row in found["numbers"].items():
        ends = "–" if row["low"] is None else f"{row['low']:.2f} to {row['high']:.2f}"
        null, p = ("–" if row[key] is None else f"{row[key]:.2g}" for key in ("null", "p"))
        lines.append(f"| {name} | {row['value']:.3g} | {ends} | {row['n']} | {null} | {p} |")
    passing = [row["emotion"] for row in found["emotions"] if row["arm"] == "raw" and row["p_max"] < 0.05]
    told = f"Own reading and change of the scores, max-T p < .05: {', '.join(passing) or 'no emotion'}."
    return "\n".join(lines) + f"\n\n{told} For random directions the interval is the range of the draws."


def _moved(one: dict[str, Any], arm: str, level: float) -> list[dict[str, Any]]:
    rows = [row for row in one["effects"] if row["arm"] == arm and row["level"] == level and row["p_holm"] is not None]
    rows = [row for row in rows if row["p_holm"] < 0.05 and row["outside"] and row["reached"]]
    return sorted(rows, key=lambda row: -abs(row["value"]))


def _share(one: dict[str, Any]) -> str:
    return f"{one['value']:.0%} ({one['low']:.0%} to {one['high']:.0%})"


def _told(row: dict[str, Any]) -> str:
    return f"{row['emotion']} {row['value']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"


def _r(row: dict[str, Any]) -> str:
    ends = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
    return f"{row['value']:.2f}{ends}, p = {row['p']:.2g}"
