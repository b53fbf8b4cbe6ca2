"""The job of a recording: everything that decides its shards, so that any process that has it makes the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emovec_sae.corpora.frame import Corpus
from emovec_sae.errors import ConfigError, suggest
from emovec_sae.models.model import Model
from emovec_sae.recording.plan import Plan, make_plan
from emovec_sae.recording.reading import Reading
from emovec_sae.recording.texts import Texts
from emovec_sae.sites import Site, parse_sites
from emovec_sae.store.layout import POOLS

Sites = str | Site | Iterable[str | Site] | Mapping[str, Sequence[str]]
"""Sites as a person writes them; a mapping gives each its own pools."""


@dataclass(frozen=True)
class Job:
    """What is recorded, from which tokens, in which batches and shards.

    Attributes
    ----------
    texts
        The token sequences.
    plan
        Which of them share a batch and a shard.
    sites
        Pools of each site.
    settings
        What the manifest says of it.
    """

    texts: Texts
    plan: Plan
    sites: dict[Site, tuple[str, ...]]
    settings: dict[str, Any]

    def tokens(self, shard: int) -> int:
        """Tokens of a shard."""
        return int(self.texts.lengths[self.plan.rows(shard)].sum())


def make_job(
    model: Model, corpus: Corpus, texts: Texts, sites: dict[Site, tuple[str, ...]], reading: Reading, *, budget: int
) -> Job:
    """Plan a recording of prepared texts in batches of `budget` padded tokens."""
    plan = make_plan(texts.lengths, budget=budget)
    settings = {
        "model": model.describe(),
        "corpus": {"name": corpus.name, "hash": corpus.fingerprint, "n_texts": len(texts)},
        "sites": {str(site): list(pools) for site, pools in sites.items()},
        "pools": list(all_pools(sites)),
        **reading.settings(),
        "budget": budget,
        "plan": plan.fingerprint,
    }
    return Job(texts, plan, sites, settings)


def all_pools(sites: Mapping[Site, Sequence[str]]) -> tuple[str, ...]:
    """Every pool of a recording, in the order of the format."""
    return tuple(one for one in POOLS if any(one in pools for pools in sites.values()))


def pools_by_site(sites: Sites, pool: str | Sequence[str], model: Model) -> dict[Site, tuple[str, ...]]:
    """Read the sites and pools that were asked for, in the order of the forward pass.

    Raises
    ------
    ConfigError, ModelError
        If there is none, a pool is unknown, or the model lacks a site.
    """
    asked = sites if isinstance(sites, Mapping) else dict.fromkeys(parse_sites(sites, model.n_layers), pool)
    if not asked:
        raise ConfigError("no site was given; write for example resid_post.12-24")
    found: dict[Site, set[str]] = {}
    for text, pools in asked.items():
        names = [pools] if isinstance(pools, str) else list(pools)
        if not names:
            raise ConfigError(f"no pool was given for {text}; pools are {', '.join(POOLS)}")
        for name in names:
            if name not in POOLS:
                raise ConfigError(f"unknown pool '{name}'{suggest(name, POOLS)}; pools are {', '.join(POOLS)}")
        for site in parse_sites(text, model.n_layers):
            found.setdefault(site, set()).update(names)
    for site in found:
        model.blocks.path(site)
    return {site: tuple(one for one in POOLS if one in found[site]) for site in sorted(found)}
