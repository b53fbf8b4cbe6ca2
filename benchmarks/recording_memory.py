"""Does the memory of recording grow with the number of texts? Peak of processes of their own, pooled and token-level.

    .venv/bin/python benchmarks/recording_memory.py [--counts 1000 10000]

Sentences of the packaged stories, a text each (about 25 tokens), repeated under other names as often as needed; the
embedded model up to block 3. Linux only. Prints one JSON object: resident memory before recording (model and texts) and
at its peak, in MiB, and the ratio of the peaks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from typing import Any

SITE = "resid_post.3"
POOLS = {"pooled": ["mean"], "tokens": ["mean", "none"]}


STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(line: str) -> int:
    """Resident memory of this process in MiB: VmRSS now, VmHWM its peak."""
    found = next(one for one in STATUS.read_text().splitlines() if one.startswith(line))
    return round(int(found.split()[1]) / 1024)


def child(kind: str, count: int) -> None:
    """Record `count` texts and print what it took."""
    import pandas as pd

    from emovec_sae.corpora.frame import Corpus
    from emovec_sae.corpora.packaged import load_corpus
    from emovec_sae.models.load import load_model
    from emovec_sae.recording.record import record

    stories = load_corpus("stories").frame["text"]
    sentences = [one.strip() + "." for text in stories for one in text.split(".") if len(one.split()) > 8]
    corpus = Corpus.from_frame(pd.DataFrame({"text": list(islice(cycle(sentences), count))}), name="sentences")
    model = load_model("smollm2-135m-instruct", device="cpu")
    before = resident("VmRSS")
    CLEAR.write_text("5")  # forgets the peak of loading, which would hide that of recording
    with tempfile.TemporaryDirectory() as folder:
        acts = record(model, corpus, sites=SITE, pool=POOLS[kind], offset=4, budget=512, out=Path(folder) / "store")
        tokens = int(acts.frame["n_tokens"].sum())
    sys.stdout.write(json.dumps({"tokens": tokens, "model_mib": before, "peak_mib": resident("VmHWM")}) + "\n")


def main() -> None:
    """Run the children."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs=2, default=[1000, 10000])
    parser.add_argument("--child", nargs=2)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], int(options.child[1]))
        return
    found: dict[str, Any] = {}
    for kind in POOLS:
        runs = {}
        for count in options.counts:
            command = [sys.executable, __file__, "--child", kind, str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603  this very file
            runs[count] = json.loads(done.stdout.splitlines()[-1])
        few, many = (runs[count]["peak_mib"] for count in options.counts)
        found[kind] = {"runs": runs, "ratio": round(many / few, 3)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
