"""SAEs in sae-lens's format: a copy that is read back and must encode and decode as the original does."""

from __future__ import annotations

from pathlib import Path

from emovec_sae.errors import MismatchError
from emovec_sae.exports.folders import filled_folder
from emovec_sae.provenance import read_json, write_json
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.load import FACTS, load_sae

PROBES = 64
"""Made-up activations on which copy and original must agree, bit for bit."""


def export_sae_lens(
    coder: SparseCoder, out: str | Path, *, model_name: str | None = None, overwrite: bool = False
) -> Path:
    """Write an SAE as ``cfg.json`` and ``sae_weights.safetensors``, which ``sae_lens.SAE.load_from_disk`` reads.

    The metadata says where it reads (``hook_name``) and of which model (``model_name``); nothing is left to normalise,
    for a scale of the activations is folded into the weights.

    Parameters
    ----------
    coder
        The SAE.
    out
        The folder; ``emovec.json`` beside the two files keeps provenance and training texts.
    model_name
        sae-lens's name of the model, where it is another than the one that the SAE was loaded with: an embedded name
        means nothing to sae-lens.
    overwrite
        Whether files of the same names in `out` may be replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigError
        If a file is there and `overwrite` is not set.
    MismatchError
        If the copy does not encode and decode as the original.
    """
    with filled_folder(out, overwrite=overwrite) as part:
        write_sae(coder, part, model_name=model_name)
    return Path(out)


def write_sae(coder: SparseCoder, folder: Path, *, model_name: str | None = None) -> None:
    """Write an SAE into an empty folder and compare what is read back with it."""
    for weight in coder.sae.parameters():  # a transposed view is refused by safetensors
        weight.data = weight.data.contiguous()
    coder.sae.save_model(folder)
    config = read_json(folder / "cfg.json")
    config["device"] = "cpu"
    known = dict(config.get("metadata") or {})
    named = model_name or known.get("model_name") or coder.model.get("name")
    config["metadata"] = {**known, "hook_name": coder.site.hook_name, "model_name": named}
    write_json(folder / "cfg.json", config)
    if coder.facts:
        write_json(folder / FACTS, {name: value for name, value in coder.facts.items() if name != "files"})
    _check_copy(coder, load_sae(folder, device=str(coder.device)))


def _check_copy(coder: SparseCoder, copy: SparseCoder) -> None:
    import torch

    random = torch.Generator().manual_seed(0)
    size = float((coder.facts.get("residual") or {}).get("mean_norm") or coder.d_in**0.5)
    x = torch.randn(PROBES, coder.d_in, generator=random) * size / coder.d_in**0.5
    pairs = {
        "encode": (coder.encode(x), copy.encode(x)),
        "decode": (coder.reconstruct(x), copy.reconstruct(x)),
    }
    for name, (ours, theirs) in pairs.items():
        if not torch.equal(ours, theirs):
            raise MismatchError(f"the copy of SAE '{coder.name}' does not {name} as it does; nothing was written")
    if (copy.fingerprint, copy.site) != (coder.fingerprint, coder.site):
        raise MismatchError(f"the copy of SAE '{coder.name}' is not the same SAE; nothing was written")
