"""The table that ``emovec models`` prints is what the checks found on a tiny model of each architecture.

``EMOVEC_WRITE_TABLE=1 pytest tests/agreement/test_architecture_table.py`` writes it anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import emovec_sae.models.architectures as room
from emovec_sae.models.model import Model
from emovec_sae.models.seam import forward
from emovec_sae.models.tokens import pad
from emovec_sae.sites import STREAMS, Site
from emovec_sae.testing import ARCHITECTURES

TABLE = Path(room.__file__).with_name("architectures.json")
LAYER = 1


class Nudge:
    """Add a fixed ramp at every token."""

    positions = "all"

    def __init__(self, site: Site) -> None:
        self.site = site

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return hidden + torch.linspace(-1, 1, hidden.shape[-1])


def reads(model: Model, site: Site, batch: Any) -> bool:
    """Whether the seam reads what a plain hook sees."""
    seen: list[torch.Tensor] = []

    def keep(_module: Any, args: Any, kwargs: Any, output: Any = None) -> None:
        value = output if output is not None else (args[0] if args else kwargs["hidden_states"])
        seen.append(value[0] if isinstance(value, tuple) else value)

    module = model.module.get_submodule(model.blocks.path(site))
    add = module.register_forward_pre_hook if site.stream == "resid_pre" else module.register_forward_hook
    handle = add(keep, with_kwargs=True)
    with torch.no_grad():
        model.module(**batch.inputs())
    handle.remove()
    return torch.equal(forward(model, batch, read=[site]).values[site], seen[0])


def writes(model: Model, site: Site, batch: Any) -> bool:
    """Whether a write there changes the logits."""
    plain = forward(model, batch, final=True).final
    edited = forward(model, batch, edits=[Nudge(site)], final=True).final
    return not torch.equal(model.head(plain), model.head(edited))


def row(name: str, model: Model) -> dict[str, Any]:
    batch = pad([[5, 9, 33, 80, 41], [7, 8, 9]], pad_id=0)
    found: dict[str, Any] = {"architecture": name, "class": type(model.module).__name__}
    for stream in STREAMS:
        site = Site(stream, LAYER)
        path = model.blocks.path(site).replace(f".{LAYER}", ".L")
        found[stream] = f"{path} ({'input' if stream == 'resid_pre' else 'output'})"
        assert reads(model, site, batch), (name, stream)
        assert writes(model, site, batch), (name, stream)
    return found


def test_the_table_is_what_the_checks_find(tiny: Callable[..., Model]) -> None:
    found = [row(name, tiny(name)) for name in ARCHITECTURES]
    if os.environ.get("EMOVEC_WRITE_TABLE"):
        TABLE.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(TABLE.read_text())
    assert set(room.EXAMPLES) == {one["architecture"] for one in found}
    assert room.architectures()["architecture"].tolist() == [one["architecture"] for one in found]
