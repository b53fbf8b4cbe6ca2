"""Read a store: lazily, by site and pool, by text, as whole texts of tokens, or as a shuffled stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from emovec_sae.errors import StoreError, suggest
from emovec_sae.sites import Site
from emovec_sae.store.layout import CORPUS, MANIFEST, UNFINISHED
from emovec_sae.store.manifest import read_manifest
from emovec_sae.store.rows import chosen, picked_rows
from emovec_sae.store.shard import open_shard
from emovec_sae.store.site_view import SiteActivations
from emovec_sae.store.stream import TokenChunk, pooled_chunks, shuffled, token_chunks

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, repr=False)
class Activations:
    """Recorded activations of a corpus; nothing is read before it is asked for.

    Attributes
    ----------
    path
        The folder.
    manifest
        Its ``manifest.json``.
    frame
        One row a text: id, text, emotion, group, split, lang, n_tokens and the corpus's own columns.
    rows
        Rows of the recorded corpus that this view shows, in the order of `frame`.
    """

    path: Path
    manifest: dict[str, Any]
    frame: pd.DataFrame
    rows: np.ndarray

    def __repr__(self) -> str:
        size = sum(shard["bytes"] for shard in self.manifest["shards"]) / 2**20
        return (
            f"Activations({len(self)} texts of '{self.settings['corpus']['name']}', {self.model['name']} "
            f"{self.model['dtype']}, "
            f"{', '.join(map(str, self.sites))}, pools {', '.join(self.pools)}, {size:.1f} MiB, "
            f"made {self.provenance.get('made', 'at an unknown time')}, {self.path})"
        )

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, site: str | Site) -> SiteActivations:
        return SiteActivations(self, self._site(site))

    @property
    def settings(self) -> dict[str, Any]:
        """What was recorded and how."""
        return self.manifest["settings"]

    @property
    def sites(self) -> tuple[Site, ...]:
        """Recorded sites, in the order of the forward pass."""
        return tuple(sorted(Site.parse(site) for site in self.settings["sites"]))

    @property
    def pools(self) -> tuple[str, ...]:
        """Recorded pools."""
        return tuple(self.settings["pools"])

    @property
    def offset(self) -> int:
        """First token that ``mean`` uses, counted from 0."""
        return int(self.settings["offset"])

    @property
    def model(self) -> dict[str, Any]:
        """Name, fingerprint, dtype, d_model and n_layers of the model."""
        return self.settings["model"]

    @property
    def residual_norm(self) -> dict[str, float]:
        """Mean L2 norm of the stream at each site, over the tokens that ``mean`` uses."""
        return self.manifest["residual_norm"]

    @property
    def corpus_hash(self) -> str:
        """Digest of the texts and labels."""
        return self.settings["corpus"]["hash"]

    @property
    def fingerprint(self) -> str:
        """Digest of the recorded values."""
        return self.manifest["fingerprint"]

    @property
    def provenance(self) -> dict[str, Any]:
        """Who recorded this, when, with what."""
        return self.manifest["provenance"]

    def where(self, rows: np.ndarray | Sequence[int] | Sequence[bool] | pd.Series) -> Activations:
        """Show some of the texts only.

        Parameters
        ----------
        rows
            A boolean per text of this view, or row numbers.

        Returns
        -------
        Activations
            A view with its rows numbered anew; the data stay where they are.

        Raises
        ------
        StoreError
            If a boolean is missing or superfluous, a row does not exist, or one is named twice.
        """
        picked = picked_rows(rows, len(self))
        return Activations(self.path, self.manifest, self.frame.iloc[picked].reset_index(drop=True), self.rows[picked])

    def select(
        self, *, emotions: str | Iterable[str] | None = None, groups: str | Iterable[str] | None = None
    ) -> Activations:
        """Show the texts of some emotions and groups only, in the order in which they stand.

        Parameters
        ----------
        emotions, groups
            Names, as a list or with commas between; None keeps all.

        Raises
        ------
        StoreError
            If a name does not occur in this view.
        """
        keep = np.ones(len(self), dtype=bool)
        for column, names in (("emotion", emotions), ("group", groups)):
            if names is not None:
                keep &= self.frame[column].isin(chosen(names, self.frame[column], column)).to_numpy()
        return self.where(keep)

    def has_tokens(self, site: str | Site) -> bool:
        """Whether every token of a site was recorded (pool ``none``)."""
        return "none" in self.pools_of(site)

    def pools_of(self, site: str | Site) -> tuple[str, ...]:
        """Pools recorded at a site."""
        return tuple(self.settings["sites"][str(self._site(site))])

    def pooled(self, site: str | Site, pool: str = "mean") -> np.ndarray:
        """Pooled activations at a site, (texts, d_model) float32, in the order of `frame`.

        Raises
        ------
        StoreError
            If that site or pool was not recorded, or a shard is damaged.
        """
        place = self._with_pool(site, pool)
        found = np.empty((len(self.rows), int(self.model["d_model"])), np.float32)
        for rows, values in pooled_chunks(self.shards, f"sites/{place}/{pool}", self._order):
            found[rows] = values
        return found

    def pooled_chunks(self, site: str | Site, pool: str = "mean") -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pooled activations shard by shard, in storage order, for what does not fit into memory.

        Yields
        ------
        rows, values
            Rows of `frame`, (texts,) int64, and their values, (texts, d_model) float32.
        """
        return pooled_chunks(self.shards, f"sites/{self._with_pool(site, pool)}/{pool}", self._order)

    def to_pandas(self, site: str | Site, pool: str = "mean") -> pd.DataFrame:
        """Pooled activations at a site as a frame: texts by id, emotion and group; a column a coordinate."""
        from emovec_sae.store.exits import to_pandas

        return to_pandas(self, site, pool)

    def to_xarray(self, pool: str = "mean") -> xarray.DataArray:
        """Pooled activations of every site that has the pool: (site, text, d_model), labelled; needs xarray."""
        from emovec_sae.store.exits import to_xarray

        return to_xarray(self, pool)

    def tokens(self, site: str | Site, *, chunk: int = 8192) -> Iterator[TokenChunk]:
        """Every recorded token at a site, in chunks of whole texts of about `chunk` tokens.

        Raises
        ------
        StoreError
            If only pooled values were recorded there.
        """
        return token_chunks(self.shards, str(self._with_tokens(site)), self._order, chunk=chunk)

    def shuffled(self, site: str | Site, *, batch: int, seed: int, buffer: int = 65536) -> Iterator[np.ndarray]:
        """Endless shuffled (batch, d_model) float32 batches of the tokens at a site, never more than `buffer` held."""
        place = str(self._with_tokens(site))
        return shuffled(self.shards, place, self._order, batch=batch, seed=seed, buffer=max(buffer, batch))

    def count_tokens(self, site: str | Site) -> int:
        """Number of recorded tokens at a site in this view."""
        self._with_tokens(site)
        total = 0
        for path in self.shards:
            with open_shard(path) as shard:
                kept = self._order[shard.array("texts/row")] >= 0
                total += int(np.diff(shard.array("tokens/start"))[kept].sum())
        return total

    @property
    def shards(self) -> list[Path]:
        """Paths of the shards."""
        return [self.path / shard["file"] for shard in self.manifest["shards"]]

    @cached_property
    def _order(self) -> np.ndarray:
        """Row of this view for each row of the recorded corpus, -1 where it is not shown."""
        order = np.full(int(self.settings["corpus"]["n_texts"]), -1, np.int64)
        order[self.rows] = np.arange(len(self.rows))
        return order

    def _site(self, site: str | Site) -> Site:
        place = Site.parse(site)
        if place not in self.sites:
            known = [str(one) for one in self.sites]
            raise StoreError(
                f"{self.path} has no site '{place}'{suggest(str(place), known)}; recorded: {', '.join(known)}"
            )
        return place

    def _with_pool(self, site: str | Site, pool: str) -> Site:
        place = self._site(site)
        if pool == "none" or pool not in self.pools_of(place):
            pools = ", ".join(one for one in self.pools_of(place) if one != "none") or "no pooled values"
            raise StoreError(
                f"{self.path} has no pool '{pool}' at {place} (there: {pools}); record it with --pool {pool}"
            )
        return place

    def _with_tokens(self, site: str | Site) -> Site:
        place = self._site(site)
        if not self.has_tokens(place):
            raise StoreError(
                f"{self.path} holds pooled values only at {place}; record every token there with --pool none"
            )
        return place


def open_activations(path: str | Path) -> Activations:
    """Open a finished store.

    Parameters
    ----------
    path
        The folder that `record` wrote.

    Raises
    ------
    StoreError
        If there is no store, it is unfinished, of another version, or a shard is missing or cut short.
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        if (folder / UNFINISHED).is_file():
            raise StoreError(f"the recording in {folder} has not finished; run the same record command again to go on")
        raise StoreError(f"there are no activations at {folder}: no {MANIFEST}; make them with: emovec record")
    manifest = read_manifest(folder / MANIFEST)
    for shard in manifest["shards"]:
        file = folder / shard["file"]
        if file.parent != folder or not file.is_file():
            raise StoreError(f"shard {shard['file']} of {folder} is missing; run: emovec verify {folder} --repair")
        if file.stat().st_size != shard["bytes"]:
            raise StoreError(
                f"shard {file} has {file.stat().st_size} bytes, its manifest says {shard['bytes']}: cut short or "
                f"changed; run: emovec verify {folder} --repair"
            )
    frame = _read_corpus(folder / CORPUS, int(manifest["settings"]["corpus"]["n_texts"]))
    return Activations(folder, manifest, frame, np.arange(len(frame)))


def _read_corpus(path: Path, n_texts: int) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # a damaged file is an ArrowInvalid, which is a ValueError
        raise StoreError(f"{path} is missing or damaged; remove {path.parent} and record again") from error
    if len(frame) != n_texts:
        raise StoreError(f"{path} has {len(frame)} texts, {n_texts} were recorded; remove {path.parent}, record again")
    return frame
