"""The examples of the command-line pages run, one after another, and answer with the keys that the pages tell.

A tiny model takes the place of the embedded one, few texts that of many; what needs a real tokenizer is left out.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from doc_blocks import ROOT

from emovec_sae.cli.main import app, main
from emovec_sae.testing import tiny_folder

PAGES = yaml.safe_load((ROOT / "docs" / "_site" / "verbs.yaml").read_text("utf-8"))
TOLD = {verb: {"json": page.get("json"), **about} for page in PAGES.values() for verb, about in page["verbs"].items()}
LEFT_OUT = {
    "corpora generate": "a random model writes nothing that passes the filters",
    "patch": "no answer is one token of a single byte",
    "behave": "a random model has no head-room",
    "check preferences": "a random model has no preferences",
    "check lens": "words are not tokens of single bytes",
    "check scenarios": "the scenarios are of other emotions than the few here",
    "check intensity": "so are the templates",
    "check languages": "so are the texts in other languages",
}
"""Verb -> why its example is not run here; `docs/_site/check_examples.py` runs it on the embedded model."""
SMALLER = {
    r"resid_post\.18": "resid_post.1",
    r"--emotions core": "--emotions afraid,amused,angry,ashamed,bored,calm,grateful,guilty,happy,hopeful,proud,sad",
    r"--groups demo": "--groups call,hospital,walk,job",
    r"--d-sae 1024 --k 32 --tokens 60000": "--d-sae 64 --k 8 --tokens 4096",
    r"--k (?:16|24)": "--k 6",
    r"--k 8$": "--k 1",  # most latents of so small an SAE are dense, and arms leave them out
    r"--latent 99": "--latent 9",
    r"--nulls 20": "--nulls 4",
    r"--strengths 0\.2": "--strengths 0.5",
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the chain of examples is run."""
    folder = tmp_path_factory.mktemp("verbs")
    tiny_folder(folder / "tiny")
    return folder


def words_of(line: str) -> list[str]:
    """The line as arguments, smaller and for the tiny model, with --json."""
    for pattern, small in SMALLER.items():
        line = re.sub(pattern, small, line)
    words = shlex.split(line.replace("smollm2-135m-instruct", "tiny"))[1:]
    part, rest = app, list(words)
    while rest and rest[0] in part:
        part, rest = part[rest.pop(0)], rest
    options = {one.name: one for one in part.assemble_argument_collection()}
    if (
        "--model" in options
        and "--model" not in words
        and options["--model"].field_info.default == "smollm2-135m-instruct"
    ):
        words += ["--model", "tiny"]
    return [*words, "--json"]


@pytest.mark.timeout(900)  # many verbs in one test, because each needs what those before it wrote
def test_the_examples_run_in_order_and_tell_their_keys(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(desk)
    ran, wrong = 0, []
    for verb, about in TOLD.items():
        if about.get("needs") or verb in LEFT_OUT:
            continue
        told: dict[str, Any] = {}
        for line in [*about.get("before", "").splitlines(), *about["example"].splitlines()]:
            capsys.readouterr()
            code = main(words_of(line))
            said = capsys.readouterr()
            if code:
                wrong.append(f"{line}: {said.err}")
                break
            told = json.loads(said.out.strip().splitlines()[-1])
            ran += 1
        if told and set(told) != set(about["json"]):
            wrong.append(f"{verb}: not told {set(told) - set(about['json'])}, gone {set(about['json']) - set(told)}")
    assert not wrong, "\n".join(wrong)
    assert ran > 25


def test_what_is_left_out_is_there_and_has_a_reason() -> None:
    assert set(LEFT_OUT) <= set(TOLD)
    assert all(len(why) > 10 for why in LEFT_OUT.values())
