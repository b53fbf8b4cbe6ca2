"""One checked request of `decompose` carried out: the method's work, and the result made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.corpora.prompts import load_prompts
from emovec_sae.decomposition.contrast import contrast_parts
from emovec_sae.decomposition.encode import diagnose, encode_method
from emovec_sae.decomposition.pursuit_nulls import null_targets
from emovec_sae.decomposition.pursuit_parts import pursuit_parts
from emovec_sae.decomposition.pursuits import PURSUITS
from emovec_sae.decomposition.result import Decomposition
from emovec_sae.decomposition.sources import cells_of, check_same_texts, pooled_texts
from emovec_sae.decomposition.targets import project
from emovec_sae.errors import ConfigError
from emovec_sae.provenance import collect

if TYPE_CHECKING:
    import torch

    from emovec_sae.decomposition.cells import Cells
    from emovec_sae.decomposition.parts import Parts
    from emovec_sae.directions.direction_set import DirectionSet
    from emovec_sae.models.model import Model
    from emovec_sae.saes.coder import SparseCoder
    from emovec_sae.store.reader import Activations

STEMS = ("word_third", "word_first")
"""Kinds of the packaged prompts that `attribution` runs on by default: a feeling word is due at their end."""


@dataclass(frozen=True, eq=False)
class Request:
    """What was asked for, checked; `wanted` are rows of `whole`."""

    whole: DirectionSet
    wanted: list[int]
    sae: SparseCoder
    acts: Activations | None
    method: str
    k: int
    nulls: int
    seed: int

    @property
    def emotions(self) -> tuple[str, ...]:
        """Names of the wanted."""
        return tuple(self.whole.emotions[row] for row in self.wanted)

    def run(self, model: Model | None, prompts: Any, options: Mapping[str, Any]) -> tuple[Parts, Cells | None]:
        """Run the method; the cells of latents are those that it needed or that tell firing rates."""
        import torch

        removed = torch.from_numpy(np.array(self.whole.removed, dtype=np.float32)).to(self.sae.device)
        tokens = self.acts is not None and self.acts.has_tokens(self.whole.site) and self.whole.pool == "mean"
        cells = None
        with torch.no_grad():
            if self.acts is not None and (tokens or self.method == "contrast"):
                cells = cells_of(self.whole, self.sae, self.acts)
            if self.method == "contrast" and cells is not None:
                check_same_texts(self.whole, cells, removed)
                found = contrast_parts(
                    cells,
                    self.sae,
                    removed=removed,
                    wanted=self.wanted,
                    k=self.k,
                    nulls=self.nulls,
                    seed=self.seed,
                    **options,
                )
                return found, cells
        rates = None if cells is None else cells.firing_rate
        if self.method == "attribution":
            return self._attribution(model, prompts, options, removed, rates), cells
        with torch.no_grad():
            return self._pursuit(removed, rates), cells

    def _pursuit(self, removed: torch.Tensor, rates: np.ndarray | None) -> Parts:
        import torch

        vectors = torch.from_numpy(self.whole.vectors[self.wanted].astype(np.float32)).to(self.sae.device)
        targets = project(vectors, removed)
        texts = None if self.acts is None else pooled_texts(self.whole, self.acts)
        drawn, missing = null_targets(self.whole, targets, texts, removed=removed, n=self.nulls, seed=self.seed)
        method = PURSUITS["omp"] if self.method == "encode" else PURSUITS[self.method]
        common: dict[str, Any] = {
            "removed": removed, "k": self.k, "n_texts": self.whole.n_texts[self.wanted], "firing_rate": rates,
            "settings": {"nulls_not_drawn": missing},
        }  # fmt: skip
        if self.method != "encode":
            return pursuit_parts(self.emotions, targets, self.sae, method=method, nulls=drawn, **common)
        # The encoder, unlike a pursuit, sees the length of a target: chance gets the mean length of the vectors.
        length = targets.norm(dim=1).mean()
        drawn = {prefix: units * length for prefix, units in drawn.items()}
        signed = pursuit_parts(self.emotions, targets, self.sae, method=method, nulls={}, **common)
        wrong = encode_method(self.sae, removed)
        found = pursuit_parts(self.emotions, targets, self.sae, method=wrong, nulls=drawn, **common)
        told = diagnose(targets, self.sae, signed=signed.coefficients, found=found.coefficients)
        return replace(found, summary=pd.concat([found.summary, told], axis=1))

    def _attribution(
        self,
        model: Model | None,
        prompts: Any,
        options: Mapping[str, Any],
        removed: torch.Tensor,
        rates: np.ndarray | None,
    ) -> Parts:
        from emovec_sae.decomposition.attribution import attribution_parts

        if model is None:
            raise ConfigError("method 'attribution' runs the model: give it (model=, --model)")
        self.whole.check_model({"name": model.name, "fingerprint": model.fingerprint})
        # Latents may be chosen on the prompts marked `tune`; effects are reported on the others.
        texts = load_prompts(kind=STEMS, use="tune")["text"].tolist() if prompts is None else prompts
        return attribution_parts(
            self.emotions, self.whole.vectors[self.wanted], self.sae, removed=removed, k=self.k, nulls=self.nulls,
            seed=self.seed, n_texts=self.whole.n_texts[self.wanted], model=model, prompts=texts, firing_rate=rates,
            **options,
        )  # fmt: skip

    def result(self, parts: Parts, cells: Cells | None, fit: Mapping[str, Any]) -> Decomposition:
        """Make the result, with what is known of the SAE's fitness."""
        import torch

        whole, sae = self.whole, self.sae
        return Decomposition(
            method=self.method,
            k=self.k,
            emotions=self.emotions,
            site=whole.site,
            model=dict(whole.model),
            sae=sae.name,
            sae_fingerprint=sae.fingerprint,
            ranks=parts.frame,
            summary=parts.summary,
            curves=parts.curve,
            index=parts.index,
            rows=sae.directions[torch.from_numpy(parts.index).to(sae.device)].cpu().numpy(),
            coefficients=parts.coefficients,
            vectors=parts.vectors,
            removed=np.array(whole.removed, dtype=np.float32),
            interval=parts.interval,
            provenance=collect(
                seed=self.seed,
                nulls=self.nulls,
                fitness=dict(fit),
                settings=dict(parts.settings),
                d_sae=sae.d_sae,
                live=None if cells is None else int((cells.fired > 0).sum()),
                directions=whole.fingerprint,
                sae=sae.fingerprint,
                activations=whole.activations,
                corpus=whole.corpus_hash,
            ),
            firing_rate=parts.firing_rate if parts.firing_rate is not None or cells is None else cells.firing_rate,
            tests=parts.tests,
        )
