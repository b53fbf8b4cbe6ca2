"""Every stage of a study through the command line, on a tiny model: the files, the cache, an interruption."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from report_run import make_run
from tiny_study import write_tiny_study

from emovec_sae.cli.main import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A study file and its finished run."""
    study = write_tiny_study(tmp_path_factory.mktemp("tiny"))
    out = study.parent / "run"
    assert main(["run", str(study), "--out", str(out)]) == 0
    return study, out


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and page are empty files: they are most of a run's time, and `finished` has them."""
    from emovec_sae.report import page
    from emovec_sae.studies import figures

    def draw(path: Path, **_: object) -> None:
        (path / "figures").mkdir(exist_ok=True)
        for name in figures.ALWAYS:
            for kind in ("svg", "png", "pdf", "parquet"):
                (path / "figures" / f"{name}.{kind}").touch()

    def write(run: Path, **_: object) -> Path:
        (run / "report.html").touch()
        return run / "report.html"

    monkeypatch.setattr(figures, "draw_figures", draw)
    monkeypatch.setattr(page, "write_report", write)


def test_a_run_leaves_what_a_reader_needs(finished: tuple[Path, Path]) -> None:
    _, out = finished
    results = json.loads((out / "results.json").read_text())
    groups = {row["group"] for row in results["scores"]}
    assert groups == {"directions", "SAE", "decomposition", "steering", "patching"}  # 4 emotions: no correlations
    assert len(results["verdict"]) == 4
    assert (out / "report.html").stat().st_size > 10_000
    assert set(json.loads((out / "diagnose.json").read_text())["findings"]) >= {"EV001", "EV004", "EV009"}
    moved = pd.read_parquet(out / "tables" / "carriers.parquet")
    assert set(moved["what"]) == {"residual", "direction", "k=4"}
    assert set(moved.loc[moved["what"] != "residual", "site"]) == {"resid_post.1"}
    for name in (
        "vector_map",
        "similarity",
        "site_sweep",
        "composition",
        "latents_by_emotion",
        "dose_curves",
        "patching",
        "carriers",
    ):
        for kind in ("svg", "png", "pdf", "csv", "parquet"):
            assert (out / "figures" / f"{name}.{kind}").stat().st_size > 0


def test_shares_of_an_emotion_sum_to_one(finished: tuple[Path, Path]) -> None:
    _, out = finished
    frame = pd.read_parquet(out / "tables" / "composition.parquet")
    assert frame["share"].sum() == pytest.approx(1.0, abs=1e-4)


def few_arms(study: Path) -> Path:
    """The study file, now with fewer arms; `finished` has them all."""
    text = study.read_text()
    for many, few in (
        ("selectors: [share, omp, output score, matched]", "selectors: [share]"),
        ("controls: [covariance, permuted, other, flipped, pass-through]", "controls: []"),
    ):
        assert many in text
        text = text.replace(many, few)
    study.write_text(text)
    return study


@pytest.mark.usefixtures("undrawn")
def test_a_second_run_does_nothing_again(finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    study, out = finished
    made = [*out.rglob("*.parquet"), out / "report.html"]
    before = {path: path.stat().st_mtime_ns for path in made}
    assert main(["run", str(study), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert set(told["cached"]) == set(told["stages"])
    assert before == {path: path.stat().st_mtime_ns for path in made}
    (out / "diagnose.json").touch()  # the page shows it
    assert main(["run", str(study), "--out", str(out)]) == 0
    assert (out / "report.html").stat().st_mtime_ns > before[out / "report.html"]


@pytest.mark.usefixtures("undrawn")
def test_a_changed_setting_repeats_only_what_hangs_on_it(
    finished: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = finished[0], shutil.copytree(finished[1], tmp_path / "run")
    changed = study.with_name("changed.yaml")
    changed.write_text(study.read_text().replace("passages: 2", "passages: 1"))
    assert main(["run", str(changed), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert set(told["cached"]) == {"record", "directions", "sae", "patching", "diagnostics"}


def test_compare_answers_with_arms_and_intervals(
    finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = finished
    assert main(["compare", str(study), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    latents = {f"k={k}{by}" for k in (1, 2) for by in ("", ", omp", ", output score", ", matched")}
    controls = {"random", "random, covariance", "permuted labels", "other emotion", "sign flip"}
    assert set(told["arms"]) == latents | controls | {"remainder of k=2", "clamped k=1", "pass-through"}
    assert {row["falsifier"].split(" (")[0] for row in told["falsifiers"]} >= {"random latents as good"}
    assert any("could not reach" in one or "reached" in one for one in told["verdict"])
    assert {"value", "low", "high", "n"} == set(told["arms"]["k=1"])
    assert "k90" in told


def test_figures_and_report_are_made_again_from_the_run(finished: tuple[Path, Path], tmp_path: Path) -> None:
    _, out = finished
    some = tmp_path / "run"  # one table of the run: the stage that draws them all is the same function
    for name in ("study.json", "tables/patching.parquet"):
        (some / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(out / name, some / name)
    assert main(["figures", str(some), "--out", str(tmp_path / "figures")]) == 0
    assert (tmp_path / "figures" / "patching.svg").read_bytes() == (out / "figures" / "patching.svg").read_bytes()
    assert main(["report", str(make_run(tmp_path / "made")), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").stat().st_size > 10_000


@pytest.mark.usefixtures("undrawn")
def test_an_interrupted_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import emovec_sae.studies.run as module

    study = few_arms(write_tiny_study(tmp_path))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "sae_stage", stop)
        assert main(["run", str(study), "--out", str(tmp_path / "run")]) == 130
    assert not (tmp_path / "run" / "results.json").exists()
    assert main(["run", str(study), "--out", str(tmp_path / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert told["cached"] == ["record", "directions"]


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (
            "carriers: [residual, direction, latents]",
            "carriers: [direktion]",
            "names 'direktion' (did you mean 'direction'?)",
        ),
        (
            "selectors: [share, omp, output score, matched]",
            "selectors: [shares]",
            "names 'shares' (did you mean 'share'?)",
        ),
        (
            "controls: [covariance, permuted, other, flipped, pass-through]",
            "controls: [isotropic]",
            "there are covariance, permuted",
        ),
        ("sizes: [1, 2]", "sizes: [1, 99]", "asks for 99 latents of an emotion, decomposition.k is 16"),
    ],
)
def test_arms_that_cannot_be_made_are_refused_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, value: str, told: str
) -> None:
    study = write_tiny_study(tmp_path)
    text = study.read_text()
    assert key in text
    study.write_text(text.replace(key, value))
    assert main(["compare", str(study), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert told in " ".join(error.split())
    assert not (tmp_path / "run" / "activations").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_study_takes_an_sae_that_is_there(
    finished: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, out = finished
    section = f"sae: {{source: {out / 'sae'}, held_out: []}}"
    text = study.read_text()
    (mine := study.parent / "mine.yaml").write_text(
        text.replace("sae: {d_sae: 64, k: 8, tokens: 4096, held_out: [train]}", section)
    )
    run = tmp_path / "run"
    assert main(["run", str(few_arms(mine)), "--out", str(run)]) == 0
    assert (run / "sae").resolve() == (out / "sae").resolve()
    notes = [row["note"] for row in json.loads((run / "results.json").read_text())["scores"] if row["group"] == "SAE"]
    assert "all texts of the study" in notes[0]
    elsewhere = mine.read_text().replace("directions: {site: resid_post.1", "directions: {site: resid_post.2")
    (wrong := study.parent / "wrong.yaml").write_text(elsewhere)
    capsys.readouterr()
    assert main(["run", str(wrong), "--out", str(tmp_path / "wrong")]) == 2
    assert "sae.source reads resid_post.1" in capsys.readouterr().err
