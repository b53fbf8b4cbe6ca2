"""Turning the embedded GGUF file into a folder: two processes may race, one folder results."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import emovec_sae
from emovec_sae.models.model import Model
from emovec_sae.provenance import read_json

CHILD = """
from emovec_sae.models.load import load_model
model = load_model("smollm2-135m-instruct", device="cpu", check=False)
print(model.fingerprint, model.tokens.chat)
"""


def test_two_processes_race_to_one_folder(tmp_path: Path, smollm: Model) -> None:
    root = str(Path(emovec_sae.__file__).resolve().parent.parent)
    environment = {**os.environ, "EMOVEC_CACHE": str(tmp_path), "PYTHONPATH": root}
    models = tmp_path / "models"
    models.mkdir()
    half = models / ".SmolLM2-135M-Instruct.Q4_1-b179c9523d0e.dead"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")  # of a process that was killed before
    racing = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", CHILD],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for one in racing:
        out, said = one.communicate(timeout=240)
        assert one.returncode == 0, said
        assert out.split() == [smollm.fingerprint, "True"]
    (folder,) = [one for one in models.iterdir() if one.suffix != ".lock"]
    assert folder.name == "SmolLM2-135M-Instruct.Q4_1-b179c9523d0e"
    facts = read_json(folder / "emovec.json")
    assert facts["sha256"].startswith("b179c9523d0e")
    assert facts["source"] == ["SmolLM2-135M-Instruct.Q4_1.gguf"]
    assert (folder.stat().st_mode & 0o777, (folder / "model.safetensors").stat().st_mode & 0o777) == (0o755, 0o644)
