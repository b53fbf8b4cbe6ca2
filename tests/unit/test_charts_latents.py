"""Charts of latents: agreement of methods, matches across SAEs; what is drawn is what the table says."""

from __future__ import annotations

import pandas as pd
import pytest

from emovec_sae.charts import agreement, matched
from emovec_sae.errors import ConfigError


def pairs():
    return pd.DataFrame(
        {
            "first": ["contrast", "contrast", "omp"], "second": ["omp", "nnls", "nnls"], "overlap": [0.5, 0.25, 0.75],
            "low": [0.4, 0.2, 0.7], "high": [0.6, 0.3, 0.8], "expected": [0.01, 0.01, 0.01], "n": 24,
        }
    )  # fmt: skip


def shares():
    rows = [
        (kind, threshold, top - threshold / 2, top - threshold / 2 - 0.05, top - threshold / 2 + 0.05, 900, 0.02)
        for kind, top in (("cosine", 0.9), ("correlation", 0.8))
        for threshold in (0.3, 0.5, 0.7, 0.9)
    ]
    return pd.DataFrame(rows, columns=["kind", "threshold", "value", "low", "high", "n", "null"])


def values(chart):
    """Every row of data inside a chart."""
    spec = chart.to_dict()
    inside = [spec, *spec["layer"]]
    return [row for part in inside for row in part.get("data", {}).get("values", [])] + [
        row for rows in spec.get("datasets", {}).values() for row in rows
    ]


def test_each_pair_stands_on_both_sides():
    chart = agreement.agreement(pairs(), k=16, n_latents=4608)
    cells = {(row["row"], row["column"]): row["value"] for row in values(chart)}
    assert cells["contrast", "omp"] == cells["omp", "contrast"] == 0.5
    assert len(cells) == 6
    subtitle = " ".join(chart.to_dict()["title"]["subtitle"])
    assert "chance 0.0100 (4,608 latents)" in subtitle
    told = agreement.caption(pairs())
    assert "omp and nnls (0.75, 0.70 to 0.80)" in told
    assert "contrast and nnls (0.25, 0.20 to 0.30)" in told


def test_matches_are_drawn_beside_their_null():
    chart = matched.matched(shares(), title="A in B")
    drawn = [row for row in values(chart) if row.get("kind") == "correlation" and row["threshold"] == 0.7]
    assert {(row["value"], row["null"]) for row in drawn} == {(0.45, 0.02)}
    assert "n = 900 live latents" in " ".join(chart.to_dict()["title"]["subtitle"])
    assert "0.55 (0.50 to 0.60; chance 0.02) by cosine of decoder rows at 0.70" in matched.caption(shares())


def test_missing_columns_are_named():
    with pytest.raises(ConfigError, match="'expected'"):
        agreement.agreement(pairs().drop(columns="expected"), k=4, n_latents=9)
    with pytest.raises(ConfigError, match="without rows"):
        matched.matched(shares().head(0), title="")
