"""The packaged texts: what is there, how it is chosen from, and what a wrong name says."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from emovec_sae.corpora import (
    CORPORA,
    contrast_words,
    load_corpus,
    load_emotions,
    load_lexicon,
    load_norms,
    load_pairs,
    load_prompts,
)
from emovec_sae.errors import CorpusError

# (texts, emotions, groups, languages), as data/README.md tells them
SIZES = {
    "stories": (2736, 171, 16, {"en"}),
    "neutral": (240, 0, 240, {"en"}),
    "scenarios": (144, 24, 144, {"en"}),
    "multilingual": (288, 12, 6, {"es", "fr", "de", "zh"}),
    "prompts": (60, 0, 60, {"en"}),
    "intensity": (128, 0, 16, {"en"}),
    "activities": (64, 0, 64, {"en"}),
}


@pytest.mark.parametrize("name", CORPORA)
def test_a_packaged_corpus_has_what_its_readme_says(name: str) -> None:
    corpus = load_corpus(name)
    found = (len(corpus), len(corpus.emotions), len(corpus.groups), set(corpus.frame["lang"]))
    assert found == SIZES[name]
    assert corpus.frame["id"].is_unique
    assert set(corpus.emotions) <= set(load_emotions().emotions)


def test_every_packaged_corpus_has_a_size_here() -> None:
    assert set(SIZES) == set(CORPORA)


def test_stories_are_complete_and_never_name_their_emotion() -> None:
    frame = load_corpus("stories").frame
    assert (frame.groupby(["emotion", "group"]).size() == 1).all()
    assert set(frame["group"]) == set(load_emotions().topics)
    named = [row.id for row in frame.itertuples() if row.emotion in row.text.lower().split()]
    assert not named
    assert "writer" in frame


def test_the_demo_is_core_by_demo_topics() -> None:
    demo = load_corpus("stories", emotions="core", groups="demo")
    assert set(demo.emotions) == set(load_emotions().core)
    assert set(demo.groups) == set(load_emotions().demo_topics)
    assert len(demo) == 192
    assert demo.frame.index.tolist() == list(range(192))
    assert repr(demo).startswith("Corpus 'stories': 192 texts, 24 emotions, 8 groups, en; ")


def test_selecting_twice_is_selecting_once_and_keeps_the_order() -> None:
    stories = load_corpus("stories")
    at_once = stories.select(emotions=["calm", "afraid"], groups="walk,call")
    in_turn = stories.select(groups=["call", "walk"]).select(emotions="afraid, calm")
    assert at_once.fingerprint == in_turn.fingerprint != stories.fingerprint
    kept = stories.frame[stories.frame["id"].isin(at_once.frame["id"])]["id"].tolist()
    assert at_once.frame["id"].tolist() == kept == ["afraid.call", "afraid.walk", "calm.call", "calm.walk"]
    assert len(stories) == 2736


def test_named_sets_take_what_occurs() -> None:
    assert len(load_corpus("multilingual", emotions="core").emotions) == 12
    assert set(load_corpus("multilingual", groups="demo").groups) <= set(load_emotions().demo_topics)
    with pytest.raises(CorpusError, match="'neutral' has no text of the 'core' emotions"):
        load_corpus("neutral", emotions="core")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_corpus("storis"), r"unknown corpus 'storis' \(did you mean 'stories'\?\); packaged corpora are"),
        (lambda: load_corpus("stories", emotions=["afrade"]), r"unknown emotion 'afrade' \(did you mean 'afraid'\?\)"),
        (lambda: load_corpus("stories", emotions=[]), r"no text of corpus 'stories'"),
        (lambda: load_corpus("stories", groups="atic"), r"unknown group 'atic' \(did you mean 'attic'\?\)"),
        (lambda: load_corpus("scenarios", groups="demo"), r"'scenarios' has no text of the 'demo' groups"),
        (lambda: load_corpus("pairs"), r"read it with load_pairs\(\)"),
        (lambda: load_corpus("hf:owner"), r"cannot read 'hf:owner'; write hf:owner/name"),
        (lambda: load_prompts(use="test"), r"unknown use of prompt 'test'"),
        (lambda: load_prompts(kind=["word_thrid"]), r"unknown kind.*did you mean 'word_third'"),
    ],
)
def test_a_wrong_name_says_what_there_is(call, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        call()


def test_loading_does_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_corpus("neutral").fingerprint
    monkeypatch.chdir(tmp_path)
    Path("neutral").mkdir()
    assert load_corpus("neutral").fingerprint == before


def test_emotions_and_norms_cover_each_other() -> None:
    known = load_emotions()
    frame = known.frame()
    assert frame["emotion"].tolist() == load_norms()["emotion"].tolist() == list(known.emotions)
    assert (len(frame), frame["core"].sum(), frame["family"].nunique()) == (171, 24, 10)
    assert sum(len(members) for members in known.families.values()) == 171
    assert load_norms()[["valence", "arousal"]].stack().between(1, 9).all()


def test_pairs_differ_and_keep_the_space_of_their_answers() -> None:
    pairs = load_pairs()
    assert len(pairs) == 160
    assert (pairs["source"] != pairs["target"]).all()
    assert pairs["source_answer"].str.startswith(" ").all()
    assert pairs.groupby("family").size().tolist() == [20] * 8


def test_pairs_of_ones_own(tmp_path: Path) -> None:
    row = {"source": "She won, so she felt", "target": "She lost, so she felt"}
    row |= {"source_answer": " glad", "target_answer": " sad"}
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row))
    pairs = load_pairs(path)
    assert pairs["source_answer"].tolist() == [" glad"]
    assert pairs["family"].isna().all()
    pd.DataFrame([row]).to_csv(tmp_path / "mine.csv", index=False)
    pd.testing.assert_frame_equal(load_pairs(tmp_path / "mine.csv"), pairs)
    path.write_text(json.dumps(row | {"target_answer": " glad"}))
    with pytest.raises(CorpusError, match="line 1: 'source_answer' and 'target_answer' are the same"):
        load_pairs(path)
    path.write_text(json.dumps({"source": "a", "traget": "b"}))
    with pytest.raises(CorpusError, match=r"no column 'target' \(did you mean 'traget'\?\)"):
        load_pairs(path)


def test_prompts_for_tuning_and_for_reporting_are_apart() -> None:
    tune, report = load_prompts(use="tune"), load_prompts(use="report")
    assert (len(tune), len(report)) == (20, 40)
    assert not set(tune["text"]) & set(report["text"])
    words = load_prompts(kind=["word_third", "word_first"])
    assert len(words) == 36
    assert isinstance(words.index, pd.RangeIndex)


def test_prompts_of_ones_own_need_a_known_use(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("text,kind,use\nHello,open,trian\n")
    with pytest.raises(CorpusError, match="line 2, column 'use' is 'trian'; it should be tune or report"):
        load_prompts(path)


def test_a_contrast_drops_shared_words_whatever_their_list() -> None:
    lexicon = {
        "a": {"tune": ["red", "Blue"], "held_out": ["green"]},
        "b": {"tune": ["blue", "grey"], "held_out": ["red", "white"]},
        "c": {"tune": ["grey"], "held_out": ["black", "grey"]},
    }
    assert contrast_words(lexicon, use="held_out") == {"a": ["green"], "b": ["white"], "c": ["black"]}
    assert contrast_words(lexicon, use="tune", emotions=["a", "c"]) == {"a": ["red", "Blue"], "c": ["grey"]}
    with pytest.raises(CorpusError, match="'a' shares all of its tune words"):
        contrast_words(lexicon, use="tune")
    with pytest.raises(CorpusError, match="'d' has no words"):
        contrast_words(lexicon, use="tune", emotions=["d"])


def test_the_packaged_lexicon_leaves_words_for_every_core_emotion() -> None:
    lexicon = load_lexicon()
    assert set(lexicon) == set(load_emotions().core)
    held_out = contrast_words(lexicon, use="held_out")
    assert min(len(words) for words in held_out.values()) >= 5
    used = [word for words in held_out.values() for word in words]
    assert len(used) == len(set(used))
    assert not set(used) & {word for words in contrast_words(lexicon, use="tune").values() for word in words}
