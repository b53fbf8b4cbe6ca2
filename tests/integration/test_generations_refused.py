"""Settings of generations that cannot work are refused at the command line in one line, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_study import write_tiny_study

from emovec_sae.cli.main import main


def write(folder: Path, section: str) -> Path:
    study = write_tiny_study(folder)
    text = study.read_text().replace("selectors: [share, omp, output score, matched]", "instruction: true")
    text = text.replace("controls: [covariance, permuted, other, flipped, pass-through]", "controls: [pass-through]")
    study.write_text(text + section)
    return study


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("generations: {probe_site: resid_post.1}", "resid_post.1, the very site that the arms edit"),
        ("generations: {probe_site: resid_post.7}", "which recording.sites (resid_post.0-2) leaves out"),
        ("generations: {levels: [0.3]}", "names 0.3, which interventions does not run; there are 0.1, 0.2"),
        ("generations: {emotions: [proud]}", "proud"),
        ("generations: {arm: [raw]}", "unknown key 'generations.arm' (did you mean 'arms'?)"),
        ("generations: {arms: [instruction]}", "names no arm besides the instruction"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], section: str, told: str
) -> None:
    assert main(["compare", str(write(tmp_path, section)), "--out", str(tmp_path / "run")]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in error
    assert told in error
    assert not (tmp_path / "run" / "activations").exists()
