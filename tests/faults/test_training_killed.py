"""A training that is killed goes on when it is started again, and ends in the weights of one that was not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import emovec_sae

TIMES = 5


def test_trainings_killed_at_random_moments_end_in_the_very_weights(tmp_path: Path) -> None:
    """SIGKILL twice, then the same call again: both SAEs are the uninterrupted run's, and nothing else is left."""
    root = Path(emovec_sae.__file__).resolve().parent.parent
    path = os.pathsep.join([str(root), str(root / "tests")])
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("killed_trainings.py")), str(tmp_path), str(TIMES)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    runs = found["runs"]
    assert found["saes"] == 2
    assert len(runs) >= TIMES
    assert [one for one in runs if not one["same"] or one["litter"]] == []
    moments = {name for one in runs for name in one["steps"]}
    assert len(moments) > 3, f"the moments were all alike: {moments}"
