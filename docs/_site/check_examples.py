"""Run the examples of the verbs, in order, in a folder, and say where the documented JSON keys differ.

``python docs/_site/check_examples.py FOLDER [VERB ...]``; with ``--write-keys`` the found keys are printed as YAML.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import verbs


def run(line: str, folder: Path) -> dict[str, object]:
    """Run one line of an example with ``--json``; its last line as an object."""
    command = [str(Path(sys.executable).with_name("emovec")), *shlex.split(line)[1:], "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{line}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Run them."""
    folder, only = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    for page in verbs.told().values():
        for name, about in page["verbs"].items():
            if about.get("needs") or (only and name not in only):
                continue
            lines = [*about.get("before", "").splitlines(), *about["example"].splitlines()]
            for line in lines:
                found = run(line, folder)
            told = set(about.get("json") or page["json"])
            missing, gone = sorted(set(found) - told), sorted(told - set(found))
            print(
                f"{name}: {'as documented' if not missing and not gone else f'not told {missing}, gone {gone}'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
