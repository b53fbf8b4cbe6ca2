"""A text under the model's eyes: its tokens, and how strongly an emotion or a latent is present at each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from emovec_sae.directions.readouts import TRANSDUCTIVE, check_readout
from emovec_sae.errors import ConfigError, CorpusError

if TYPE_CHECKING:
    from emovec_sae.models.tokens import Tokens
    from emovec_sae.report.app.material import Material

MOST_CHARACTERS = 4000
TOP = 8
"""Emotions and latents that are named for a text as a whole."""
READOUT = "centred_cosine"
"""What the map of an emotion shows unless told otherwise: 0 is the training texts' mean, whatever the norm."""
_KEPT = 16


@dataclass(frozen=True, eq=False)
class ReadText:
    """A text and its states.

    Attributes
    ----------
    pieces
        What each token stands for in the text; joined they are the text.
    counted
        Which tokens are scored: neither the first nor special ones, shape (tokens,).
    states
        Activations at the directions' site, shape (tokens, d), float32.
    """

    pieces: tuple[str, ...]
    counted: np.ndarray
    states: np.ndarray


def check_text(text: str, *, what: str = "text", most: int = MOST_CHARACTERS) -> str:
    """Refuse an empty text, or one that would hold up everybody else.

    Raises
    ------
    CorpusError
        If it is blank or too long.
    """
    if not text.strip():
        raise CorpusError(f"the {what} is empty; write a sentence or two")
    if len(text) > most:
        raise CorpusError(f"the {what} has {len(text):,} characters; at most {most:,} are read here")
    return text


def pieces_of(tokens: Tokens, text: str) -> tuple[list[int], list[str]]:
    """Tokens of a text, and the stretch of the text that each adds (special ones by their name)."""
    (ids,), (offsets,) = tokens.encode_with_offsets([text])
    pieces: list[str] = []
    done = 0
    for token, (first, last) in zip(ids, offsets, strict=True):
        if first == last == 0:
            pieces.append(tokens.tokenizer.convert_ids_to_tokens(token))
            continue
        end = max(done, last)  # tokens of one character, such as the bytes of an emoji, share its place
        pieces.append(text[done:end])
        done = end
    if pieces:
        pieces[-1] += text[done:]
    return ids, pieces


class TextReader:
    """Reads texts at the directions' site; the last few are remembered, so that another emotion is another product.

    Parameters
    ----------
    material
        The run.
    """

    def __init__(self, material: Material) -> None:
        self.material = material
        self.read = lru_cache(_KEPT)(self._read)

    def _read(self, text: str) -> ReadText:
        from emovec_sae.models.seam import forward
        from emovec_sae.models.tokens import pad

        model, site = self.material.model, self.material.directions.site
        ids, pieces = pieces_of(model.tokens, check_text(text))
        if len(ids) > model.context:
            raise CorpusError(f"the text has {len(ids)} tokens; {model.name} reads at most {model.context}")
        batch = pad([ids], pad_id=model.tokens.pad_id, device=model.device)
        states = forward(model, batch, read=[site]).values[site][0]
        counted = model.tokens.counted(ids)
        if not counted.any():
            raise CorpusError("the text has one token only, and the first is never scored; write a little more")
        return ReadText(tuple(pieces), counted, states.float().cpu().numpy())

    def emotion(self, text: str, emotion: str, *, readout: str = READOUT) -> dict[str, Any]:
        """A value a token for an emotion.

        Raises
        ------
        ConfigError
            If there is no direction for it, or no such readout.
        CorpusError
            If the text cannot be read.
        """
        row = self.material.directions.index(emotion)
        if check_readout(readout) in TRANSDUCTIVE:
            raise ConfigError(f"'{readout}' depends on the other tokens of the text; choose another readout")
        found = self.read(text)
        values = self.material.directions.read(found.states, readout=readout)[:, row]
        return _map(found, values, what=emotion, unit=readout.replace("_", " "), signed=True)

    def latent(self, text: str, latent: int) -> dict[str, Any]:
        """A value a token for a latent: its activation, on the unit decoder row.

        Raises
        ------
        ConfigError
            If the SAE has no such latent.
        CorpusError
            If the text cannot be read.
        """
        check_latent(self.material, latent)
        found = self.read(text)
        values = self.material.coder.encode(found.states)[:, latent].cpu().numpy()
        return _map(found, values, what=f"latent {latent}", unit="activation", signed=False)

    def whole(self, text: str) -> dict[str, Any]:
        """What is strongest in the text: emotions by z-score of its mean, latents by their largest activation.

        Latents that the run found dense (active on more than a tenth of the tokens) are left out.
        """
        found = self.read(text)
        states = found.states[found.counted]
        scores = self.material.directions.read(states.mean(axis=0, keepdims=True), readout="zscore")[0]
        emotions = [
            {"emotion": self.material.directions.emotions[row], "value": float(scores[row])}
            for row in np.argsort(-scores)[:TOP]
        ]
        peaks = self.material.coder.encode(states).amax(dim=0).cpu().numpy()
        if self.material.contrast.firing_rate is not None:
            peaks = np.where(self.material.contrast.firing_rate > 0.1, 0.0, peaks)
        latents = [{"latent": int(one), "value": float(peaks[one])} for one in np.argsort(-peaks)[:TOP] if peaks[one]]
        return {"emotions": emotions, "latents": latents, "tokens": int(found.counted.sum())}


def check_latent(material: Material, latent: int) -> int:
    """Refuse a latent that the SAE does not have.

    Raises
    ------
    ConfigError
        If there is none such.
    """
    if not 0 <= latent < material.coder.d_sae:
        raise ConfigError(f"there is no latent {latent}; the SAE has 0 to {material.coder.d_sae - 1}")
    return latent


def _map(found: ReadText, values: np.ndarray, *, what: str, unit: str, signed: bool) -> dict[str, Any]:
    told = [float(value) if on else None for value, on in zip(values, found.counted, strict=True)]
    largest = max(abs(value) for value in told if value is not None)
    return {
        "pieces": list(found.pieces), "values": told, "largest": largest, "what": what, "unit": unit, "signed": signed,
    }  # fmt: skip
