from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from chart_frames import FRAMES
from report_run import ATTACK, ENDING, LIVE, make_card, make_run

from emovec_sae.charts import FAMILIES
from emovec_sae.errors import StoreError
from emovec_sae.report import bundle, embed, evidence, live, page, prose, samples, words, write_report
from emovec_sae.report.run import Passage


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "img", "link", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a run in which two figures answer the reader."""
    run = make_run(tmp_path_factory.mktemp("living") / "run", live=True)
    return write_report(run).read_text(encoding="utf-8")


def html_of(run: Path) -> str:
    return write_report(run).read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_has_every_section(run: Path) -> None:
    assert write_report(run) == run / "report.html"
    seen = Page(html_of(run))
    assert seen.open == []
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {"verdict", "scores", "figures", "latents", "generations", "provenance"} <= set(ids)
    assert {f"figure-{name}" for name in FAMILIES} <= set(ids)
    targets = {link["href"].removeprefix("#") for link in seen.all("a") if link["href"].startswith("#")}
    assert targets <= set(ids)
    assert "latent-1234" in targets


def test_corpus_text_is_escaped_everywhere(living: str) -> None:
    html = living
    # The two specifications, the library and the drawer; the texts bring none.
    assert html.lower().count("<script") == html.lower().count("</script") == len(LIVE) + 2
    # Title twice, verdict, score, captions, a raised token, five passages with footers, eight generations.
    assert html.count("&lt;script&gt;") >= 20
    assert Page(html).text.count(ATTACK) >= 20


def test_the_page_needs_nothing_else(living: str) -> None:
    html = living
    seen = Page(html)
    for tag, attributes in seen.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "srcset", "href", "data", "poster", "action"):
            assert re.match(r"(data:|#|$)", attributes.get(name, "")), (tag, name)
    own = html.replace(bundle.library(), "")
    assert "url(" not in own
    assert "@import" not in own
    (policy,) = [meta for meta in seen.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    allowed = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in re.findall(r"<script( [^>]*)?>(.*?)</script>", html, re.DOTALL)
        if not kind
    ]
    assert len(allowed) == 2
    assert policy["content"] == (
        f"default-src 'none'; script-src 'sha256-{allowed[0]}' 'sha256-{allowed[1]}'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_figures_with_their_tables_answer_the_reader(living: str) -> None:
    html = living
    specs = dict(re.findall(r'<script type="application/json" id="spec-(\w+)">(.*?)</script>', html, re.DOTALL))
    assert set(specs) == set(LIVE)
    assert ENDING in json.dumps(json.loads(specs["naming"]), ensure_ascii=False).replace('\\"', '"')
    (zoomed,) = [one for one in json.loads(specs["naming"])["params"] if one["name"] == "zoomed"]
    assert zoomed["select"]["zoom"] == "wheel![event.shiftKey]"
    assert "Shift and wheel to zoom" in html
    assert "This figure is a picture only: similarity.parquet is missing." in html


def test_what_is_left_out_is_listed_with_its_reason(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in (run / "figures").glob("carriers.*"):
        part.unlink()
    (run / "stages" / "patching.json").write_text(json.dumps({"about": "patch", "seconds": 1.0}))
    for part in (run / "figures").glob("patching.*"):
        part.unlink()
    monkeypatch.setattr(embed, "MOST_CSV", 10)
    text = " ".join(Page(html_of(run)).text.split())
    _, _, told = text.partition("What is not shown")
    assert "What carries the answer from one text to another: the study does not set 'patching.carriers'" in told
    assert (
        "Where the feeling travels through the text: patching.parquet is missing, which this study does not ask" in told
    )
    assert "Which emotions are alike:" not in told
    assert "Figure 2 comes without its table, which is larger than 1e-05 MB" in told
    assert "Figure 2 is a picture only: similarity.parquet is missing" in told
    assert "embedded as PNG" not in told


def test_a_figure_whose_table_waits_is_named_with_the_command(run: Path) -> None:
    (run / "tables").mkdir()
    FRAMES["site_sweep"]().to_parquet(run / "tables" / "site_sweep.parquet", index=False)
    for part in (run / "figures").glob("site_sweep.*"):
        part.unlink()
    text = " ".join(Page(html_of(run)).text.split())
    assert f"draw it with: emovec figures {run}" in text
    assert "an emotion can be read: its table is there and it was not drawn" in text


def test_a_run_without_tables_runs_no_script(run: Path) -> None:
    html = html_of(run)
    assert "<script" not in html
    assert "script-src 'none'" in html


def test_a_table_of_another_version_stays_a_picture(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "naming.parquet")
    found = live.live(tmp_path / "naming.parquet", "naming")
    assert found.spec == ""
    assert "emotion" in found.why
    assert live.live(tmp_path / "naming.parquet", "what").why == "'what' is no family of charts"


def test_a_specification_cannot_leave_its_element() -> None:
    text = live.safe_json({"a": ENDING + "\u2028 & é"})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"a": ENDING + "\u2028 & é"}


def test_the_library_is_the_one_that_altair_writes_for() -> None:
    import altair as alt

    assert f'"{alt.SCHEMA_VERSION.removeprefix("v")}"' in bundle.library()
    assert "</script" not in bundle.library().lower()
    assert not re.search("[\r\0]|<!--", bundle.library())


def test_every_copy_of_the_library_carries_its_licences() -> None:
    head, _, script = bundle.library().partition("*/\n")
    assert script.startswith("(()=>")
    assert head.startswith("/*!")
    for name in (
        "vega 6.2.0",
        "vega-lite 6.4.1",
        "d3-array 3.2.4",
        "delaunator 5.0.0",
        "Joachim Wester",
        "ISC License",
    ):
        assert name in head
    import altair as alt
    import vl_convert

    assert f"vega-lite {alt.SCHEMA_VERSION.removeprefix('v')}" in head
    assert f"vega {vl_convert.get_vega_version()}" in head
    assert f"vega-embed {vl_convert.get_vega_embed_version()}" in head


def test_the_card_stands_beside_its_nulls(run: Path, tmp_path: Path) -> None:
    page_of = write_report(run, out=tmp_path / "x.html", card=make_card(tmp_path / "card", model="other"))
    text = " ".join(Page(page_of.read_text()).text.split())
    assert "top-1 0.60 0.57 to 0.64 0.042" in text
    assert "quiet" not in text
    assert "another model than the run" in text
    assert "languages (one language only)" in text
    assert "Score card" not in Page(html_of(run)).text
    make_card(run)
    text = Page(html_of(run)).text
    assert "Score card" in text
    assert "another model" not in text
    with pytest.raises(StoreError, match="there is no score card"):
        write_report(run, card=tmp_path / "nowhere")


def test_the_diagnostics_are_told(run: Path) -> None:
    seen = Page(html_of(run))
    text = " ".join(seen.text.split())
    assert "EV001 length warn" in text
    assert "0.61, interval 0.60 to 0.62, limit 0.56, n 48" in text
    assert "0 of 342 texts were among its training texts" in text
    assert "1 of 3 calibrations did not reach their dose" in text
    assert "k=1afraid0.250.11" in text.replace(" ", "")
    assert "record the texts, 61.2 s" in text
    assert "left out: the study does not set 'generations'" in text
    assert "left out: it was not run" in text
    links = {link["download"]: link["href"] for link in seen.all("a") if "download" in link}
    assert (
        base64.b64decode(links["missed_doses.csv"].partition(",")[2]).decode().splitlines()[1].startswith("k=1,afraid")
    )


def test_a_run_without_evidence_says_so(run: Path) -> None:
    for name in ("diagnose.json", "passport.json", "comparison.doses.parquet", "verdict.md", "stages/record.json"):
        (run / name).unlink()
    text = " ".join(Page(html_of(run)).text.split())
    assert "No diagnostics were run" in text
    assert "no passport of its SAE" in text
    assert "calibrated no doses" in text
    assert "keeps no list of its stages" in text
    assert "in full" not in text


def test_a_verdict_is_taken_apart() -> None:
    parts = prose.parts_of("# Head\n\nSome\nwords.\n\n- a\n- b\n\n| x | y |\n|---|---|\n| 1 | 2 |\n")
    assert [(one.kind, one.text, one.rows) for one in parts] == [
        ("heading", "Head", []), ("paragraph", "Some words.", []), ("list", "", [["a"], ["b"]]),
        ("table", "", [["x", "y"], ["1", "2"]]),
    ]  # fmt: skip


def test_the_base_and_random_stand_beside_every_emotion(run: Path) -> None:
    from emovec_sae.report.run import read_run

    beside = samples.written(read_run(run).generations)
    assert {emotion: [one.arm for one in prompts["Tell me."]] for emotion, prompts in beside.items()} == {
        "afraid": ["base", "raw", "k=16", "random"], "worn out": ["base", "raw", "k=16", "random"],
    }  # fmt: skip


def test_a_battery_shows_regime_and_scores(tmp_path: Path) -> None:
    from emovec_sae.interventions.comparison.generations_result import Generations

    numbers = dict.fromkeys(
        ("distinct_1", "distinct_2", "distinct_3", "repeated", "surprise", "perplexity", "valence_masked"), 0.5
    )
    key = {"draw": 0, "fold": 0, "prompt": 0, "seed": 0, "reached": True, "kl": 0.1, "tokens": 2}
    texts = [
        {**key, **numbers, "arm": arm, "emotion": emotion, "level": level, "text": f"{arm} {level:g}",
         "regime": "clean" if arm == "base" else "vivid", "valence": value}
        for arm, emotion, level, value in (("random", None, 0.1, 5.0), ("base", None, float("nan"), 5.0),
                                           ("raw", "happy", 0.1, 6.5), ("raw", "happy", 0.05, 6.0))
    ]  # fmt: skip
    made = Generations(pd.DataFrame(texts).astype({"emotion": object}), pd.DataFrame(), {"prompts": ["Tell me."]})
    found = samples.battery(made.save(tmp_path / "generated.parquet"))
    assert [(one.arm, one.dose, one.text, one.regime) for one in found["happy"]["Tell me."]] == [
        ("base", "", "base nan", "clean"), ("raw", "0.1 nats", "raw 0.1", "vivid"),
        ("random", "0.1 nats", "random 0.1", "vivid"),
    ]  # fmt: skip
    told = "change against the base text"
    scores = [one.scores for one in found["happy"]["Tell me."]]
    assert scores == [[], [("valence", "1.50", told)], [("valence", "0.00", told)]]


def test_diagnostics_of_the_card_serve_the_run(run: Path, tmp_path: Path) -> None:
    checks = tmp_path / "card" / "checks"
    checks.mkdir(parents=True)
    (run / "diagnose.json").rename(checks / "diagnostics.json")
    assert evidence.gather(run).findings == []
    assert [one.code for one in evidence.gather(run, card=tmp_path / "card").findings] == ["EV001", "EV002"]


def test_it_can_be_read_by_everyone(run: Path) -> None:
    seen = Page(html_of(run))
    assert seen.all("html") == [{"lang": "en"}]
    assert any("width=device-width" in meta.get("content", "") for meta in seen.all("meta"))
    assert len(seen.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(below <= above + 1 for above, below in itertools.pairwise(levels))
    assert all(image["alt"] for image in seen.all("img"))
    assert all("scope" in header for header in seen.all("th"))


def test_tables_travel_as_csv(run: Path) -> None:
    links = {link["download"]: link["href"] for link in Page(html_of(run)).all("a") if "download" in link}
    for name in FAMILIES:
        content = base64.b64decode(links[f"{name}.csv"].removeprefix("data:text/csv;base64,"))
        assert content == (run / "figures" / f"{name}.csv").read_bytes()
    scores = base64.b64decode(links["scores.csv"].partition(",")[2]).decode().splitlines()
    assert scores[0] == "group,name,value,low,high,n,note"
    assert len(scores) == 5
    assert "generations.csv" in links


def test_scores_stand_with_interval_and_count(run: Path) -> None:
    text = " ".join(Page(html_of(run)).text.split())
    assert "0.62 0.55 to 0.69 192" in text or "0.63 0.55 to 0.69 192" in text
    assert "2.3 \u00d7 10\u207b\u2077 \u2013 \u2013" in text
    assert "l0 \u2013 \u2013 40,960" in text


def test_tokens_are_shaded_by_activation(run: Path) -> None:
    marks = Page(html_of(run)).all("mark")
    assert len(marks) == 10
    assert marks[:2] == [
        {"style": "--a: 0.500", "title": "activation 4.25"},
        {"style": "--a: 1.000", "title": "activation 8.50"},
    ]


def test_passages_beyond_the_first_open_on_demand(run: Path) -> None:
    assert "2 more passages" in html_of(run)


def test_large_figures_become_png_and_large_tables_are_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "MOST_SVG", 10)
    monkeypatch.setattr(embed, "MOST_CSV", 10)
    seen = Page(html_of(run))
    assert all(image["src"].startswith("data:image/png;base64,") for image in seen.all("img"))
    assert "figures/similarity.csv in the run folder" in seen.text
    assert not any(link.get("download") == "similarity.csv" for link in seen.all("a"))


def test_a_page_that_is_too_large_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST_BYTES", 1000)
    with pytest.raises(StoreError, match="more than"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_the_page_goes_where_it_is_asked_and_replaces_the_last(run: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "page.html"
    assert write_report(run, out=target) == target
    first = target.read_bytes()
    write_report(run, out=target)
    assert target.read_bytes() == first
    assert [path.name for path in target.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("results.json", "emovec run"),
        ("latents.json", "emovec run"),
        ("generations.json", "emovec run"),
        ("figures/patching.svg", "emovec figures"),
        ("figures/similarity.csv", "emovec figures"),
        ("figures/dose_curves.caption.md", "emovec figures"),
    ],
)
def test_a_missing_piece_is_named_with_its_command(run: Path, name: str, command: str) -> None:
    (run / name).unlink()
    with pytest.raises(StoreError, match=rf"{Path(name).name}' is missing; make it with: {command}"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no run at"):
        write_report(tmp_path / "nowhere")


def test_a_damaged_file_is_named_with_the_place(run: Path) -> None:
    latents = json.loads((run / "latents.json").read_text())
    del latents[0]["passages"][2]["id"]
    (run / "latents.json").write_text(json.dumps(latents))
    with pytest.raises(StoreError, match=r"latents.json' cannot be read at 0\.passages\.2\.id"):
        write_report(run)
    (run / "latents.json").write_text("[{")
    with pytest.raises(StoreError, match=r"latents.json' cannot be read at the whole file"):
        write_report(run)


def test_a_run_without_latents_and_generations_says_so(run: Path) -> None:
    for name in ("latents", "generations"):
        (run / f"{name}.json").write_text("[]")
    text = Page(html_of(run)).text
    assert "The run recorded no latents." in text
    assert "The run holds no generations." in text


def test_a_silent_passage_has_no_marks() -> None:
    passage = Passage.model_validate({"emotion": "calm", "id": "x", "pieces": [{"token": "a", "activation": 0.0}]})
    shaded = words.shade(passage)
    assert shaded.peak == "silent in this passage"
    assert [stretch.strength for stretch in shaded.stretches] == [0.0]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.625001, "0.63"), (-0.12, "\u22120.12"), (0.0, "0.00"), (23.0, "23"), (32.44, "32.4"), (40960, "40,960"),
        (0.0123, "0.012"), (-0.00021, "\u22122.1 \u00d7 10\u207b\u2074"), (None, "\u2013"), (float("inf"), "\u2013"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(value: float | None, said: str) -> None:
    assert words.number(value) == said


def test_tokens_show_their_blanks() -> None:
    assert [words.visible(token) for token in (" fear", "\n", "  ", "", "a\tb")] == [
        "fear", "\u21b5", "\u2423\u2423", "(empty)", "a\u21e5b",
    ]  # fmt: skip


def test_provenance_is_flat_and_readable() -> None:
    facts = words.flatten({"command": ["emovec", "demo"], "a": {"b": 1, "c": None}, "list": [1, 2], "in": [{"n": "x"}]})
    assert facts == [("command", "emovec demo"), ("a.b", "1"), ("a.c", "not known"), ("list", "1, 2"), ("in.0.n", "x")]
