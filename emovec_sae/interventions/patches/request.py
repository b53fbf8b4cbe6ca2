"""From what the caller names to what is moved: sites, directions and latents checked before anything is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from emovec_sae.decomposition.result import Decomposition
from emovec_sae.directions.direction_set import DirectionSet
from emovec_sae.errors import ConfigError, MismatchError, suggest
from emovec_sae.interventions.edits import Ablate
from emovec_sae.interventions.patches.alignment import AlignedPair
from emovec_sae.interventions.patches.carriers import AsFar, Carrier, InSpan, SomeLatents, WholeState
from emovec_sae.models.model import Model
from emovec_sae.saes.coder import SparseCoder
from emovec_sae.sites import Site, parse_sites

WHAT = (
    "residual", "direction", "subspace", "latents", "attn_out", "mlp_out", "other_direction", "random_direction",
    "matched_direction", "matched_subspace", "random_latents", "matched_latents",
)  # fmt: skip
"""What can be patched."""
OF_DIRECTIONS = (
    "direction",
    "subspace",
    "other_direction",
    "random_direction",
    "matched_direction",
    "matched_subspace",
)
OF_LATENTS = ("latents", "random_latents", "matched_latents")
OF_ONE_EMOTION = {"direction", "other_direction", "matched_direction"}


@dataclass(frozen=True)
class Request:
    """What a call of `patch` names, beside the model and the pairs.

    Attributes
    ----------
    what
        Of `WHAT`, each once.
    sites
        As given; None means all sites of each.
    directions, coders, decompositions
        Where the directions and the latents come from.
    emotion
        One for all pairs, one a family, or None for the pairs' own.
    emotions
        Those that span the subspace; None means all of a set.
    sizes
        Numbers of latents.
    latents
        Explicit latents, in place of a decomposition's.
    seed
        Of the random controls.
    """

    what: tuple[str, ...]
    sites: str | Site | Iterable[str | Site] | None
    directions: tuple[DirectionSet, ...]
    coders: tuple[SparseCoder, ...]
    decompositions: tuple[Decomposition, ...]
    emotion: str | Mapping[str, str] | None
    emotions: tuple[str, ...] | None
    sizes: tuple[int, ...]
    latents: tuple[int, ...] | None
    seed: int

    def check(self) -> None:
        """Refuse what cannot be, before a model is needed.

        Raises
        ------
        ConfigError
            If a name is unknown, a part is missing, or a number is out of reach.
        MismatchError
            If a decomposition is of another SAE.
        """
        if not self.what:
            raise ConfigError(f"nothing is to be patched; name at least one of {', '.join(WHAT)}")
        for one in self.what:
            if one not in WHAT:
                raise ConfigError(f"cannot patch '{one}'{suggest(one, WHAT)}; there are {', '.join(WHAT)}")
        if len(set(self.what)) < len(self.what):
            raise ConfigError(f"what names one thing twice: {', '.join(self.what)}")
        of_directions = [one for one in self.what if one in OF_DIRECTIONS]
        if of_directions and not self.directions:
            raise ConfigError(f"patching '{of_directions[0]}' needs directions; give what fit_directions made")
        _one_a_site([one.site for one in self.directions], "sets of directions")
        if "other_direction" in self.what:
            common = set.intersection(*(set(one.emotions) for one in self.directions))
            if len(common) < 2:
                raise ConfigError(
                    f"'other_direction' draws another emotion, and the sets of directions share {len(common)}; fit more"
                )
        if any(one in OF_LATENTS for one in self.what):
            self._check_latents()
        self._check_emotions()

    def _check_latents(self) -> None:
        if not self.coders:
            raise ConfigError("patching latents needs an SAE; give sae=load_sae(...)")
        _one_a_site([one.site for one in self.coders], "SAEs")
        if self.latents is not None:
            self._check_ids(self.latents)
            return
        for coder in self.coders:
            self._decomposition(coder)
        if not self.sizes or min(self.sizes) < 1:
            raise ConfigError(f"k is {list(self.sizes)}; at least 1 latent must be patched")

    def _check_ids(self, latents: tuple[int, ...]) -> None:
        if len(self.coders) > 1:
            raise ConfigError(f"latents={list(latents)[:4]} are of one SAE, {len(self.coders)} were given")
        if not latents:
            raise ConfigError("latents is an empty list; name at least one")
        most = min(coder.d_sae for coder in self.coders)
        for one in latents:
            if not 0 <= one < most:
                raise ConfigError(f"latent {one} does not exist: the SAE has {most}, counted from 0")

    def _check_emotions(self) -> None:
        named = {self.emotion} if isinstance(self.emotion, str) else set((self.emotion or {}).values())
        for emotion in sorted(named):
            for one in self.directions if set(self.what) & OF_ONE_EMOTION else ():
                one.index(emotion)
            for coder in self._coders_of_decompositions():
                self._decomposition(coder).row(emotion)
        for emotion in self.emotions or ():
            for one in self.directions:
                one.index(emotion)

    def _decomposition(self, coder: SparseCoder) -> Decomposition:
        for one in self.decompositions:
            if one.sae_fingerprint == coder.fingerprint:
                return one
        if not self.decompositions:
            raise ConfigError("which latents? give the decomposition that ranks them, or latents=[...]")
        raise MismatchError(
            f"no decomposition was made with SAE '{coder.name}' ({coder.fingerprint[:8]}): they are of "
            f"{', '.join(f'{one.sae} ({one.sae_fingerprint[:8]})' for one in self.decompositions)}; decompose with it"
        )

    def _coders_of_decompositions(self) -> tuple[SparseCoder, ...]:
        return self.coders if self.latents is None and any(one in OF_LATENTS for one in self.what) else ()

    def carriers(self, model: Model) -> list[Carrier]:
        """What is moved where, for this model.

        Raises
        ------
        ConfigError
            If a site does not exist, something can be patched at none of the sites, or there are too few latents.
        MismatchError
            If directions or an SAE come from another model.
        """
        facts = model.describe()
        if any(one in OF_DIRECTIONS for one in self.what):
            for fitted in self.directions:
                fitted.check_model(facts)
        if any(one in OF_LATENTS for one in self.what):
            for coder in self.coders:
                coder.require(site=coder.site, d_model=model.d_model, model=facts)
        asked = None if self.sites is None else parse_sites(self.sites, model.n_layers)
        for site in asked or ():
            model.blocks.path(site)
        found: list[Carrier] = []
        for one in self.what:
            found += self._make(one, model, asked)
        return found

    def _make(self, what: str, model: Model, asked: list[Site] | None) -> list[Carrier]:
        if what == "residual":
            return [WholeState(what, tuple(asked or parse_sites("resid_post.*", model.n_layers)))]
        if what in ("attn_out", "mlp_out"):
            layers = sorted({site.layer for site in asked or ()}) or range(model.n_layers)
            sites = tuple(Site(what, layer) for layer in layers)
            for site in sites:
                model.blocks.path(site)
            return [WholeState(what, sites)]
        there = [one.site for one in (self.directions if what in OF_DIRECTIONS else self.coders)]
        sites = tuple(site for site in sorted(there) if asked is None or site in asked)
        if not sites:
            kind = "directions were fitted" if what in OF_DIRECTIONS else "SAE reads"
            known = ", ".join(map(str, sorted(there)))
            raise ConfigError(f"'{what}' can be patched at none of the sites asked for: {kind} at {known}")
        return self._spans(what, sites) if what in OF_DIRECTIONS else self._some_latents(what, sites)

    def _spans(self, what: str, sites: tuple[Site, ...]) -> list[Carrier]:
        bases: dict[Site, dict[str | None, np.ndarray]] = {}
        for fitted in self.directions:
            if fitted.site not in sites:
                continue
            if what in OF_ONE_EMOTION:
                bases[fitted.site] = {name: fitted.units[row : row + 1] for row, name in enumerate(fitted.emotions)}
            elif what in ("subspace", "matched_subspace"):
                span = Ablate.of(*(fitted[name] for name in self.emotions or fitted.emotions))
                bases[fitted.site] = {None: span.basis}
            else:
                rng = np.random.default_rng([self.seed, fitted.site.layer])
                row = rng.standard_normal((1, fitted.vectors.shape[1])).astype(np.float32)
                bases[fitted.site] = {None: row / np.linalg.norm(row)}
        if what.startswith("matched_"):
            kind = what.removeprefix("matched_")
            return [AsFar(f"random, as far as {kind}", InSpan(kind, bases), self.seed)]
        return [InSpan(what.replace("_", " "), bases, other=what == "other_direction", seed=self.seed)]

    def _some_latents(self, what: str, sites: tuple[Site, ...]) -> list[Carrier]:
        coders = {one.site: one for one in self.coders if one.site in sites}
        random = what == "random_latents"
        found: list[Carrier] = []
        sizes = (len(self.latents),) if self.latents is not None else self.sizes
        for k in sizes:
            latents = {site: self._chosen(coder, k) for site, coder in coders.items()}
            name = f"k={k}" if not random else "random latents" if len(sizes) == 1 else f"random, k={k}"
            some = SomeLatents(name, coders, latents, random=random, seed=self.seed)
            found.append(AsFar(f"random, as far as k={k}", some, self.seed) if what == "matched_latents" else some)
        return found

    def _chosen(self, coder: SparseCoder, k: int) -> dict[str | None, np.ndarray]:
        if self.latents is not None:
            return {None: np.asarray(self.latents)}
        parts = self._decomposition(coder)
        found: dict[str | None, np.ndarray] = {}
        for emotion in parts.emotions:
            if len(parts.latents(emotion, dense=False)[0]) >= k:
                found[emotion] = parts.latents(emotion, k, dense=False)[0]
        if not found:
            raise ConfigError(
                f"the decomposition holds {parts.k} latents an emotion and none has {k} that are not dense; "
                f"decompose with a larger k, or patch fewer"
            )
        return found

    def assign(
        self, pairs: Sequence[AlignedPair], carriers: Sequence[Carrier]
    ) -> tuple[list[AlignedPair], list[dict[str, Any]]]:
        """Settle whose direction or latents each pair gets; every carrier is tried on the same pairs.

        Returns
        -------
        list of AlignedPair
            Those whose emotion every carrier knows (all of them where no carrier asks).
        list of dict
            The others: pair, reason.

        Raises
        ------
        ConfigError
            If `emotion` maps a family that no pair has.
        """
        if isinstance(self.emotion, Mapping):
            families = {one.family for one in pairs}
            for family in self.emotion:
                if family not in families:
                    raise ConfigError(
                        f"emotion names the family '{family}'{suggest(family, families)}; families of the pairs are "
                        f"{', '.join(sorted(families))}"
                    )
        tables = [table for one in carriers for table in _by_emotion(one) if None not in table]
        kept: list[AlignedPair] = []
        skipped: list[dict[str, Any]] = []
        for pair in pairs:
            named = self.emotion
            emotion = named.get(pair.family) if isinstance(named, Mapping) else named or pair.emotion
            if all(emotion in table for table in tables):
                kept.append(replace(pair, emotion=emotion))
            else:
                told = "no emotion is named for it" if emotion is None else f"no direction or latents of '{emotion}'"
                skipped.append({"pair": pair.id, "reason": told})
        return kept, skipped


def _by_emotion(carrier: Carrier) -> list[Mapping[str | None, np.ndarray]]:
    if isinstance(carrier, AsFar):
        return _by_emotion(carrier.of)
    if isinstance(carrier, InSpan):
        return list(carrier.bases.values())
    return list(carrier.latents.values()) if isinstance(carrier, SomeLatents) else []


def _one_a_site(sites: Sequence[Site], kind: str) -> None:
    twice = [str(site) for site in sites if sites.count(site) > 1]
    if twice:
        raise ConfigError(f"two {kind} are of {twice[0]}; give one for each site")
