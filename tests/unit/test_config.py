"""Study files: what is misspelt is named with file, line, key and the nearest right key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from emovec_sae import config
from emovec_sae.config import Section, Study, load_study
from emovec_sae.errors import ConfigError


def refused(tmp_path: Path, text: str) -> str:
    """The one line that a study file is refused with."""
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_study(file)
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(str(file))
    return said


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "{}\n", "---\n"])
def test_an_empty_file_is_the_default_study(tmp_path: Path, text: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    assert load_study(file) == Study()


def test_values_are_read_and_the_rest_stays_default(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("seed: 3\ncorpus:\n  emotions: [afraid, calm]\nsae: {k: 16}\n")
    study = load_study(file)
    assert (study.seed, study.corpus.emotions, study.sae.k) == (3, ["afraid", "calm"], 16)
    assert study.sae.d_sae == Study().sae.d_sae


@pytest.mark.parametrize(
    ("text", "line", "key", "nearest"),
    [
        ("titel: x\n", 1, "titel", "title"),
        ("seed: 1\n\nrecording:\n  offset: 3\n  bugdet: 4\n", 5, "recording.bugdet", "budget"),
        ("interventions:\n  level: 0.1\n  levles: [0.1]\n", 3, "interventions.levles", "levels"),
        ("model: {name: x, dtpye: auto}\n", 1, "model.dtpye", "dtype"),
    ],
)
def test_a_misspelt_key_names_file_line_and_the_nearest(
    tmp_path: Path, text: str, line: int, key: str, nearest: str
) -> None:
    said = refused(tmp_path, text)
    assert f", line {line}: unknown key '{key}' (did you mean '{nearest}'?)" in said


def test_a_key_like_no_other_gets_the_list(tmp_path: Path) -> None:
    said = refused(tmp_path, "sae:\n  zzz: 1\n")
    assert "did you mean" not in said
    assert "keys here are source, sae_id, d_sae, k, tokens, held_out" in said


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("seed: many\n", 1, "seed: input should be a valid integer"),
        ("title: x\nsae:\n  d_sae: -5\n", 3, "sae.d_sae: input should be greater than 0, got -5"),
        ("recording:\n  offset: -1\n", 2, "recording.offset: input should be greater than or equal to 0"),
        ("corpus:\n  name: x\n  emotions: 3\n", 3, "corpus.emotions: "),
        ("corpus:\n  emotions: [afraid, 4]\n", 2, "corpus.emotions: "),
        ("interventions:\n  sizes: [1, x]\n", 2, "interventions.sizes: input should be a valid integer"),
        ("model: smollm\n", 1, "model: input should be a valid dictionary"),
        ("model:\n  name:\n    deep: 1\n", 2, "model.name: input should be a valid string"),
    ],
)
def test_a_wrong_value_names_line_and_key(tmp_path: Path, text: str, line: int, said: str) -> None:
    assert f", line {line}: {said}" in refused(tmp_path, text)


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("hello\n", "str"), ("3\n", "int")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, kind: str) -> None:
    assert f"holds a {kind}; a study is a mapping" in refused(tmp_path, text)


def test_what_is_no_yaml_names_the_line(tmp_path: Path) -> None:
    assert "line 2: not valid YAML" in refused(tmp_path, "seed: 1\nsae: ]\n")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no study file at"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot read the study file"):
        load_study(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("title: Gefühl\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot read the study file"):
        load_study(tmp_path / "latin.yaml")


SECTIONS = [
    value
    for value in vars(config).values()
    if isinstance(value, type) and issubclass(value, Section) and value is not Section
]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda one: one.__name__)
def test_every_field_is_explained_and_has_a_default(section: type[Section]) -> None:
    assert section.model_fields
    for name, field in section.model_fields.items():
        assert (field.description or "").strip().endswith("."), f"{section.__name__}.{name} has no docstring"
        assert not field.is_required()


def test_a_study_cannot_be_changed_and_leads_back_to_itself() -> None:
    study = Study()
    with pytest.raises(ValidationError, match="frozen"):
        study.seed = 2
    assert Study.model_validate(study.model_dump()) == study
