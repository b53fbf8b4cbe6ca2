"""The lines of a card that load directions: with this package, and in plain torch."""

from __future__ import annotations

import json
from typing import Any

from emovec_sae.directions.direction_set import DirectionSet

NAME = "directions.safetensors"


def in_emovec(directions: DirectionSet, *, repo: str | None) -> str:
    """Lines that steer with the first emotion through this package."""
    source = f"ev.pull({_text(repo)})" if repo else f"ev.load_directions({_text(NAME)})"
    return "\n".join(
        [
            "import emovec_sae as ev",
            "",
            f"model = ev.load_model({_text(directions.model.get('name'))})",
            f"vectors = {source}",
            f"edit = ev.Steer(vectors[{_text(directions.emotions[0])}], strength=0.1)",
            'print(ev.generate(model, "Tell me about your day.", edits=[edit]))',
        ]
    )


def in_torch(directions: DirectionSet) -> str:
    """Six lines that do the same to a block of a transformers model; the caller has `blocks`."""
    lines = [
        "import json, pathlib",
        "from safetensors.torch import load_file",
        "",
        'facts = json.loads(pathlib.Path("directions.json").read_text())["facts"]',
        f'vector = load_file("{NAME}")["vectors"][facts["emotions"].index({_text(directions.emotions[0])})]',
        'added = 0.1 * facts["residual_norm"] * vector / vector.norm()  # strength 0.1',
    ]
    site = directions.site
    block = {"resid_post": site.layer, "resid_pre": site.layer - 1}.get(site.stream, -1)
    if block < 0:
        return "\n".join([*lines, f"# add it to {site.stream} of block {site.layer}, blocks counted from 0"])
    where = (
        "# blocks: model.model.layers of a Llama, Gemma or Qwen; transformers 4 gives a tuple, add to its first part"
    )
    hook = f"blocks[{block}].register_forward_hook(lambda block, given, out: out + added.to(out.dtype))"
    return "\n".join([*lines, where, hook])


def _text(value: Any) -> str:
    """A name as a Python literal: whoever named it cannot leave the quotes."""
    return json.dumps(str(value), ensure_ascii=False)
