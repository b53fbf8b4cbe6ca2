"""What the experiments' scripts share: numbers between a README's marks, and which models are asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from experiments.shared import BEGIN, END, ROOT, ModelPart, asked_models, fill_numbers, step


def test_numbers_take_the_place_of_those_before_and_nothing_else(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Question\n\n{BEGIN}\nold \\1\n{END}\n\nWhat it means.\n", encoding="utf-8")
    for lines in (["| a |", r"| \d |"], ["– 0.5"]):
        fill_numbers(readme, lines)
        inside = "\n".join(lines)
        assert readme.read_text("utf-8") == f"# Question\n\n{BEGIN}\n{inside}\n{END}\n\nWhat it means.\n"


@pytest.mark.parametrize("text", ["# no marks\n", f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_readme_without_one_place_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match="places for numbers; it needs one"):
        fill_numbers(readme, ["1"])
    assert readme.read_text("utf-8") == text


def test_a_part_of_a_study_knows_its_settings_and_its_folder() -> None:
    class Part(ModelPart):
        study = {"models": {"a": {"site": "resid_post.3"}, "b": {}}}  # noqa: RUF012 -- settings are not changed
        folder = "some_study"

    assert Part("a").settings == {"site": "resid_post.3"}
    assert Part("b").path == ROOT / "runs" / "some_study" / "b"


@pytest.mark.parametrize(("given", "names"), [([], ["a", "b"]), (["--model", "b"], ["b"])])
def test_all_models_or_the_one_that_is_named(
    monkeypatch: pytest.MonkeyPatch, given: list[str], names: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", *given])
    assert asked_models({"models": {"a": {}, "b": {}}}, "About.") == names


def test_a_step_says_its_name_and_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with step("patching"):
        assert capsys.readouterr().err == "patching ...\n"
    assert capsys.readouterr().err == "patching: 0 s\n"
