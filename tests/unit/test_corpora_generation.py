"""Texts that a model writes: filters, requests, sampling row by row, and a file that survives any death."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from emovec_sae.cli.main import main
from emovec_sae.corpora import generation, load_corpus, load_emotions
from emovec_sae.corpora.filters import Seen, cleaned, fault, naming, naming_tokens
from emovec_sae.corpora.generation import generate_corpus, generation_notes
from emovec_sae.corpora.plans import Sampling
from emovec_sae.corpora.requests import FreeText, Stories, choose_emotions, choose_topics, load_material
from emovec_sae.errors import ConfigError, CorpusError
from emovec_sae.models import sampling
from emovec_sae.models.generate import generate_ids
from emovec_sae.testing import tiny_folder, tiny_model

SHORT = Sampling(length=12, least=1, most=50, temperature=3.0)


# filters


@pytest.mark.parametrize(
    ("emotion", "named", "free"),
    [
        ("happy", ["Happiness.", "happily", "so happy!"], ["it happened", "mishap"]),
        ("sad", ["sadly", "saddest", "SAD"], ["saddle", "sadist"]),
        ("mad", ["mad", "madness"], ["made", "madam"]),
        ("worried", ["worry", "worries", "worrying"], ["worth", "word"]),
        ("proud", ["pride", "proudly"], ["prone"]),
        ("worn out", ["worn out", "worn-out"], ["worn", "out worn"]),
        ("bored", ["boredom", "boring", "bore"], ["born", "bor", "border"]),
        ("restless", ["restlessness"], ["rest", "restaurant"]),
        ("hope", ["hoped", "hopeless", "hoping"], ["hop", "hopped"]),
    ],
)
def test_an_emotion_is_named_by_its_own_stem_only(emotion: str, named: list[str], free: list[str]) -> None:
    assert [text for text in named if not naming(emotion).search(text)] == []
    assert [text for text in free if naming(emotion).search(text)] == []


def test_the_packaged_stories_name_nothing_and_pass_every_filter() -> None:
    """They were written by another hand and checked by another program: two rules that agree on 2,736 texts."""
    frame = load_corpus("stories").frame
    faults = {row.id: fault(cleaned(row.text), emotion=row.emotion, least=40, most=140) for row in frame.itertuples()}
    assert {name: why for name, why in faults.items() if why} == {}
    seen = Seen()
    for text in frame["text"]:
        assert seen.duplicate(text) is None
        seen.add(text)
    assert seen.duplicate(frame["text"][0].upper() + "!") == "duplicate"


def test_every_emotion_names_itself() -> None:
    unnamed = [name for name in load_emotions().emotions if not naming(name).search(f"He felt {name}, and said so.")]
    assert unnamed == []


def test_tokens_that_are_the_word_are_found_and_parts_of_words_are_not() -> None:
    strings = [" happy", "Happy", " happ", " happen", "unhappy", " happiness", ""]
    assert naming_tokens("happy", strings) == [0, 1, 5]


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Title: The Door\n\nHe came in. He went", "He came in."),
        ("# A story\nOne  two.\n\n\nThree!  ", "One two.\nThree!"),
        ('"All of it in quotes."', "All of it in quotes."),
        ('"No," she said. "Yes."', '"No," she said. "Yes."'),
        ("It cost 3.50 and", ""),
        ("no end", ""),
        ('He said "go." Then he', 'He said "go."'),
    ],
)
def test_cleaning_cuts_headings_and_the_unfinished_end(raw: str, clean: str) -> None:
    assert cleaned(raw) == clean


@given(st.text())
def test_cleaning_twice_is_cleaning_once_and_adds_nothing(raw: str) -> None:
    once = cleaned(raw)
    assert len(once) <= len(raw)
    assert not once or once[-1] in "\"'”’)].!?…" or raw.strip().startswith('"')


def test_faults_are_told_apart() -> None:
    told = {"least": 3, "most": 8, "emotion": "sad"}
    assert fault("", **told) == "no finished sentence"
    assert fault("Too short.", **told) == "too short"
    assert fault("one two three four five six seven eight nine.", **told) == "too long"
    assert fault("He was so sad then.", **told) == "names the emotion"
    assert fault("go on and go on and.", **told) == "repeats itself"
    assert fault("He was quite \ufffd well.", **told) == "broken characters"
    assert fault("He was quite well today.", **told) is None


def test_near_duplicates_are_those_that_share_half_of_their_grams() -> None:
    words = [f"w{number}" for number in range(40)]
    seen = Seen()
    seen.add(" ".join(words))
    # of 36 grams each, a changed end of n words keeps 36 - n: Jaccard (36 - n) / (36 + n), half at n = 12
    for changed, expected in ((12, "near-duplicate"), (13, None)):
        other = words[: 40 - changed] + [f"x{number}" for number in range(changed)]
        assert seen.duplicate(" ".join(other)) == expected


# requests


def test_new_topics_are_others_than_the_packaged_ones() -> None:
    new = choose_topics("new")
    assert len(new) == 48
    assert not set(new) & set(load_emotions().topics)
    assert not set(new.values()) & set(load_emotions().topics.values())
    assert list(choose_topics("new:16")) == list(new)[:16]
    assert choose_topics("ferry, attic") == {"ferry": new["ferry"], "attic": load_emotions().topics["attic"]}
    assert choose_emotions("core") == list(load_emotions().core)


def test_every_slot_of_the_stories_is_asked_for_once() -> None:
    plan = Stories(["afraid", "sad"], choose_topics("new:3"), per=2, chat=True)
    asked = [plan.request(slot, "Ana") for slot in range(len(plan))]
    assert len({one.id for one in asked}) == 12
    assert {(one.emotion, one.topic) for one in asked} == {
        (emotion, topic) for emotion in ("afraid", "sad") for topic in choose_topics("new:3")
    }
    assert all(one.opening == "Ana" and "Ana" in one.ask for one in asked)


def test_free_text_asks_a_base_model_for_openings_only() -> None:
    assert {FreeText(chat=False).request(slot).chat for slot in range(50)} == {False}
    asked = [FreeText(chat=True).request(slot) for slot in range(4 * len(load_material().subjects))]
    assert {one.chat for one in asked} == {True, False}
    assert len({one.ask for one in asked if one.chat}) == 2 * len(load_material().subjects)


# sampling


def draws(rows: int, steps: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, steps))


PROMPTS = ["a", "The river", "Two friends were walking", "It was late and "]


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2", "gpt_neox"])
def test_a_row_gets_the_same_text_alone_and_in_any_batch(architecture: str, monkeypatch, tiny) -> None:
    """In float32 on a tiny model no rounding tips a token; prompts are read in several passes, ended rows leave."""
    monkeypatch.setattr(sampling, "_PREFILL", 30)
    model = tiny(architecture)
    prompts = model.tokens.encode(PROMPTS)
    numbers = draws(4, 30)
    together = sampling.sample_ids(model, prompts, draws=numbers, temperature=2.0)
    alone = [sampling.sample_ids(model, [ids], draws=numbers[[row]], temperature=2.0)[0]
             for row, ids in enumerate(prompts)]  # fmt: skip
    backwards = sampling.sample_ids(model, prompts[::-1], draws=numbers[::-1], temperature=2.0)[::-1]
    assert together == alone == backwards
    assert len({tuple(one) for one in together}) == 4


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_the_likeliest_token_at_every_step_is_what_transformers_finds(architecture: str, tiny) -> None:
    """Numbers of 0 take the first of the ordered tokens: greedy decoding, against the library's own."""
    model = tiny(architecture)
    prompts = model.tokens.encode(PROMPTS)
    found = sampling.sample_ids(model, prompts, draws=np.zeros((4, 16)))
    for row, ids in enumerate(generate_ids(model, prompts, max_new_tokens=16).tolist()):
        assert [one for one in ids if one not in (0, 1)] == found[row]


def test_tokens_are_drawn_with_their_probabilities(tiny) -> None:
    """First tokens over 4,000 even numbers against the softmax of the 50 likeliest: within 0.002 of each share."""
    import torch

    model = tiny("llama")
    ids = model.tokens.encode(["The river"])[0]
    with torch.no_grad():
        logits = model.module(input_ids=torch.tensor([ids])).logits[0, -1].float()
    values, tokens = logits.topk(50)
    shares = dict(zip(tokens.tolist(), (values / 1.5).softmax(-1).tolist(), strict=True))
    numbers = (np.arange(4000)[:, None] + 0.5) / 4000
    drawn = [row[0] if row else 1 for row in sampling.sample_ids(model, [ids] * 4000, draws=numbers, temperature=1.5)]
    for token, share in shares.items():
        assert abs(drawn.count(token) / 4000 - share) < 0.002


def test_banned_tokens_are_never_drawn_and_settings_come_back(tiny) -> None:
    model = tiny("llama")
    ids = model.tokens.encode(["The river"])[0]
    numbers = draws(8, 20)
    free = sampling.sample_ids(model, [ids] * 8, draws=numbers, temperature=2.0)
    banned = sorted({row[0] for row in free[:4]})
    kept = sampling.sample_ids(model, [ids] * 8, draws=numbers, temperature=2.0, banned=[banned] * 4 + [[]] * 4)
    assert not any(token in banned for row in kept[:4] for token in row)
    assert kept[4:] == free[4:]
    assert model.module.config._attn_implementation == "sdpa"
    with pytest.raises(ConfigError, match="temperature"):
        sampling.sample_ids(model, [ids], draws=numbers[:1], temperature=0.0)


# the whole


@pytest.fixture
def writes(monkeypatch):
    """A writer whose texts are sentences: a tiny model's own are noise that no filter lets through."""
    asked: list[int] = []

    def sample(model, prompts, *, draws, **_):
        asked.append(len(prompts))
        words = ["stone", "river", "lamp", "paper", "window", "garden", "letter", "table", "sad", "door"]
        return [model.tokens.encode([" " + " ".join(words[int(one * 10)] for one in row) + ". And"], special=False)[0]
                for row in draws]  # fmt: skip

    monkeypatch.setattr(sampling, "sample_ids", sample)
    return asked


def settings(**other):
    return {"emotions": "sad,calm", "topics": "new:5", "batch": 3, "sampling": SHORT, **other}


def test_stories_fill_every_slot_that_the_filters_leave(writes, tmp_path: Path) -> None:
    out = tmp_path / "s.jsonl"
    corpus = generate_corpus(tiny_model(), out=out, tries=30, **settings())
    frame = corpus.frame
    assert list(frame.columns) == ["id", "text", "emotion", "group", "split", "lang", "writer"]
    assert frame.groupby(["emotion", "group"]).size().eq(1).all()
    assert len(frame) == 10
    assert not frame[frame["emotion"] == "sad"]["text"].str.contains("sad").any()
    assert frame["text"].str.endswith(".").all()
    assert set(frame["writer"]) == {"tiny-llama"}
    notes = generation_notes(out)
    told = notes["progress"]
    assert told["dropped"]["names the emotion"] > 0
    assert told["asked"] == told["kept"] + sum(told["dropped"].values()) == sum(writes)
    assert notes["model"]["name"] == "tiny-llama"
    assert notes["finished"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.json", "s.jsonl"]


def test_a_finished_file_is_not_written_again_and_another_is_refused(writes, tmp_path: Path) -> None:
    out = tmp_path / "s.jsonl"
    first = generate_corpus(tiny_model(), out=out, tries=30, **settings())
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    writes.clear()
    assert generate_corpus(tiny_model(), out=out, tries=30, **settings(batch=7)).fingerprint == first.fingerprint
    assert writes == []
    with pytest.raises(CorpusError, match=r"was begun with tries 30, this is 5"):
        generate_corpus(tiny_model(), out=out, tries=5, **settings())
    with pytest.raises(CorpusError, match=r"was begun with model"):
        generate_corpus(tiny_model(seed=1), out=out, tries=30, **settings())
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("kind", ["stories", "text"])
@pytest.mark.parametrize("when", ["before the rows", "after the rows", "after the notes"])
def test_a_death_at_any_batch_changes_nothing_in_the_end(kind, when, writes, tmp_path: Path, monkeypatch) -> None:
    options = settings(tries=30) if kind == "stories" else {"kind": "text", "tokens": 2500, "sampling": SHORT,
                                                           "batch": 3}  # fmt: skip
    whole = generate_corpus(tiny_model(), out=tmp_path / "whole.jsonl", **options).fingerprint
    out, write = tmp_path / "s.jsonl", generation.Ledger.write

    class Killed(BaseException):
        pass

    deaths = 0
    for batch in (1, 0, 2, 1):
        count = 0

        def dying(self, rows, progress, at=batch):
            nonlocal count
            count += 1
            if count <= at:
                write(self, rows, progress)
                return
            if when == "after the rows":  # with half a line of the next batch
                with self._part.open("ab") as handle:
                    handle.write("".join(json.dumps(row) + "\n" for row in rows).encode() + b'{"id": "ha')
            elif when == "after the notes":
                write(self, rows, progress)
            raise Killed

        monkeypatch.setattr(generation.Ledger, "write", dying)
        with pytest.raises(Killed):
            generate_corpus(tiny_model(), out=out, **options)
        assert not out.exists()
        deaths += 1
    monkeypatch.setattr(generation.Ledger, "write", write)
    assert generate_corpus(tiny_model(), out=out, **options).fingerprint == whole
    assert deaths == 4


def test_the_batch_changes_nothing(writes, tmp_path: Path) -> None:
    found = {
        generate_corpus(tiny_model(), out=tmp_path / f"{batch}.jsonl", tries=30, **settings(batch=batch)).fingerprint
        for batch in (1, 4, 100)
    }
    assert len(found) == 1


def test_free_text_stops_at_its_tokens(writes, tmp_path: Path) -> None:
    corpus = generate_corpus(tiny_model(), out=tmp_path / "t.jsonl", kind="text", tokens=900, sampling=SHORT, batch=4)
    tokens = [len(ids) for ids in tiny_model().tokens.encode(list(corpus.frame["text"]))]
    assert sum(tokens[:-1]) < 900 <= sum(tokens)
    assert corpus.emotions == ()
    assert corpus.frame["group"].str.startswith("opening-").all()  # a tiny model has no chat template


def test_when_nothing_passes_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"none of 4 texts by tiny-llama passed the filters \(.*finished sentence"):
        generate_corpus(tiny_model(), out=tmp_path / "s.jsonl", tries=2, limit=2, sampling=Sampling(length=4))
    assert not list(tmp_path.iterdir())


def test_two_writers_of_one_file_are_one_too_many(writes, tmp_path: Path) -> None:
    with FileLock(str(tmp_path / ".s.jsonl.lock")), pytest.raises(CorpusError, match="another process writes"):
        generate_corpus(tiny_model(), out=tmp_path / "s.jsonl", **settings())


# the command line


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("models") / "one")


def test_the_command_line_tells_what_was_kept(folder: Path, tmp_path: Path, writes, capsys) -> None:
    arguments = ["corpora", "generate", "--model", str(folder), "--out", str(tmp_path / "s.jsonl"), "--emotions", "sad"]
    sizes = ["--topics", "new:4", "--tries", "30", "--length", "12", "--min-words", "3", "--batch", "2"]
    assert main([*arguments, *sizes, "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["texts"] == 4
    assert found["asked"] == 4 + sum(found["dropped"].values())
    assert main([*arguments, *sizes]) == 0
    assert "4 kept" in capsys.readouterr().out
    assert main(["corpora", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["corpora"][0]["texts"] == 2736


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--emotions", "hapy"], "did you mean 'happy'"),
        (["--topics", "new:99"], "there are 48 new topics"),
        (["--topics", "feri"], "did you mean 'ferry'"),
        (["--tokens", "100"], "tokens is for text"),
        (["--kind", "text", "--per", "2"], "free text has no emotions"),
        (["--per", "0"], "at least 1"),
        (["--temperature", "0"], "must be above 0"),
        (["--min-words", "50", "--max-words", "40"], "the smaller number first"),
        (["--length", "5000"], "give a smaller length"),
        (["--kind", "poem"], "poem"),
        (["--seed", "-1"], "0 or more"),
        (["--out", "x.csv"], "a .jsonl file"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, said, folder, tmp_path: Path, capsys) -> None:
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "s.jsonl")]
    assert main(["corpora", "generate", "--model", str(folder), *out, *arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emovec:")]
    assert len(lines) == 1
    assert said in lines[0]
    assert not list(tmp_path.iterdir())


def test_files_of_others_are_not_touched(folder: Path, tmp_path: Path, capsys) -> None:
    for name, content in (("s.jsonl", '{"text": "mine"}\n'), ("t.json", '{"mine": 1}')):
        path = tmp_path / name
        path.write_text(content)
        arguments = ["--model", str(folder), "--out", str(path.with_suffix(".jsonl"))]
        assert main(["corpora", "generate", *arguments]) == 2
        assert "choose another name" in capsys.readouterr().err
        assert path.read_text() == content
