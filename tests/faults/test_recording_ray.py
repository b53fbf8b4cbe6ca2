"""Recording on a Ray cluster of three local nodes: the same bytes, whoever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import emovec_sae
from emovec_sae.errors import ConfigError
from emovec_sae.models.load import load_model
from emovec_sae.models.model import Model
from emovec_sae.recording.record import record
from emovec_sae.testing import tiny_corpus, tiny_folder

SCRIPT = Path(__file__).with_name("ray_cluster.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened on the cluster, which lives in a process of its own."""
    root = str(Path(emovec_sae.__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("ray"))],
        capture_output=True, text=True, timeout=240, check=False, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_killed_worker_costs_nothing_but_its_shard(found: dict[str, Any]) -> None:
    assert len(found["right"]) == 5
    assert found["killed"] == {"digests": found["right"], "lost": 1}
    assert found["workers"] == 3


def test_a_node_that_vanishes_costs_nothing(found: dict[str, Any]) -> None:
    assert found["removed"]["digests"] == found["right"]


def test_a_shard_that_kills_every_worker_is_named_and_the_others_stay(found: dict[str, Any]) -> None:
    assert found["mortal"].startswith("StoreError: 3 workers died while they recorded shard-00002.h5")
    assert "shard-00002.h5" not in found["left"]
    assert not [name for name in found["left"] if name.startswith(".shard")], "half a file was left"
    assert found["resumed"] == found["right"]


def test_an_error_of_a_worker_is_its_own(found: dict[str, Any]) -> None:
    assert found["spoilt"].startswith("StoreError: activation that is not finite: text 'e2.g")
    assert "\n" not in found["spoilt"]


def test_a_killed_driver_is_resumed_by_any_engine(found: dict[str, Any]) -> None:
    assert found["driver"] == -signal.SIGKILL
    whole = {name: digest for name, digest in found["kept"].items() if not name.startswith(".")}
    assert 2 <= len(whole) < 5
    assert whole.items() <= found["right"].items()
    assert found["driver_resumed"] == found["right"]


def test_what_a_cluster_cannot_do_is_said(
    tiny: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(model: Model, **options: Any) -> None:
        record(model, tiny_corpus(), sites="resid_post.1", offset=5, budget=130, out=tmp_path / "a", **options)

    with pytest.raises(ConfigError, match="was made in memory: workers cannot load it"):
        run(tiny(), engine="ray")
    with pytest.raises(ConfigError, match="workers is 2 with engine 'local'"):
        run(tiny(), workers=2)
    with pytest.raises(ConfigError, match="workers is 0 with engine 'ray'"):
        run(tiny(), workers=0, engine="ray")
    monkeypatch.setattr("emovec_sae.recording.cluster.find_spec", lambda _: None)
    model = load_model(tiny_folder(tmp_path / "tiny"), device="cpu", check=False)
    with pytest.raises(ConfigError, match=r"pip install 'emovec_sae\[ray\]'"):
        run(model, engine="ray")
    assert not (tmp_path / "a").exists()
