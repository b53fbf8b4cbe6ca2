from __future__ import annotations

import json
import subprocess
import sys

import altair as alt
import numpy as np
import pandas as pd
import pytest
from chart_frames import (
    FRAMES,
    composition_frame,
    dose_frame,
    k90_frame,
    latents_frame,
    lens_frame,
    patching_frame,
    rsa_frame,
    scenario_frame,
    similarity_frame,
    site_sweep_frame,
    token_frame,
    vector_map_frame,
)

from emovec_sae import charts
from emovec_sae.charts import dose_curves, patching, site_sweep, theme
from emovec_sae.charts.logit_lens import shown
from emovec_sae.errors import ConfigError


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
    assert "n = " in subtitle(chart) or "n" in subtitle(chart).split()
    assert spec["usermeta"] == {"emovec": {"family": name, "options": {}, "width": "double"}}
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
    column = charts.columns(name)[1]
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
    named = {row["emotion"] for rows in spec["datasets"].values() for row in rows if "far" in row and row["core"]}
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


def datasets(chart: alt.TopLevelMixin) -> list[dict[str, object]]:
    return [row for rows in chart.to_dict()["datasets"].values() for row in rows]


def test_composition_draws_the_permuted_labels_where_the_table_has_them() -> None:
    frame = composition_frame()
    plain = charts.draw("composition", frame)
    known = frame["kind"] == "latent"
    both = frame.assign(permuted_low=np.where(known, -0.002, np.nan), permuted_high=np.where(known, 0.02, np.nan))
    drawn = charts.draw("composition", both)
    assert "permuted labels" in subtitle(drawn)
    assert "permuted labels" not in subtitle(plain)
    assert len(drawn.to_dict()["vconcat"][0]["layer"]) == len(plain.to_dict()["vconcat"][0]["layer"]) + 3
    # Of the intervals 2.4 to 4.4 %, -2.2 to -0.2 % and -0.6 to 1.4 % the first alone lies above 2 %.
    assert "1 of 3 latents lie above theirs" in charts.caption("composition", both)


def test_shared_latents_stand_beside_the_heat_map() -> None:
    frame = latents_frame()
    shared = frame.assign(participation=1.0 + frame["latent_order"], generic=frame["latent_order"] > 2)
    assert len(charts.draw("latents_by_emotion", shared).to_dict()["hconcat"]) == 2
    assert "2 of the latents are generic" in charts.caption("latents_by_emotion", shared)
    assert "3 specific" in charts.caption("latents_by_emotion", shared)


def test_maps_of_several_methods_stand_side_by_side() -> None:
    frame = vector_map_frame()
    other = frame.assign(method="PaCMAP", explained1=np.nan, explained2=np.nan, pc1=frame["pc2"] * 3)
    spec = charts.draw("vector_map", pd.concat([frame, other], ignore_index=True)).to_dict()
    (line,) = spec["vconcat"]
    titles = [panel["title"]["text"] for panel in line["hconcat"]]
    assert [title.split(":")[0] for title in titles] == ["PCA", "PaCMAP"]
    assert "only neighbourhoods" in titles[1]


def test_layers_of_one_stream_are_drawn_in_their_order() -> None:
    spec = charts.draw("rsa", rsa_frame()).to_dict()
    assert spec["layer"][0]["encoding"]["x"]["sort"] == ["9", "10", "11"]
    models = charts.draw("rsa", rsa_frame(("smollm2", "gemma"))).to_dict()
    assert models["layer"][0]["encoding"]["x"]["sort"] == ["smollm2", "gemma"]


def test_scenarios_count_the_rows_that_their_own_direction_leads() -> None:
    frame = scenario_frame()
    wrong = (frame["target"] == "sad") & (frame["read"] == "calm")
    frame.loc[wrong, "score"] = 3.0
    assert "strongly of all in 5 of 6 rows" in charts.caption("scenario_matrix", frame)


@pytest.mark.parametrize(
    ("token", "drawn"), [(" afraid", "afraid"), ("\n", "\\n"), ("\u6050", "\\u6050"), ("\u0443\u0436", "\u0443\u0436")]
)
def test_tokens_are_written_with_the_letters_that_the_font_has(token: str, drawn: str) -> None:
    assert shown(token) == drawn


def test_the_logit_lens_counts_names_among_the_tokens() -> None:
    told = charts.caption("logit_lens", lens_frame())
    assert "own name is among them for 1 emotions" in told  # 'afraid' by itself, of six emotions


def test_tokens_that_were_not_read_stand_on_white_and_lines_break_at_the_margin() -> None:
    chart = charts.draw("token_heat", token_frame())
    cells = [row for row in datasets(chart) if row.get("reader") == "afraid"]
    assert sum(row["score"] is None for row in cells) == 2
    right = max(float(str(row["right"])) for row in cells)
    assert right <= chart.to_dict()["vconcat"][0]["width"]
    narrow = charts.draw("token_heat", token_frame(), width="single")
    lines = {row["top"] for row in datasets(narrow)}
    assert len(lines) > len({row["top"] for row in datasets(chart)})


def test_k90_says_what_has_no_ratio_and_where_a_match_begins() -> None:
    told = charts.caption("k90", k90_frame())
    assert "2 of the 2 emotions that have a ratio" in told
    assert "k90: afraid 16, happy 4" in told
    assert "1 emotions have no ratio" in told
    texts = [row.get("text") for row in datasets(charts.draw("k90", k90_frame()))]
    assert "no ratio: the raw effect" in texts


def test_parts_that_were_moved_at_one_layer_have_a_line_each() -> None:
    table = FRAMES["carriers"]()
    table = table[(table["what"] == "residual") | (table["layer"] == 2)]
    table["recovered"] = table["recovered"].where(table["what"] == "residual", table["recovered"] / 10)
    table = table.assign(low=table["recovered"] - 0.05, high=table["recovered"] + 0.05)
    panels = [panel for line in charts.draw("carriers", table).to_dict()["vconcat"] for panel in line["hconcat"]]
    alone = [panel for panel in panels if panel["title"]["text"].endswith("parts alone")]
    assert [panel["title"]["text"] for panel in alone] == ["changed word, parts alone", "last token, parts alone"]
    for panel in alone:
        points = panel["layer"][-1]["encoding"]
        assert points["x"]["title"] == "recovered, layer 2"
        assert points["y"]["sort"] == ["direction", "random latents", "k=16"]
