"""Data sets of the hub: asked over the loopback, or read from the local copy; nothing of theirs is run."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from emovec_sae.cli.main import main
from emovec_sae.corpora import load_corpus
from emovec_sae.errors import CorpusError
from emovec_sae.store.reader import open_activations
from emovec_sae.testing import tiny_folder

REVISION = "d" * 40
CARD = """---
license: cc-by-4.0
configs:
- config_name: deu
  data_files:
  - split: train
    path: deu/train-*
  - split: test
    path: deu/test-*
- config_name: eng
  data_files:
  - split: train
    path: eng/train-*
---
# A set
"""


def parquet(*texts: str, **columns) -> bytes:
    handle = io.BytesIO()
    pd.DataFrame({"text": list(texts), **columns}).to_parquet(handle)
    return handle.getvalue()


SETS: dict[str, dict[str, bytes]] = {
    "me/plain": {"data/train-00000-of-00002.parquet": parquet("one", emotion=["calm"]),
                 "data/train-00001-of-00002.parquet": parquet("two", "three", emotion=["sad", "calm"]),
                 "data/test-00000-of-00001.parquet": parquet("four", emotion=["sad"]),
                 "plain.py": b"raise SystemExit('run')", "README.md": b"# no head\n"},
    "me/carded": {"README.md": CARD.encode(), "deu/train-0.parquet": parquet("eins", anger=[1], fear=[0]),
                  "deu/test-0.parquet": parquet("zwei", anger=[0], fear=[1]),
                  "eng/train-0.parquet": parquet("one", anger=[3], fear=[0])},
    "me/single": {"texts.csv": b"text,emotion\nhello,calm\n", "texts.jsonl": b'{"text": "hello", "emotion": "calm"}\n'},
    "me/script": {"script.py": b"raise SystemExit('run')", "README.md": b""},
    "me/broken": {"train.jsonl": b'{"text": oops}\n'},
}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        Handler.asked.append(self.path)
        api, found = "/api/datasets/", None
        if self.path.startswith(api) and self.path.removeprefix(api) in SETS:
            repo = self.path.removeprefix(api)
            told = {"id": repo, "sha": REVISION, "siblings": [{"rfilename": name} for name in SETS[repo]]}
            found = json.dumps(told).encode()
        elif f"/resolve/{REVISION}/" in self.path:
            repo, name = self.path.removeprefix("/datasets/").split(f"/resolve/{REVISION}/")
            found = SETS[repo].get(name)
        self.send_response(404 if found is None else 200)
        if found is None:
            self.send_header("X-Error-Code", "RepoNotFound")
        else:
            self.send_header("ETag", f'"{hashlib.sha256(found).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("Content-Length", str(len(found or b"")))
        self.end_headers()
        if body and found is not None:
            self.wfile.write(found)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path: Path):
    """The hub's client, which reads its environment at import, pointed at the loopback and at an empty copy."""
    from huggingface_hub import constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "copy"))
    monkeypatch.setenv("EMOVEC_CACHE", str(tmp_path / "cache"))
    Handler.asked.clear()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_split_is_read_from_all_of_its_files(hub) -> None:
    corpus = load_corpus("hf:me/plain@train")
    assert corpus.frame["text"].tolist() == ["one", "two", "three"]
    assert corpus.frame["split"].tolist() == ["train"] * 3
    assert corpus.name == f"hf:me/plain@train, revision {REVISION[:12]}"
    assert not [path for path in Handler.asked if "test-" in path or ".py" in path]
    assert load_corpus("hf:me/plain@test", emotions="sad").frame["text"].tolist() == ["four"]


def test_configs_come_from_the_card(hub) -> None:
    assert load_corpus("hf:me/carded:deu@test").frame["text"].tolist() == ["zwei"]
    corpus = load_corpus("hf:me/carded:eng", layout="brighter")
    assert json.loads(corpus.frame["labels"][0]) == ["anger"]
    assert corpus.frame["intensity.anger"].tolist() == [3]
    assert corpus.frame["lang"].tolist() == ["en"]
    assert corpus.name == f"hf:me/carded:eng@train, revision {REVISION[:12]}"


def test_a_set_in_two_formats_is_read_once(hub) -> None:
    corpus = load_corpus("hf:me/single")
    assert corpus.frame["text"].tolist() == ["hello"]
    assert corpus.name == f"hf:me/single, revision {REVISION[:12]}"
    assert not [path for path in Handler.asked if path.endswith(".csv")]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("hf:me/plain", r"has the splits train, test; choose one, such as hf:me/plain@train"),
        ("hf:me/plain@tests", r"no split 'tests' \(did you mean 'test'\?\); it has train, test"),
        ("hf:me/plain:deu", r"no config 'deu'"),
        ("hf:me/carded", r"has the configs deu, eng; choose one, such as hf:me/carded:deu"),
        ("hf:me/script", r"made by a script are not read"),
        ("hf:me/gone", r"the hub has no data set 'me/gone'"),
        ("hf:me/broken", r"line 1, character 10: this is no JSON"),
        ("hf:me", r"cannot read 'hf:me'; write hf:owner/name"),
        ("hf:me/plain@", r"cannot read"),
    ],
)
def test_what_cannot_be_read_is_one_line(hub, address: str, said: str) -> None:
    with pytest.raises(CorpusError, match=said) as caught:
        load_corpus(address)
    assert "\n" not in str(caught.value)


def test_without_the_hub_what_was_read_before_is_read_again(hub, monkeypatch) -> None:
    from huggingface_hub import constants

    before = load_corpus("hf:me/plain@train")
    Handler.asked.clear()
    for name, value in (("HF_HUB_OFFLINE", True), ("ENDPOINT", "http://127.0.0.1:9")):  # nobody listens there
        with monkeypatch.context() as cut:
            cut.setattr(constants, name, value)
            found = load_corpus("hf:me/plain@train")
            assert (found.fingerprint, found.name) == (before.fingerprint, before.name)
            with pytest.raises(CorpusError, match=r"has the splits train, test"):  # though only one of them is here
                load_corpus("hf:me/plain")
            with pytest.raises(CorpusError, match=r"test-00000-of-00001.parquet is not in the local copy"):
                load_corpus("hf:me/plain@test")
            with pytest.raises(CorpusError, match=r"hf:me/other: .*(switched off|did not answer).*no local copy"):
                load_corpus("hf:me/other")
    assert Handler.asked == []


def test_a_copy_that_another_program_fetched_serves(hub, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    copy = Path(constants.HF_HUB_CACHE) / "datasets--me--single"
    (copy / "refs").mkdir(parents=True)
    (copy / "refs" / "main").write_text(REVISION)
    (copy / "snapshots" / REVISION).mkdir(parents=True)
    (copy / "snapshots" / REVISION / "texts.csv").write_bytes(SETS["me/single"]["texts.csv"])
    assert load_corpus("hf:me/single").frame["text"].tolist() == ["hello"]


def test_a_recording_tells_set_and_revision(hub, tmp_path: Path, capsys) -> None:
    tiny_folder(tmp_path / "model")
    where = ["--model", str(tmp_path / "model"), "--sites", "resid_post.1", "--offset", "1"]
    assert main(["record", "hf:me/plain@train", *where, "--out", str(tmp_path / "acts")]) == 0
    told = open_activations(tmp_path / "acts").settings["corpus"]
    assert told["name"] == f"hf:me/plain@train, revision {REVISION[:12]}"
    assert main(["record", "hf:me/gone", *where, "--out", str(tmp_path / "none")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emovec:")]
    assert len(lines) == 1
    assert "no data set 'me/gone'" in lines[0]
    assert not (tmp_path / "none").exists()
