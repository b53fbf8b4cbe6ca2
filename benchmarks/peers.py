"""Other ways to get the same activations, as their users write them; each keeps what it saw.

nnsight reads the body of a trace from its file, so each stands in a function of this module.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from emovec_sae.models.tokens import pad
from emovec_sae.recording.plan import make_plan

BATCH = 32
"""Texts of a padded batch, where a newcomer chooses."""


class _Deep(Exception):
    """Raised by the hook of the deepest block, so that the blocks above do not run."""


def hooks(model: Any, texts: list[str], layers: range, budget: int) -> None:
    """The limit: bare hooks, length-sorted batches, stopped at the deepest block, nothing pooled or written."""
    ids = model.tokens.encode(texts)
    kept: dict[int, torch.Tensor] = {}

    def hook(layer: int) -> Any:
        def keep(_module: Any, _inputs: Any, output: Any) -> None:
            kept[layer] = output
            if layer == layers[-1]:
                raise _Deep

        return keep

    handles = [model.module.model.layers[layer].register_forward_hook(hook(layer)) for layer in layers]
    try:
        with torch.no_grad():
            for shard in make_plan([len(one) for one in ids], budget=budget).shards:
                for rows in shard:
                    batch = pad([ids[row] for row in rows], pad_id=model.tokens.pad_id)
                    try:
                        model.module(**batch.inputs())
                    except _Deep:
                        continue
    finally:
        for handle in handles:
            handle.remove()


def nnsight_padded(model: Any, texts: list[str], layers: range) -> None:
    """A trace a batch in the order of the file, padded by the tokenizer, the whole model, the mean over tokens."""
    import nnsight

    found: list[Any] = []
    with torch.no_grad():
        for first in range(0, len(texts), BATCH):
            with model.net.trace(texts[first : first + BATCH]):
                saved = nnsight.save([model.net.model.layers[layer].output.mean(dim=1) for layer in layers])
            found.append([value.float().numpy() for value in saved])


def hidden_states(model: Any, texts: list[str], layers: range) -> None:
    """The output_hidden_states of transformers, one text at a time."""
    found: list[Any] = []
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor(model.tokens.encode([text]))
            states = model.module(input_ids=ids, output_hidden_states=True).hidden_states
            found.append([states[layer + 1].mean(dim=1).float().numpy() for layer in layers])


@cache
def _bridge(model: Any) -> Any:
    from transformer_lens.model_bridge import TransformerBridge

    from emovec_sae.models.embedded import EMBEDDED
    from emovec_sae.models.gguf import converted

    embedded = EMBEDDED[model.name]
    folder = str(converted(embedded.locate(), digest=embedded.sha256))
    dtype = getattr(torch, model.dtype)
    return TransformerBridge.boot_transformers(folder, device="cpu", dtype=dtype, tokenizer=model.tokens.tokenizer)


def transformer_lens(model: Any, texts: list[str], layers: range) -> None:
    """TransformerLens 3: run_with_cache on padded batches of the same weights, the sites filtered by name."""
    bridge = _bridge(model)
    names = [f"blocks.{layer}.hook_out" for layer in layers]
    found: list[Any] = []
    with torch.no_grad():
        for first in range(0, len(texts), BATCH):
            batch = texts[first : first + BATCH]
            _, kept = bridge.run_with_cache(batch, names_filter=lambda name: name in names)
            assert len(kept) >= len(names), f"the cache has {list(kept)}"  # noqa: S101
            found.append([value.mean(dim=1).float().numpy() for value in kept.values()])


PEERS = {
    "nnsight_padded": nnsight_padded,
    "hidden_states_one_by_one": hidden_states,
    "transformer_lens_cache": transformer_lens,
}
