"""The demo: the study that ``emovec demo`` runs."""

from __future__ import annotations

from importlib.resources import as_file, files

from emovec_sae.config import Study, load_study


def demo_study() -> Study:
    """Read the packaged study of the embedded run."""
    with as_file(files("emovec_sae.studies") / "demo.yaml") as path:
        return load_study(path)
