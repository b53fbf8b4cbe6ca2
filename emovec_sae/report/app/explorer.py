"""The explorer without its page: everything that the page can ask of a run, one method each."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from emovec_sae.errors import ConfigError
from emovec_sae.report.app.answers import answers
from emovec_sae.report.app.doses import Matcher
from emovec_sae.report.app.guard import Limit, limit_of
from emovec_sae.report.app.latents import Dashboards
from emovec_sae.report.app.mix import MOST, Mix, length
from emovec_sae.report.app.patches import patch_map
from emovec_sae.report.app.requests import (
    MOST_PROMPT,
    MOST_SENTENCE,
    MOST_TOKENS,
    AnswersAsked,
    HeatAsked,
    PatchAsked,
    read,
)
from emovec_sae.report.app.state import State, parse
from emovec_sae.report.app.texts import MOST_CHARACTERS, TextReader

if TYPE_CHECKING:
    from emovec_sae.report.app.material import Material

EXAMPLE = (
    "The storm had passed. She opened the shutters, and for the first time in weeks the house was full of light. "
    "Then the phone rang: it was the hospital, and nobody would tell her why."
)
PAIR = ("The door was locked, so the child felt", "The door was open, so the child felt")


class Explorer:
    """Answers what the page asks; keeps nothing of anybody's session, and leaves no edit on the model.

    Parameters
    ----------
    material
        The run.
    limit
        How strong a mix may be; by default as measured for the run, else a safe value.
    """

    def __init__(self, material: Material, *, limit: Limit | None = None) -> None:
        self.material = material
        self.limit = limit or limit_of(material)
        self.matcher = Matcher(material)
        self.texts = TextReader(material)
        self.dashboards = Dashboards(material)

    def start(self) -> State:
        """What the page shows when its address says nothing."""
        decomposed = self.material.contrast.emotions
        emotion = "afraid" if "afraid" in decomposed else decomposed[0]
        leading = self.material.contrast.latents(emotion, 1)[0]
        k = min(16, self.most_latents)
        strength = round(self.limit.strength * 0.8, 2)
        return State(
            emotions=(emotion,), strengths=(strength,), k=k, text=EXAMPLE, read=emotion, latent=int(leading[0]),
            source=PAIR[0], target=PAIR[1],
        )  # fmt: skip

    @property
    def most_latents(self) -> int:
        """The largest k for which some emotion has latents that are not dense."""
        contrast = self.material.contrast
        return max(1, *(len(contrast.latents(one, dense=False)[0]) for one in contrast.emotions))

    def facts(self) -> dict[str, Any]:
        """What the page needs to know once."""
        material = self.material
        return {
            "title": material.title,
            "run": material.path.name,
            "model": material.model.name,
            "site": str(material.directions.site),
            "sae": {"latents": material.coder.d_sae, "architecture": material.coder.architecture},
            "emotions": list(material.directions.emotions),
            "decomposed": list(material.contrast.emotions),
            "listed": self.dashboards.listed(),
            "with_passages": sorted(material.cards),
            "limit": {
                "strength": self.limit.strength, "farthest": self.limit.farthest, "measured": self.limit.measured,
                "said": self.limit.said,
            },
            "most": {
                "emotions": MOST, "latents": self.most_latents, "tokens": MOST_TOKENS, "text": MOST_CHARACTERS,
                "prompt": MOST_PROMPT, "sentence": MOST_SENTENCE,
            },
        }  # fmt: skip

    def state(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The state that an address means (`state`), and what in it was refused (`refused`, a line each)."""
        found, refused = parse(self.material, query, self.start())
        return {"state": found.plain(), "refused": refused}

    def length(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The length of the mix in an address (`length`, in mean residual norms), or why there is none (`refused`)."""
        found, refused = parse(self.material, query, State())
        mix = Mix.of(self.material, found.emotions, found.strengths)
        return {"length": length(mix.raw(self.material)), "refused": refused}

    def answers(self, given: Any) -> Generator[dict[str, Any]]:
        """Answers side by side; see `emovec_sae.report.app.answers`."""
        yield from answers(self.material, self.matcher, self.limit, read(AnswersAsked, given))

    def heat(self, given: Any) -> Iterable[dict[str, Any]]:
        """The map of a text for an emotion or a latent, and what is strongest in the text: one item."""
        asked = read(HeatAsked, given)
        if (asked.emotion is None) == (asked.latent is None):
            raise ConfigError("choose an emotion or a latent to read, one of them")
        if asked.emotion is not None:
            found = self.texts.emotion(asked.text, asked.emotion, readout=asked.readout)
        else:
            found = self.texts.latent(asked.text, int(asked.latent or 0))
        yield {**found, "whole": self.texts.whole(asked.text)}

    def latent(self, latent: int) -> Iterable[dict[str, Any]]:
        """The dashboard of a latent: one item."""
        yield self.dashboards.card(latent)

    def patch(self, given: Any) -> Generator[dict[str, Any]]:
        """The map of two sentences; see `emovec_sae.report.app.patches`."""
        yield from patch_map(self.material, read(PatchAsked, given))
