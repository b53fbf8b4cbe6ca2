"""Other people's data sets: files in their own layouts, and labels matched with emotions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emovec_sae.cli.main import main
from emovec_sae.corpora import load_corpus, load_emotions
from emovec_sae.corpora.layout_readers import GOEMOTIONS
from emovec_sae.corpora.layouts import LAYOUTS, SUGGESTED, layout_frame, suggest_emotion
from emovec_sae.directions.labels import label_map, labels_of, told_map
from emovec_sae.errors import ConfigError, CorpusError
from emovec_sae.store.reader import open_activations
from emovec_sae.testing import tiny_folder


def labels(frame: pd.DataFrame) -> list[list[str]]:
    return [json.loads(text) for text in frame["labels"]]


def written(path: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_goemotions_filtered_files_have_no_header_and_numbers_for_labels(tmp_path: Path) -> None:
    path = written(tmp_path / "train.tsv", 'It "works", so\t17,20\teebbqej\nWhat now\t27\ted00q6i\n"Quoted"\t14\tx1\n')
    frame = load_corpus(path, layout="goemotions").frame
    assert frame["id"].tolist() == ["eebbqej", "ed00q6i", "x1"]
    assert frame["text"].tolist() == ['It "works", so', "What now", "Quoted"]
    assert labels(frame) == [["joy", "optimism"], ["neutral"], ["fear"]]
    assert frame["group"].tolist() == frame["id"].tolist()


def test_goemotions_parquet_and_raw_raters_agree_with_it(tmp_path: Path, caplog) -> None:
    table = pd.DataFrame({"text": ["one", "two"], "labels": [[17, 20], [27]], "id": ["a", "b"]})
    table.to_parquet(tmp_path / "train.parquet")
    assert labels(load_corpus(tmp_path / "train.parquet", layout="goemotions").frame) == [["joy", "optimism"],
                                                                                         ["neutral"]]  # fmt: skip
    votes = [
        ("a", "one", {"joy", "optimism"}),
        ("a", "one", {"joy"}),
        ("a", "one", {"optimism", "fear"}),
        ("b", "two", {"neutral"}),
        ("b", "two", {"neutral"}),
        ("c", "three", {"fear"}),
        ("c", "three", {"joy"}),
    ]
    raw = pd.DataFrame([{"text": text, "id": name, "rater_id": row, "example_very_unclear": False,
                         **{label: int(label in chosen) for label in GOEMOTIONS}}
                        for row, (name, text, chosen) in enumerate(votes)])  # fmt: skip
    raw.to_csv(tmp_path / "goemotions_1.csv", index=False)
    found = load_corpus(tmp_path / "goemotions_1.csv", layout="goemotions").frame
    assert found["id"].tolist() == ["a", "b"]
    assert labels(found) == [["joy", "optimism"], ["neutral"]]
    assert "1 texts have no label on which 2 raters agree" in caplog.text


def test_isear_in_the_forms_that_go_around(tmp_path: Path, caplog) -> None:
    bars = (
        "ID|EMOT|INTS|SIT|Field1\n11|2|3|When I was lost.|fear\n"
        "11|1|4|A caf\xe9 with friends.|joy\n12|7|2|No response.|guilt\n"
    )
    frame = load_corpus(written(tmp_path / "isear.csv", bars, encoding="latin-1"), layout="isear").frame
    assert frame["emotion"].tolist() == ["fear", "joy"]
    assert frame["group"].tolist() == ["11", "11"]
    assert frame["text"][1] == "A caf\xe9 with friends."
    assert frame["intensity.fear"].tolist()[0] == 3
    assert np.isnan(frame["intensity.fear"][1])
    assert "1 texts hold no answer" in caplog.text
    numbers = written(tmp_path / "numbers.csv", "SIT,EMOT\nOne.,6\nTwo.,7\n")
    assert load_corpus(numbers, layout="isear").frame["emotion"].tolist() == ["shame", "guilt"]
    two = written(tmp_path / "two.csv", 'joy,"On days, when I\nam home."\nsadness,Alone.\n')
    found = load_corpus(two, layout="isear").frame
    assert found["emotion"].tolist() == ["joy", "sadness"]
    assert found["text"].tolist() == ["On days, when I am home.", "Alone."]


def test_crowd_envent_groups_by_writer_and_keeps_intensity_of_its_own_label(tmp_path: Path) -> None:
    head = "round_number\temotion\ttext_id\tprolific_id\tgenerated_text\thidden_emo_text\tintensity\n"
    rows = (
        "1\tpride\t7\tp1\tI felt pride\tI felt ...\t5\n1\tno-emotion\t8\tp1\tI ate.\tI ate.\t1\n"
        "1\ttrust\t9\tp2\tA friend.\tA friend.\t4\n"
    )
    frame = load_corpus(written(tmp_path / "g.tsv", head + rows), layout="crowd-envent").frame
    assert frame["emotion"].tolist() == ["pride", "no-emotion", "trust"]
    assert frame["group"].tolist() == ["p1", "p1", "p2"]
    assert frame["id"].tolist() == ["7", "8", "9"]
    assert frame["masked_text"][0] == "I felt ..."
    assert frame["intensity.pride"].tolist()[0] == 5
    assert frame["intensity.trust"].notna().tolist() == [False, False, True]
    assert "intensity.no-emotion" not in frame


def test_emobank_groups_by_document(tmp_path: Path) -> None:
    text = (
        'id,split,V,A,D,text\n110CYL068_1036_1079,train,3.0,3.2,2.9,"Yes, no."\n'
        "110CYL068_1079_1110,test,2.8,3.1,2.8,Hm.\n"
    )
    frame = load_corpus(written(tmp_path / "emobank.csv", text), layout="emobank").frame
    assert frame[["valence", "arousal", "dominance"]].to_numpy().tolist() == [[3.0, 3.2, 2.9], [2.8, 3.1, 2.8]]
    assert frame["group"].tolist() == ["110CYL068"] * 2
    assert frame["split"].tolist() == ["train", "test"]
    assert frame["text"].tolist() == ["Yes, no.", "Hm."]


def test_brighter_tells_labels_from_intensities_and_the_language_from_its_name(tmp_path: Path) -> None:
    path = written(
        tmp_path / "deu.csv", "id,text,Anger,Disgust,Fear,Joy,Sadness,Surprise\na,Ach.,0,1,0,0,1,0\nb,So.,0,0,0,0,0,0\n"
    )
    frame = load_corpus(path, layout="brighter").frame
    assert labels(frame) == [["disgust", "sadness"], []]
    assert frame["lang"].tolist() == ["de", "de"]
    assert not [name for name in frame if name.startswith("intensity.")]
    graded = pd.DataFrame({"id": ["a", "b"], "text": ["One.", "Two."], "anger": [0, 3], "fear": [2, 0],
                           "disgust": [None, None], "joy": [0, 0]})  # fmt: skip
    (tmp_path / "eng").mkdir()
    graded.to_parquet(tmp_path / "eng" / "train-00000-of-00001.parquet")
    found = load_corpus(tmp_path / "eng" / "train-00000-of-00001.parquet", layout="brighter").frame
    assert labels(found) == [["fear"], ["anger"]]
    assert found["intensity.anger"].tolist() == [0, 3]
    assert "intensity.disgust" not in found  # not annotated in English
    assert found["lang"].tolist() == ["en", "en"]


@pytest.mark.parametrize(
    ("name", "text", "layout", "said"),
    [
        ("x.tsv", "a text\t17\tid1\nanother\t31\tid2\n", "goemotions", r"line 2, column 'labels' holds '31'"),
        ("x.csv", "SIT,EMOT\nOne.,0\n", "isear", r"line 2, column 'emot' holds '0'; labels are joy"),
        ("x.tsv", "generated_text\temotion\nOne.\thappy\n", "crowd-envent", r"line 2.*'happy'; labels are anger"),
        ("x.csv", "id,V,A,text\na,high,3,One.\n", "emobank", r"line 2, column 'V' holds 'high'; it should be a number"),
        ("x.csv", "id,text\na,One.\n", "brighter", r"has no column 'anger'"),
        ("x.csv", "id,txt,V,A\na,One.,1,2\n", "emobank", r"no column 'text' \(did you mean 'txt'\?\)"),
        ("x.csv", 'id,text,V,A\na,"One.,1,2\n', "emobank", r"line 2: this cannot be read as separated values"),
        ("x.csv", "id,text,V,A\na,One.,1\n", "emobank", r"line 2: 3 cells where 4 are due"),
        ("x.csv", "", "isear", r"x\.csv is empty"),
        ("x.doc", "", "isear", r"ends in '\.doc'"),
        ("x.csv", "a,b\n", "go-emotion", r"unknown layout 'go-emotion' \(did you mean 'goemotions'\?\)"),
    ],
)
def test_another_file_than_its_layout_is_one_clear_line(name, text, layout, said, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=said) as caught:
        load_corpus(written(tmp_path / name, text), layout=layout)
    assert "\n" not in str(caught.value)


def test_a_packaged_corpus_and_a_missing_file_have_no_layout(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="packaged corpus and has no layout"):
        load_corpus("stories", layout="isear")
    with pytest.raises(CorpusError, match="there is no file"):
        load_corpus(tmp_path / "gone.csv", layout="isear")


# labels and emotions


def test_every_suggestion_is_one_of_the_171_and_every_layout_is_told() -> None:
    known = load_emotions().emotions
    assert all(emotion in known for emotions in SUGGESTED.values() for emotion in emotions)
    told = layout_frame().set_index("layout")
    for layout in LAYOUTS.values():
        parts = told.loc[layout.name]
        every = {pair.split("=")[0] for pair in parts["map"].split()} | set(parts["unmapped"].split())
        assert every == set(layout.labels)


def test_a_suggestion_falls_back_on_what_there_are_directions_for() -> None:
    assert suggest_emotion("remorse", ["remorseful", "guilty"]) == "remorseful"
    assert suggest_emotion("remorse", load_emotions().core) == "guilty"
    assert suggest_emotion("Fear", ["afraid"]) == "afraid"
    assert suggest_emotion("happy", ["happy"]) == "happy"
    assert suggest_emotion("neutral", load_emotions().emotions) is None


def test_the_map_reads_labels_lists_and_intensities() -> None:
    frame = pd.DataFrame({"emotion": ["fear", None, "sad"], "labels": ['["joy"]', None, '["trust", "joy"]'],
                          "intensity.anger": [1.0, 2.0, 3.0]})  # fmt: skip
    known = ["afraid", "angry", "happy", "joyful", "sad"]
    assert labels_of(frame) == ["anger", "fear", "joy", "sad", "trust"]
    assert label_map(frame, [], known=known) == {"sad": "sad"}
    auto = {"anger": "angry", "fear": "afraid", "joy": "happy", "sad": "sad"}
    assert label_map(frame, ["auto"], known=known) == auto
    assert label_map(frame, ["auto", "joy=joyful"], known=known) == {**auto, "joy": "joyful"}
    assert label_map(frame, ["joy=joyful", "auto"], known=known) == {**auto, "joy": "joyful"}
    assert label_map(frame, ["sad=happy"], known=known) == {"sad": "happy"}
    assert told_map(frame, auto) == "labels: anger=angry fear=afraid joy=happy; without a direction: trust"
    for pairs, said in (
        (["joy"], "cannot read the map 'joy'"),
        (["jou=happy"], r"no text is labelled 'jou' \(did you mean 'joy'\?\)"),
        (["joy=hapy"], r"no direction 'hapy' \(did you mean 'happy'\?\)"),
    ):
        with pytest.raises(ConfigError, match=said):
            label_map(frame, pairs, known=known)


# the way from a file to a check


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """A tiny model, directions of four emotions fitted with it, and how the texts of data sets are recorded."""
    folder = tmp_path_factory.mktemp("layouts")
    tiny_folder(folder / "model")
    stories = [{"text": f"A long evening in the old house {word * 3} {group}.", "emotion": emotion, "group": group}
               for emotion, word in (("afraid", "dark "), ("happy", "sun "), ("sad", "rain "), ("angry", "fire "))
               for group in ("g1", "g2", "g3")]  # fmt: skip
    (folder / "s.jsonl").write_text("\n".join(map(json.dumps, stories)))
    record(folder, "s.jsonl", "stories")
    site = ["--site", "resid_post.1", "--out", str(folder / "d.safetensors")]
    assert main(["fit", str(folder / "stories"), *site]) == 0
    return folder


def record(folder: Path, name: str, out: str, *options: str) -> None:
    where = ["--sites", "resid_post.1", "--offset", "5", "--out", str(folder / out)]
    assert main(["record", str(folder / name), "--model", str(folder / "model"), *where, *options]) == 0


def told(capsys, *arguments: str) -> tuple[dict, str]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    found = capsys.readouterr()
    return json.loads(found.out.splitlines()[-1]), found.err


def test_several_labels_go_from_the_file_to_the_check(work: Path, capsys) -> None:
    words = {"14": "dark", "17": "sun", "25": "rain", "0": "well"}
    rows = [f"the old house was {word} for long {step}\t{number}\tid{step}{number}"
            for step in range(4) for number, word in words.items()]  # fmt: skip
    written(work / "go.tsv", "\n".join(rows) + "\n")
    record(work, "go.tsv", "go", "--layout", "goemotions")
    assert "labels" in open_activations(work / "go").frame
    found, err = told(capsys, "check", "labels", str(work / "d.safetensors"), str(work / "go"), "--map", "auto")
    assert "AUROC of several labels" in found["numbers"]
    assert "labels: fear=afraid joy=happy sadness=sad; without a direction: admiration" in err
    assert found["settings"]["labels"] == {"fear": "afraid", "joy": "happy", "sadness": "sad"}


def test_single_labels_intensities_and_ratings_go_the_same_way(work: Path, capsys) -> None:
    rows = [f"{word} in the old house all day {step}|{label}|{step % 4 + 1}"
            for step in range(12) for label, word in (("fear", "dark"), ("joy", "sun"), ("guilt", "late"))]  # fmt: skip
    written(work / "isear.csv", "SIT|Field1|INTS\n" + "\n".join(rows) + "\n")
    record(work, "isear.csv", "isear", "--layout", "isear")
    found, err = told(capsys, "check", "labels", str(work / "d.safetensors"), str(work / "isear"), "--map", "auto")
    assert {"top-1 of single labels", "intensity, Spearman's rho"} <= set(found["numbers"])
    assert found["numbers"]["top-1 of single labels"]["n"] == 24
    assert "without a direction: guilt" in err
    both, err = told(capsys, "evaluate", str(work / "d.safetensors"), str(work / "isear"), "--map", "auto")
    assert both["top1"]["n"] == 24
    assert "fear=afraid joy=happy" in err
    pairs = ["--map", "fear=afraid", "--map", "joy=happy", "--map", "guilt=sad"]
    assert told(capsys, "evaluate", str(work / "d.safetensors"), str(work / "isear"), *pairs)[0]["top1"]["n"] == 36


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["record", "go.tsv", "--layout", "goemotion", "--sites", "resid_post.1"], "did you mean 'goemotions'"),
        (["record", "s.jsonl", "--layout", "emobank", "--sites", "resid_post.1"], "no column 'V'"),
        (["check", "labels", "d.safetensors", "stories", "--map", "fear"], "write LABEL=EMOTION, or auto"),
        (["evaluate", "d.safetensors", "stories", "--map", "fear=afraid"], "no text is labelled 'fear'"),
    ],
)
def test_bad_input_is_one_line(work: Path, arguments, said, tmp_path: Path, capsys) -> None:
    (work / "go.tsv").touch()
    names = {"go.tsv", "s.jsonl", "d.safetensors", "stories"}
    given = [str(work / one) if one in names else one for one in arguments]
    out = ["--model", str(work / "model"), "--out", str(tmp_path / "out")] if given[0] == "record" else []
    assert main([*given, *out]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emovec:")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not list(tmp_path.iterdir())


def test_the_layouts_are_listed(capsys) -> None:
    found, _ = told(capsys, "corpora", "layouts")
    assert [row["layout"] for row in found["layouts"]] == list(LAYOUTS)
    assert main(["corpora", "layouts"]) == 0
    assert "fear=afraid" in capsys.readouterr().out
