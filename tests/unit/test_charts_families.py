from __future__ import annotations

import json
import subprocess
import sys

import altair as alt
import numpy as np
import pandas as pd
import pytest

from emovec_sae import charts
from emovec_sae.charts import dose_curves, patching, site_sweep, theme
from emovec_sae.errors import ConfigError

EMOTIONS = ["afraid", "happy", "angry", "sad", "calm", "worn out"]


def vector_map_frame(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    valence = rng.uniform(1, 9, n)
    return pd.DataFrame(
        {
            "emotion": [f"emotion {i}" for i in range(n)], "pc1": valence / 4 + rng.normal(0, 0.1, n),
            "pc2": rng.normal(0, 1, n), "valence": valence, "arousal": rng.uniform(1, 9, n), "family": "one",
            "core": np.arange(n) % 5 == 0, "explained1": 0.262, "explained2": 0.151, "site": "resid_post.18",
            "n_texts": 16,
        }
    )  # fmt: skip


def similarity_frame(n: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    unit = rng.normal(size=(n, 4))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    a, b = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    order = rng.permutation(n)
    return pd.DataFrame(
        {
            "emotion_a": [f"e{i}" for i in a.ravel()], "emotion_b": [f"e{i}" for i in b.ravel()],
            "cosine": (unit @ unit.T).ravel(), "order_a": order[a.ravel()], "order_b": order[b.ravel()],
        }
    )  # fmt: skip


def site_sweep_frame(streams: tuple[str, ...] = ("resid_post",)) -> pd.DataFrame:
    rows = [
        {
            "site": f"{stream}.{layer}", "layer": layer, "metric": metric, "value": top - abs(layer - 4) / 20,
            "low": top - abs(layer - 4) / 20 - 0.05, "high": top - abs(layer - 4) / 20 + 0.05, "n": 192,
            "chance": chance, "baseline": base,
        }
        for stream in streams
        for layer in range(8)
        for metric, top, chance, base in (("top1", 0.6, 1 / 24, 0.15), ("top5", 0.9, 5 / 24, 0.43))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def composition_frame() -> pd.DataFrame:
    shares = [("latent", 12, "L12 fear", 0.034), ("latent", 7, "L7 calm", -0.012), ("latent", 9, "L9 night", 0.004)]
    shares += [("other latents", -1, "other latents", 0.66), ("error", -1, "SAE error", 0.314)]
    rows = [
        {
            "emotion": "afraid", "kind": kind, "latent": latent, "label": label, "share": share, "low": share - 0.01,
            "high": share + 0.01, "null_low": -0.004, "null_high": 0.006, "n_texts": 192,
        }
        for kind, latent, label, share in shares
    ]  # fmt: skip
    return pd.DataFrame(rows)


def latents_frame() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        [
            {
                "emotion": emotion, "latent": 100 + j, "label": f"L{100 + j}  'quote\" {j}",
                "delta": rng.normal(0, 0.1),
                "emotion_order": i, "latent_order": j,
            }
            for i, emotion in enumerate(EMOTIONS)
            for j in range(5)
        ]
    )  # fmt: skip


def dose_frame() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"emotion": emotion, "arm": arm, "kl": level * 1.01, "level": level, "effect": gain * level**0.5,
             "low": gain * level**0.5 - 0.2, "high": gain * level**0.5 + 0.2, "n": 24}
            for emotion in EMOTIONS
            for arm, gain in (("raw", 2.0), ("random", 0.1), ("k=1", 0.8), ("k=4", 1.0), ("k=16", 1.3), ("rest", 1.9))
            for level in (0.05, 0.1, 0.5)
        ]
    )  # fmt: skip


def patching_frame(column: str = "where") -> pd.DataFrame:
    places = ["last", "between", "changed word", "before"] if column == "where" else [-1, -2, -10]
    return pd.DataFrame(
        [
            {"site": f"resid_post.{layer}", "layer": layer, column: place, "recovered": (layer - 3) / 4 * (i - 1),
             "low": -0.1, "high": 0.1, "n": 127}
            for layer in range(8)
            for i, place in enumerate(places)
        ]
    )  # fmt: skip


FRAMES = {
    "vector_map": vector_map_frame,
    "similarity": similarity_frame,
    "site_sweep": site_sweep_frame,
    "composition": composition_frame,
    "latents_by_emotion": latents_frame,
    "dose_curves": dose_frame,
    "patching": patching_frame,
}


def subtitle(chart: alt.TopLevelMixin) -> str:
    return " ".join(chart.to_dict()["title"]["subtitle"])


def test_every_family_has_a_frame_here() -> None:
    assert list(FRAMES) == list(charts.FAMILIES)


@pytest.mark.parametrize("name", list(FRAMES))
def test_chart_is_valid_titled_and_leaves_the_table_alone(name: str) -> None:
    frame = FRAMES[name]()
    before = frame.copy(deep=True)
    chart = charts.draw(name, frame)
    spec = chart.to_dict(validate=True)
    pd.testing.assert_frame_equal(frame, before)
    assert spec["config"]["font"] == theme.FONT
    assert "n = " in subtitle(chart)
    json.dumps(spec, allow_nan=False)


@pytest.mark.parametrize("name", list(FRAMES))
def test_row_index_and_order_of_rows_do_not_matter_to_the_caption(name: str) -> None:
    frame = FRAMES[name]()
    moved = frame.set_axis(range(500, 500 + len(frame)), axis=0)
    assert charts.caption(name, moved) == charts.caption(name, frame)
    charts.draw(name, frame.sample(frac=1, random_state=0)).to_dict()


@pytest.mark.parametrize("name", list(FRAMES))
def test_missing_columns_are_named(name: str) -> None:
    frame = FRAMES[name]()
    column = frame.columns[1]
    with pytest.raises(ConfigError, match=f"chart '{name}'.*'{column}'"):
        charts.draw(name, frame.drop(columns=column))
    with pytest.raises(ConfigError, match="without rows"):
        charts.caption(name, frame.iloc[:0])


def test_a_misspelt_column_is_suggested() -> None:
    with pytest.raises(ConfigError, match="did you mean 'valance'"):
        charts.draw("vector_map", vector_map_frame().rename(columns={"valence": "valance"}))


def test_unknown_chart_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'vector_map'"):
        charts.draw("vektor_map", vector_map_frame())


def test_vector_map_axes_say_the_variance_and_share_one_unit() -> None:
    frame = vector_map_frame()
    spec = charts.draw("vector_map", frame).to_dict()
    encodings = [layer["encoding"] for layer in spec["layer"] if "color" in layer["encoding"]]
    (points,) = encodings
    assert points["x"]["axis"]["title"] == "PC1 (26 % of variance)"
    assert points["y"]["axis"]["title"] == "PC2 (15 % of variance)"
    x, y = (points[axis]["scale"]["domain"] for axis in "xy")
    assert (x[1] - x[0]) / spec["width"] == pytest.approx((y[1] - y[0]) / spec["height"], rel=0.01)
    assert x[0] < frame["pc1"].min()
    assert frame["pc1"].max() < x[1]


def test_vector_map_names_every_core_emotion() -> None:
    frame = vector_map_frame()
    spec = charts.draw("vector_map", frame).to_dict()
    named = {row["text"] for rows in spec["datasets"].values() for row in rows if "text" in row and row["core"]}
    assert named == set(frame.loc[frame["core"], "emotion"])


def test_captions_hold_the_numbers_of_the_table() -> None:
    assert "26 % and 15 %" in charts.caption("vector_map", vector_map_frame())
    r = vector_map_frame()[["pc1", "valence"]].corr().iloc[0, 1]
    assert f"PC1 with valence r = {r:.2f}" in charts.caption("vector_map", vector_map_frame())
    assert "top-1 is highest at resid_post.4 (60 %, interval 55 to 65 %; TF-IDF 15 %, chance 4.2 %)" in charts.caption(
        "site_sweep", site_sweep_frame()
    )
    text = charts.caption("composition", composition_frame())
    assert "L12 fear, holds 3.4 % (2.4 to 4.4 %)" in text
    assert "error 31 %" in text
    assert "k=16 median 0.41 over 6 emotions" in charts.caption("dose_curves", dose_frame())
    assert "127 pairs" in charts.caption("patching", patching_frame())


def test_similarity_drops_the_names_of_large_matrices_and_passes_the_row_limit() -> None:
    small = charts.draw("similarity", similarity_frame(6)).to_dict()
    large = charts.draw("similarity", similarity_frame(80)).to_dict()
    assert small["encoding"]["x"]["axis"].get("labels", True)
    assert large["encoding"]["x"]["axis"]["labels"] is False
    assert sum(len(rows) for rows in large["datasets"].values()) == 6400


def test_similarity_colours_end_at_the_largest_other_cosine() -> None:
    frame = similarity_frame()
    domain = charts.draw("similarity", frame).to_dict()["encoding"]["color"]["scale"]["domain"]
    other = frame[frame["emotion_a"] != frame["emotion_b"]]["cosine"].abs().max()
    assert domain[0] == -domain[1]
    assert other <= domain[1] < other + 0.1


def test_site_sweep_draws_a_panel_a_stream_and_says_the_interval() -> None:
    chart = site_sweep.site_sweep(site_sweep_frame(("resid_post", "mlp_out")), interval="95 % bootstrap over topics")
    assert len(chart.to_dict()["vconcat"]) == 2
    assert "95 % bootstrap over topics" in subtitle(chart)


def test_one_layer_keeps_its_interval() -> None:
    frame = site_sweep_frame().query("layer == 4")
    kinds = [layer["mark"]["type"] for layer in site_sweep.site_sweep(frame).to_dict()["layer"]]
    assert "area" not in kinds
    assert kinds.count("rule") == 6


def test_composition_colours_the_sign() -> None:
    spec = charts.draw("composition", composition_frame()).to_dict()
    colour = {row["label"]: row["colour"] for rows in spec["datasets"].values() for row in rows if "label" in row}
    assert colour == {
        "L12 fear": theme.POSITIVE, "L7 calm": theme.NEGATIVE, "L9 night": theme.POSITIVE,
        "other latents": theme.OTHER, "SAE error": theme.ERROR,
    }  # fmt: skip


def test_arms_differ_in_colour_dash_and_shape() -> None:
    styles = theme.arm_styles(["random", "rest", "raw", "k=4", "error part", "k=1", "k=16"])
    assert list(styles) == ["raw", "k=16", "k=4", "k=1", "random", "rest", "error part"]
    for part in zip(*styles.values(), strict=True):
        assert len(set(part)) == len(styles)


def test_dose_axis_is_logarithmic_unless_a_dose_is_zero() -> None:
    frame = dose_frame()
    kinds = []
    for table in (frame, frame.assign(kl=frame["kl"] - frame["kl"].min())):
        layers = dose_curves.dose_curves(table).to_dict()["spec"]["layer"]
        kinds.append(layers[1]["encoding"]["x"]["scale"]["type"])
    assert kinds == ["log", "sqrt"]


@pytest.mark.parametrize(
    ("column", "order"),
    [("where", ["before", "changed word", "between", "last"]), ("position", ["\u221210", "\u22122", "\u22121"])],
)
def test_patching_reads_from_top_to_bottom(column: str, order: list[str]) -> None:
    spec = patching.patching(patching_frame(column)).to_dict()
    assert spec["layer"][0]["encoding"]["y"]["sort"] == order
    assert spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == [-1, 1]


def test_patching_without_a_place_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"'where'.*'position'"):
        patching.patching(patching_frame().drop(columns="where"))


def test_missing_values_become_null_not_nan() -> None:
    frame = patching_frame()
    frame.loc[0, ["recovered", "low", "high"]] = np.nan
    json.dumps(patching.patching(frame).to_dict(), allow_nan=False)


def test_importing_loads_nothing_heavy_and_enables_no_theme() -> None:
    code = (
        "import sys, altair\n"
        "before = altair.theme.active\n"
        "import emovec_sae.charts as c\n"
        "from importlib import import_module\n"
        "[import_module(f'emovec_sae.charts.{n}') for n in c.FAMILIES]; c.save_chart\n"
        "heavy = {'torch', 'h5py', 'transformers', 'nnsight', 'sae_lens', 'sklearn'} & set(sys.modules)\n"
        "print(sorted(heavy), before == altair.theme.active, 'emovec' in altair.theme.names())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True True"
