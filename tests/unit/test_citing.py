"""cite: entries that are BibTeX, and for every kind of result the methods that it was made with."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from directions_planted import neutral, planted
from memory_store import SITE, plant, planted_coder

import emovec_sae as ev
from emovec_sae.cli.main import main
from emovec_sae.decomposition.api import decompose
from emovec_sae.directions.denoise import NeutralComponents
from emovec_sae.directions.fit import fit_directions
from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.exports.citing import cite
from emovec_sae.exports.references import ALIASES, METHODS, entries
from emovec_sae.exports.used import CHECKS, PLAIN, READERS, of_estimator
from emovec_sae.interventions.comparison.result import Comparison
from emovec_sae.interventions.patches.result import Patching
from emovec_sae.saes.architectures import TRAINABLE

ROOT = Path(__file__).parents[2]


def fields(entry: str) -> dict[str, str]:
    """The fields of an entry, by counting braces: what BibTeX itself does."""
    body = entry[entry.index("{") + 1 : -1]
    found: dict[str, str] = {}
    for match in re.finditer(r"^  (\w+) = \{", body, re.MULTILINE):
        depth, end = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(body[end], 0) if body[end - 1] != "\\" else 0
            end += 1
        found[match[1]] = body[match.end() : end - 1]
    return found


@pytest.mark.parametrize("key", sorted(entries()))
def test_an_entry_is_bibtex_with_what_a_reader_needs(key: str) -> None:
    entry = entries()[key]
    assert entry.isascii()
    assert entry.count("{") == entry.count("}")
    told = fields(entry)
    assert {"title", "author", "year"} <= set(told)
    kind = re.match(r"@(\w+)\{", entry)[1]
    needed = {"article": "journal", "inproceedings": "booktitle", "book": "publisher", "techreport": "institution"}
    assert kind in {*needed, "misc", "software"}
    if kind in needed:
        assert needed[kind] in told
    if kind == "misc":
        assert {"eprint", "howpublished"} & set(told)
    if "eprint" in told:
        assert re.fullmatch(r"\d{4}\.\d{5}", told["eprint"])
        assert told["archivePrefix"] == "arXiv"
        # An arXiv number says year and month; a paper is printed in that year or in the two after it.
        assert 0 <= int(told["year"]) - (2000 + int(told["eprint"][:2])) <= 2
    if key != "emovec_sae":
        assert told["year"] in key
        assert key.startswith(re.sub(r"[^a-z]", "", re.split(r",| and ", told["author"])[0].lower().split(" ")[-1]))


def test_every_entry_has_a_method_and_every_method_an_entry() -> None:
    assert {key for keys in METHODS.values() for key in keys} == set(entries())
    assert set(ALIASES.values()) <= set(METHODS)
    assert not set(ALIASES) & set(METHODS)


def test_the_package_cites_itself_as_its_other_files_do() -> None:
    told = fields(entries()["emovec_sae"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert told["version"] == project["version"] == cff["version"]
    assert re.sub(r"[\\{}]", "", told["title"]) == cff["title"]


def test_citation_cff_is_of_the_format() -> None:
    """What the schema of version 1.2.0 demands of the fields that are used."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert set(cff) <= {"cff-version", "title", "message", "type", "version", "license", "authors", "keywords",
                        "references"}  # fmt: skip
    assert cff["cff-version"] == "1.2.0"
    assert cff["type"] in ("software", "dataset")
    assert cff["title"]
    assert cff["message"]
    assert set(cff["license"]) == {"Apache-2.0", "CC-BY-4.0"}
    (paper,) = cff["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert [set(one) <= {"type", "value"} for one in paper["identifiers"]] == [True]
    for author in [*cff["authors"], *paper["authors"]]:
        assert set(author) in ({"name"}, {"family-names", "given-names"})
    names = [f"{one['family-names']}, {one['given-names']}" for one in paper["authors"]]
    bib = fields(entries()["sofroniew2026emotion"])
    assert " and ".join(names) == bib["author"]
    assert (paper["title"], paper["year"], paper["url"]) == (bib["title"], int(bib["year"]), bib["url"])
    assert paper["identifiers"][0]["value"] == f"arXiv:{bib['eprint']}"


def test_names_of_methods_and_keys_are_understood() -> None:
    assert cite("omp", "Holm", "max_t", "gemma scope 2").keys == [
        "pati1993orthogonal", "holm1979simple", "westfall1993resampling", "mcdougall2025gemma",
    ]  # fmt: skip
    assert cite("gao2024scaling").keys == ["gao2024scaling"]
    assert cite().keys == ["emovec_sae", "sofroniew2026emotion"]
    text = str(cite("omp", "orthogonal matching pursuit"))
    assert text.count("@inproceedings{pati1993orthogonal") == 1  # each entry once
    with pytest.raises(ConfigError, match=r"no reference for 'ompp' \(did you mean 'omp'\?\)"):
        cite("ompp")
    with pytest.raises(ConfigError, match="nobody knows which methods a dict was made with"):
        cite({"a": 1})


@pytest.mark.parametrize("name", [name for name, room in ev._PUBLIC.items() if room == "directions.estimators"])
def test_every_estimator_has_a_reference(name: str) -> None:
    params = getattr(ev, name)().get_params()
    told = of_estimator({"name": name, "params": params})
    assert told[0] in METHODS
    assert ("oas" in told) == ("shrinkage" in params)


@pytest.mark.parametrize("architecture", TRAINABLE)
def test_every_architecture_that_is_trained_has_a_reference(architecture: str) -> None:
    coder = SimpleNamespace(architecture="jumprelu", facts={"training": {"architecture": architecture}}, name="mine")
    told = READERS["SparseCoder"](coder)
    assert told[2] == architecture
    assert told[2].replace("_", "-") in METHODS


@cache
def made():
    planted_ = plant(noise=0.3)
    coder = planted_coder(planted_)
    vectors = fit_directions(planted_.store, site=str(SITE))
    return coder, vectors, {
        name: decompose(vectors, coder, planted_.store, method=name, k=3, nulls=4)
        for name in ("contrast", "omp", "gp", "nnls", "lasso", "cosine")
    }  # fmt: skip


def methods(*what: object) -> set[str]:
    return set(cite(*what).frame()["method"])


def test_directions_cite_estimator_and_denoising() -> None:
    acts, _ = planted()
    axis = np.zeros(24)
    axis[0] = 1.0
    plain = fit_directions(acts, site="resid_post.2")
    assert methods(plain) == {"emovec-sae", "nnsight", "protocol", "diff-mean"}
    assert methods(plain["e1"]) == methods(plain)
    denoised = fit_directions(acts, site="resid_post.2", remove=NeutralComponents(neutral(axis)))
    assert "neutral-components" in methods(denoised)
    white = fit_directions(acts, site="resid_post.2", estimator=ev.WhitenedDiffMean())
    assert {"whitened-diff-mean", "oas"} <= methods(white)
    assert "marks2024geometry" in cite(white).keys
    assert "oas" not in methods(fit_directions(acts, site="resid_post.2", estimator=ev.WhitenedDiffMean(shrinkage=0.1)))


def test_decompositions_cite_method_tests_and_release() -> None:
    parts = made()[2]
    wanted = {"omp": "pati1993orthogonal", "gp": "blumensath2008gradient", "nnls": "lawson1974solving",
              "lasso": "efron2004least", "contrast": "emovec_sae"}  # fmt: skip
    for name, key in wanted.items():
        assert key in cite(parts[name]).keys, name
        assert not cite(parts[name]).missing
    tested = parts["contrast"].ranks["p_max_t"].notna().any()
    assert ("max-t" in methods(parts["contrast"])) == tested
    assert "max-t" not in methods(parts["omp"])
    releases = {"gemma-scope-2-270m-pt-res/x": "gemma-scope-2", "llama_scope_lxr_8x/x": "llama-scope",
                "gemma-scope-2b-pt-res-canonical/x": "gemma-scope"}  # fmt: skip
    for sae, method in releases.items():
        assert method in methods(replace(parts["omp"], sae=sae))
        assert len({"gemma-scope", "gemma-scope-2", "llama-scope"} & methods(replace(parts["omp"], sae=sae))) == 1


def test_a_method_without_an_entry_is_said_not_left_out() -> None:
    found = cite(made()[2]["cosine"])
    assert found.missing == [("Decomposition", "cosine")]
    assert "% no entry for 'cosine', used by Decomposition" in found.bibtex()
    row = found.frame().query("method == 'cosine'").iloc[0]
    assert pd.isna(row["key"])


def test_comparisons_cite_who_selected_the_latents() -> None:
    def compared(*arms: str) -> Comparison:
        return Comparison(pd.DataFrame({"arm": arms}), pd.DataFrame(), {"arms": list(arms)})

    plain = methods(compared("raw", "random", "k=16"))
    assert {"steering", "holm"} <= plain
    assert not {"output-score", "confidence"} & plain
    assert "output-score" in methods(compared("raw", "k=4, output score"))
    assert "confidence" in methods(compared("raw", "remainder of k=4, confidence"))


@pytest.mark.parametrize(
    ("method", "wanted"),
    [("exact", {"activation-patching"}), ("attribution", {"attribution-patching"}),
     ("both", {"activation-patching", "attribution-patching"})],
)  # fmt: skip
def test_patching_cites_the_way_it_was_done(method: str, wanted: set[str]) -> None:
    found = Patching(pd.DataFrame(), pd.DataFrame(), {"method": method, "mode": "denoise", "what": ["residual"]})
    assert methods(found) & {"activation-patching", "attribution-patching"} == wanted


def test_what_is_said_of_each_kind_names_a_kind_that_exists() -> None:
    """A class that was renamed would be unknown to cite without this."""
    text = "\n".join(path.read_text() for path in (ROOT / "emovec_sae").rglob("*.py"))
    for name in [*CHECKS, *PLAIN, *READERS]:
        assert re.search(rf"^class {name}\b", text, re.MULTILINE), name
    checks = set(re.findall(r"^class (\w+)\(Check\)", text, re.MULTILINE))
    assert checks == set(CHECKS)
    known = {method.replace("_", "-") for many in (CHECKS, PLAIN) for names in many.values() for method in names}
    assert known <= set(METHODS)


def test_saved_files_say_the_same_as_the_objects(tmp_path: Path) -> None:
    coder, vectors, parts = made()
    vectors.save(tmp_path / "d.safetensors")
    parts["contrast"].save(tmp_path / "p.parquet")
    coder.sae.save_model(tmp_path / "sae")
    arms = ["raw", "k=4, output score"]
    compared = Comparison(pd.DataFrame({"arm": arms}), pd.DataFrame({"x": [1]}), {"arms": arms, "levels": [0.1]})
    compared.save(tmp_path / "c.parquet")
    facts = {"method": "both", "mode": "denoise", "what": ["residual"]}
    patched = Patching(pd.DataFrame({"pair": []}), pd.DataFrame({"pair": []}), facts)
    patched.save(tmp_path / "x.parquet")
    for name, value in (("d.safetensors", vectors), ("d.json", vectors), ("p.parquet", parts["contrast"]),
                        ("sae", coder), ("c.parquet", compared), ("x.json", patched)):  # fmt: skip
        assert methods(tmp_path / name) == methods(value), name
        assert methods(str(tmp_path / name)) == methods(value), name
    whole = methods(tmp_path)
    assert whole == methods(vectors, parts["contrast"], coder, compared, patched)


def test_saved_evaluations_and_checks_too(tmp_path: Path) -> None:
    acts, _ = planted(groups=6)
    evaluation = ev.cross_validate(acts, sites="resid_post.2")
    evaluation.save(tmp_path / "e.json")
    assert methods(tmp_path / "e.json") == methods(evaluation)
    assert "scikit-learn" in methods(evaluation)
    (tmp_path / "l.json").write_text(json.dumps({"check": "Lens", "table": [], "provenance": {}}))
    assert "logit-lens" in methods(tmp_path / "l.json")


def test_what_cannot_be_read_is_one_clear_line(tmp_path: Path, capsys) -> None:
    (tmp_path / "n.json").write_text("{")
    (tmp_path / "o.json").write_text('{"a": 1}')
    (tmp_path / "empty").mkdir()
    for name, said in (("n.json", "is no JSON"), ("o.json", "is no result"), ("gone.parquet", "no file"),
                       ("empty", "holds no saved result")):  # fmt: skip
        with pytest.raises(StoreError, match=said):
            cite(tmp_path / name)
        assert main(["cite", str(tmp_path / name)]) == 2
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("emovec:")]
        assert len(lines) == 1
        assert said in lines[0]


def test_the_command_prints_bibtex_and_writes_it(tmp_path: Path, capsys) -> None:
    assert main(["cite", "omp", "holm"]) == 0
    assert capsys.readouterr().out == cite("omp", "holm").bibtex()
    out = tmp_path / "x.bib"
    assert main(["cite", "--json", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["keys"] == ["emovec_sae", "sofroniew2026emotion"]
    assert out.read_text() == cite().bibtex()
    assert main(["cite", "omp", "--out", str(out)]) == 2
    assert out.read_text() == cite().bibtex()
    assert main(["cite", "omp", "--out", str(out), "--force"]) == 0
    assert main(["cite", "ompp"]) == 2
