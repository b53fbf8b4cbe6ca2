"""The tutorial runs, and says what its text says."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from doc_blocks import ROOT

import emovec_sae as ev

if TYPE_CHECKING:
    from emovec_sae.models.model import Model


@pytest.mark.timeout(900)
def test_the_tutorial_runs(smollm: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_site"))
    spec = importlib.util.spec_from_file_location("tutorial_notebook", ROOT / "docs" / "_site" / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    notebook: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = notebook
    spec.loader.exec_module(notebook)
    monkeypatch.setattr(ev, "load_model", lambda *_, **__: smollm)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    space: dict[str, Any] = {}
    ran = list(notebook.run(notebook.NOTEBOOK.read_text("utf-8"), tmp_path, space))
    stored = json.loads(notebook.OUTPUTS.read_text("utf-8"))
    assert [cell.digest for cell, _, _ in ran] == [one["cell"] for one in stored]
    # What the text claims. The numbers are another machine's by a little: limits are loose.
    top = space["tested"].frame().query("metric == 'top1' and site == 'resid_post.18'").set_index("readout")["value"]
    assert top["zscore"] > 0.5 > 0.3 > top["dot"]  # three in four, and hardly better than one in six
    assert space["passport"].explained_variance.value > 0.5
    excess = space["chance"].query("k == 16 and quantity == 'cosine'").set_index("null")["excess"]
    assert excess.idxmin() == "permuted labels"
    moved = space["moved"].frame().query("edit == 'vector' and score == 'fear'").set_index("dose")["change"]
    assert moved[0.0] == 0
    assert moved[0.2] > 0.5
    patched = space["found"].map().pivot(index="layer", columns="where", values="recovered")
    assert patched["changed word"].iloc[0] > patched["last token"].iloc[0]
    assert patched["last token"].iloc[-1] > patched["changed word"].iloc[-1]
