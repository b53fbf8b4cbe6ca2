"""Exported control vectors in llama.cpp itself beside `Steer` here, block by block.

    python -m venv /tmp/llama && /tmp/llama/bin/pip install xllamacpp
    .venv/bin/python benchmarks/llama_cpp.py --library FILE

FILE is ``xllamacpp/xllamacpp.abi3.so`` there, or any shared library with llama.cpp's C interface. The embedded GGUF
file is read by llama.cpp and by this package; a random direction is exported for several blocks N. The change of the
last token's logits in llama.cpp is held against what `Steer` changes at resid_post.N - 1, N and N + 1. The two programs
do not round alike (llama.cpp multiplies Q4 weights with 8-bit activations), so the right block is the near one, not an
equal one. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import ctypes as c
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGUFReader

from emovec_sae import load_model
from emovec_sae.exports.control_vector import write_vector
from emovec_sae.interventions.edits.shifts import Shift
from emovec_sae.models.embedded import EMBEDDED
from emovec_sae.models.hooks import edited
from emovec_sae.models.model import Model
from emovec_sae.models.tokens import pad
from emovec_sae.sites import Site

MODEL = "smollm2-135m-instruct"
PROMPT = "The door opened and she saw her brother standing there. She felt"
BLOCKS = (1, 10, 18, 29)


class Params(c.Structure):
    """Room for either structure of parameters: passed on as it was given, so its fields need not be known."""

    _fields_ = (("bytes", c.c_ubyte * 1024),)


class Batch(c.Structure):
    """llama_batch."""

    _fields_ = (
        ("n_tokens", c.c_int32),
        *((name, c.c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")),
    )


class LlamaCpp:
    """The few functions of the C interface that are needed."""

    def __init__(self, library: str, model: Path) -> None:
        self.lib = lib = c.CDLL(library)
        self.silent = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)(lambda *_: None)
        lib.llama_log_set(self.silent, None)
        for name, result, given in (
            ("llama_model_default_params", Params, []),
            ("llama_context_default_params", Params, []),
            ("llama_model_load_from_file", c.c_void_p, [c.c_char_p, Params]),
            ("llama_init_from_model", c.c_void_p, [c.c_void_p, Params]),
            ("llama_set_adapter_cvec", c.c_int32, [c.c_void_p, c.c_void_p, c.c_size_t, *[c.c_int32] * 3]),
            ("llama_batch_get_one", Batch, [c.c_void_p, c.c_int32]),
            ("llama_decode", c.c_int32, [c.c_void_p, Batch]),
            ("llama_get_logits", c.POINTER(c.c_float), [c.c_void_p]),
            ("llama_free", None, [c.c_void_p]),
        ):
            function = getattr(lib, name)
            function.restype, function.argtypes = result, given
        lib.llama_backend_init()
        lib.ggml_backend_load_all()
        self.model = lib.llama_model_load_from_file(str(model).encode(), lib.llama_model_default_params())
        if not self.model:
            sys.exit(f"llama.cpp cannot read {model}")

    def logits(self, ids: list[int], *, vocabulary: int, n_layers: int, vector: Path | None = None) -> np.ndarray:
        """Logits of the last token, with a control vector at scale 1 or without."""
        lib, tokens = self.lib, np.asarray(ids, np.int32)
        context = lib.llama_init_from_model(self.model, lib.llama_context_default_params())
        if vector is not None:
            data, width = buffer_of(vector)
            lib.llama_set_adapter_cvec(context, data.ctypes.data, len(data), width, 1, n_layers)
        if lib.llama_decode(context, lib.llama_batch_get_one(tokens.ctypes.data, len(tokens))):
            sys.exit("llama.cpp cannot run the prompt")
        found = np.ctypeslib.as_array(lib.llama_get_logits(context), (vocabulary,)).copy()
        lib.llama_free(context)
        return found


def buffer_of(path: Path) -> tuple[np.ndarray, int]:
    """A file as ``common_control_vector_load`` lays it out: direction.N at ``(N - 1) * n_embd``."""
    tensors = GGUFReader(path).tensors
    width = int(tensors[0].shape[0])
    data = np.zeros(width * max(int(one.name.split(".")[1]) for one in tensors), np.float32)
    for one in tensors:
        layer = int(one.name.split(".")[1])
        data[width * (layer - 1) : width * layer] += one.data
    return data, width


def ours(model: Model, ids: list[int], edits: list[Shift]) -> np.ndarray:
    """The same logits here."""
    batch = pad([ids], pad_id=model.tokens.pad_id)
    with torch.no_grad(), edited(model, batch, edits):
        module: Any = model.module
        return module(**batch.inputs()).logits[0, -1].float().numpy()


def main() -> None:
    """Compare, and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", required=True)
    parser.add_argument("--size", type=float, default=60.0, help="length of the vector, about 0.3 of the stream")
    options = parser.parse_args()
    model = load_model(MODEL, dtype="float32", device="cpu")
    theirs = LlamaCpp(options.library, EMBEDDED[MODEL].locate()[0])
    ids = [int(one) for one in model.tokens.tokenizer(PROMPT)["input_ids"]]
    shape = {"vocabulary": int(model.config.vocab_size), "n_layers": model.n_layers}
    vector = np.random.default_rng(0).standard_normal(model.d_model)
    base, plain = ours(model, ids, []), theirs.logits(ids, **shape)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for block in BLOCKS:
            path = Path(scratch) / f"{block}.gguf"
            shift = Shift(vector, site=Site("resid_post", block), coefficient=options.size)
            write_vector(path, shift.added, layer=block, hint="llama", about={})
            change = theirs.logits(ids, **shape, vector=path) - plain
            for layer in (block - 1, block, block + 1):
                if 0 <= layer < model.n_layers:
                    moved = Shift(vector, site=Site("resid_post", layer), coefficient=options.size)
                    here = ours(model, ids, [moved]) - base
                    cosine = float(change @ here / np.linalg.norm(change) / np.linalg.norm(here))
                    distance = float(np.linalg.norm(change - here) / np.linalg.norm(here))
                    rows.append({"direction": block, "resid_post": layer, "cosine": cosine, "distance": distance})
    told = {"base_correlation": float(np.corrcoef(base, plain)[0, 1]), "changes": rows}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
