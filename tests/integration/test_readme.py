"""The README's code runs as it stands, on the embedded model."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def test_the_code_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    lines = [line for line in blocks[0].splitlines() if line.strip()]
    assert len(lines) == 12
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "readme.py"  # nnsight reads the source of what it traces from a file
    script.write_text(blocks[0], encoding="utf-8")
    exec(compile(blocks[0], str(script), "exec"), {"__name__": "readme"})
    shown = capsys.readouterr().out
    assert "Evaluation(32 texts, 4 emotions" in shown
    assert "recovered" in shown


def test_the_numbers_of_the_readme_are_those_of_the_published_run() -> None:
    path = README.parent / "experiments" / "01_embedded_run"
    spec = importlib.util.spec_from_file_location("embedded_run", path / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = README.read_text(encoding="utf-8")
    assert module.fill_readme(text, json.loads((path / "results.json").read_text(encoding="utf-8"))) == text
