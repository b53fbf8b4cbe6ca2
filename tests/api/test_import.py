"""Importing the package changes nothing and stays light."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROBE = """
import atexit, json, logging, signal, sys, warnings
def state():
    interrupt = signal.getsignal(signal.SIGINT)
    return sys.excepthook, sys.displayhook, interrupt, list(warnings.filters), atexit._ncallbacks()
before = state()
import {module}
after = state()
named = [logger for logger in logging.Logger.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
print(json.dumps({{
    "loaded": sorted(name for name in sys.modules if "." not in name),
    "handlers": sum(len(logger.handlers) for logger in [logging.root, *named]),
    "unchanged": before == after,
}}))
"""
HEAVY = {"torch", "sae_lens", "transformer_lens", "transformers", "nnsight"}


def probe(module: str) -> dict[str, object]:
    """Import a module in a clean process and tell what that changed."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(module=module)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_importing_the_package_loads_nothing_heavy_and_changes_nothing() -> None:
    seen = probe("emovec_sae")
    assert not HEAVY & set(seen["loaded"])
    assert seen["handlers"] == 0
    assert seen["unchanged"]


@pytest.mark.parametrize("module", ["emovec_sae.corpora", "emovec_sae.stats"])
def test_texts_and_statistics_need_no_model_library(module: str) -> None:
    assert not HEAVY & set(probe(module)["loaded"])


def test_the_probe_sees_what_it_looks_for() -> None:
    seen = probe("nnsight")
    assert "torch" in seen["loaded"]
