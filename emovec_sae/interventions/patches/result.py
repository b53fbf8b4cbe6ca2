"""The result of patching: cells, their map over the pairs, what carries how much, what a gradient foretold of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from emovec_sae.errors import ConfigError, StoreError
from emovec_sae.interventions.patches.alignment import PARTS
from emovec_sae.interventions.patches.beside import beside, places_beside
from emovec_sae.provenance import atomic, read_json, write_json
from emovec_sae.stats.bootstrap import Interval, bootstrap_ratio

if TYPE_CHECKING:
    import altair as alt

Cluster = Literal["auto", "pair", "family"]
FAMILIES = 4
"""From so many families on, intervals are over families unless told otherwise."""


@dataclass(frozen=True)
class Patching:
    """How much of the source's answer each patch brings into the target's run or, with noise, takes from the source's.

    Attributes
    ----------
    cells
        One row a (pair, what, site, place): pair, family, what, site, layer, position (of the place's last token, from
        the end: -1 is the last token), part, patched, source, target (logit of the source's answer minus that of the
        target's), recovered; with ``method="both"`` also attributed, what the gradient promises in place of `patched`.
    skipped
        Pairs that could not be used, with the reason: pair, reason.
    provenance
        Model, pairs, what was patched at which sites, mode and method.
    """

    cells: pd.DataFrame
    skipped: pd.DataFrame
    provenance: dict[str, Any]

    def frame(self) -> pd.DataFrame:
        """One row a (pair, what, site, place)."""
        return self.cells

    def map(self, *, cluster: Cluster = "auto", seed: int = 0) -> pd.DataFrame:
        """Recovered fraction over the pairs, by what is moved, site and part of the text.

        Parameters
        ----------
        cluster
            What is independent: each ``pair``, or only the ``family``; ``auto`` takes families if there are at least
            four (an interval over fewer says little), else pairs.
        seed
            Of the bootstrap.

        Returns
        -------
        pandas.DataFrame
            what, site, layer, where, recovered, low, high, n (pairs), clusters: the ratio of means over pairs (mean of
            what the patch moved, over mean of the whole difference), a pair's tokens of one part averaged, with a 95 %
            interval.
        """
        return self._summary([], cluster, seed)

    def by_family(self, *, seed: int = 0) -> pd.DataFrame:
        """The map of each family of pairs, with intervals over its pairs: `family` and the columns of `map`."""
        return self._summary(["family"], "pair", seed)

    def shares(self, *, of: str = "residual", cluster: Cluster = "auto", seed: int = 0) -> pd.DataFrame:
        """What each thing moves, as a share of what another moves at the same site and place in the same pairs.

        Parameters
        ----------
        of
            The whole, a value of `what`.
        cluster, seed
            As in `map`.

        Returns
        -------
        pandas.DataFrame
            what, of, site, layer, where, share, low, high, n, clusters; NaN where the whole does not clearly move.

        Raises
        ------
        ConfigError
            If `of` was not patched, or nothing else at its sites.
        """
        both = beside(self._by_pair(), of)
        return self._compared(both, "share", ("moved", "moved_whole"), {"of": of}, cluster, seed)

    def excess(self, *, over: str, cluster: Cluster = "auto", seed: int = 0) -> pd.DataFrame:
        """How much more each thing recovers than another, such as its null, in the same pairs.

        Parameters
        ----------
        over
            What is taken away, a value of `what`.
        cluster, seed
            As in `map`.

        Returns
        -------
        pandas.DataFrame
            what, over, site, layer, where, excess, low, high, n, clusters: the difference of what both moved, as a
            fraction of the whole difference of the texts; NaN where the texts do not clearly differ.

        Raises
        ------
        ConfigError
            If `over` was not patched, or nothing else at its sites.
        """
        both = beside(self._by_pair(), over).assign(more=lambda table: table["moved"] - table["moved_whole"])
        return self._compared(both, "excess", ("more", "gap"), {"over": over}, cluster, seed)

    def lead(self, place: str, *, over: str, cluster: Cluster = "auto", seed: int = 0) -> pd.DataFrame:
        """How much more one place recovers than another at each site, in the pairs that have both.

        Parameters
        ----------
        place, over
            Parts of the text, such as ``last token`` over ``changed word``.
        cluster, seed
            As in `map`.

        Returns
        -------
        pandas.DataFrame
            what, place, over, site, layer, lead, low, high, n, clusters: the difference of the recovered fractions;
            NaN where the texts do not clearly differ.

        Raises
        ------
        ConfigError
            If a place was not patched, or no pair has both.
        """
        both = places_beside(self._by_pair(), place, over)
        rows: list[dict[str, Any]] = []
        for (what, site, layer), some in both.groupby(["what", "site", "layer"], sort=False):
            told = self._ratio(some, "more", "gap", cluster, seed)
            named = {"what": what, "place": place, "over": over, "site": site, "layer": layer}
            rows.append({**named, "lead": told.value, **_ends(told)})
        return pd.DataFrame(rows).sort_values(["what", "layer"], kind="stable").reset_index(drop=True)

    def agreement(self, *, by: Literal["what", "layer"] = "what") -> pd.DataFrame:
        """How well attribution foretold the exact effects, over cells: needs ``method="both"``.

        Parameters
        ----------
        by
            One row a thing that was moved, or a thing and layer.

        Returns
        -------
        pandas.DataFrame
            what, (layer,) kind (pearson, spearman), value, low, high, n (cells), clusters (pairs). Correlated are the
            changes of the margin in logits; the interval is over pairs, whose cells are far from independent.

        Raises
        ------
        ConfigError
            If the exact and the approximate effects were not both computed.
        """
        from emovec_sae.stats.clustered_correlation import clustered_correlation

        if "attributed" not in self.cells:
            raise ConfigError("agreement needs both ways of patching; run patch(..., method='both')")
        base = "source" if self.noise else "target"
        rows: list[dict[str, Any]] = []
        for names, some in self.cells.groupby(["what"] if by == "what" else ["what", "layer"], sort=False):
            exact, promised = some["patched"] - some[base], some["attributed"] - some[base]
            for kind in ("pearson", "spearman"):
                told = clustered_correlation(exact, promised, some["pair"], kind=kind)
                named = dict(zip(("what", "layer"), names, strict=False))
                rows.append({**named, "kind": kind, "value": told.value, **_ends(told)})
        return pd.DataFrame(rows)

    @property
    def whats(self) -> list[str]:
        """What was moved, in the order in which it was asked for."""
        return list(dict.fromkeys(self.cells["what"]))

    @property
    def noise(self) -> bool:
        """Whether the target's states were put into the source's run."""
        return self.provenance.get("mode") == "noise"

    def best(self, *, seed: int = 0) -> dict[str, Any]:
        """The row of the map with the largest recovered fraction: a maximum, so it flatters; see the map."""
        row = self.map(seed=seed).sort_values("recovered", ascending=False).iloc[0]
        return {str(name): value for name, value in row.items()}

    def facts(self) -> dict[str, Any]:
        """The summary for machines: pairs, skipped, sites, recovered (the map), and the agreement if there is one."""
        found = {
            "pairs": int(self.cells["pair"].nunique()),
            "skipped": len(self.skipped),
            "sites": self.provenance["sites"],
            "what": self.whats,
            "mode": self.provenance["mode"],
            "method": self.provenance["method"],
            "recovered": self.map().to_dict("records"),
        }
        return found | ({"agreement": self.agreement().to_dict("records")} if "attributed" in self.cells else {})

    def plot(self) -> alt.TopLevelMixin:
        """The map: a heat map, or, where several things were moved, their curves over layers beside each other.

        Of the nulls of latents only those of the largest k are drawn.
        """
        from emovec_sae.charts import draw

        return draw(*self._drawn())

    def draw(self, folder: str | Path, name: str = "patching") -> list[Path]:
        """Write the figure in every format with the plotted table, its caption and provenance."""
        from emovec_sae.charts import caption, draw, save_chart

        family, table = self._drawn()
        told = caption(family, table)
        return save_chart(draw(family, table), folder, name, table=table, provenance=self.provenance, caption=told)

    def save(self, path: str | Path) -> Path:
        """Write the cells as Parquet, with a JSON file of the skipped pairs and the provenance beside it."""
        path = Path(path)
        with atomic(path) as part:
            self.cells.to_parquet(part, index=False)
        facts = {"skipped": self.skipped.to_dict("records"), "provenance": self.provenance}
        write_json(path.with_suffix(".json"), facts)
        return path

    def _drawn(self) -> tuple[str, pd.DataFrame]:
        """The family of charts, and the table that is drawn."""
        if len(self.whats) == 1:
            return "patching", self.map()
        sizes = [int(what.rpartition("k=")[2]) for what in self.whats if "k=" in what]
        nulls = [one for one in self.whats if "random" in one and "k=" in one and not one.endswith(f"k={max(sizes)}")]
        table = self.map()
        return "carriers", table[~table["what"].isin(nulls)].reset_index(drop=True)

    def _by_pair(self) -> pd.DataFrame:
        """What was moved, and the whole difference, in each pair at each site and part."""
        base, other = ("source", "target") if self.noise else ("target", "source")
        cells = self.cells.assign(
            moved=self.cells["patched"] - self.cells[base], gap=self.cells[other] - self.cells[base]
        )
        keys = ["what", "site", "layer", "part", "pair", "family"]
        return cells.groupby(keys, sort=False, as_index=False)[["moved", "gap"]].mean()

    def _compared(
        self, both: pd.DataFrame, name: str, ratio: tuple[str, str], facts: dict[str, str], cluster: Cluster, seed: int
    ) -> pd.DataFrame:
        rows: list[dict[str, Any]] = []
        for (what, site, layer, part), some in both.groupby(["what", "site", "layer", "part"], sort=False):
            told = self._ratio(some, *ratio, cluster, seed)
            named = {"what": what, **facts, "site": site, "layer": layer, "where": part}
            rows.append({**named, name: told.value, **_ends(told)})
        return self._ordered(pd.DataFrame(rows), [])

    def _summary(self, extra: Sequence[str], cluster: Cluster, seed: int) -> pd.DataFrame:
        keys = [*extra, "what", "site", "layer", "part"]
        rows: list[dict[str, Any]] = []
        for names, some in self._by_pair().groupby(keys, sort=False):
            told = self._ratio(some, "moved", "gap", cluster, seed)
            named = dict(zip([*keys[:-1], "where"], names, strict=True))
            rows.append({**named, "recovered": told.value, **_ends(told)})
        return self._ordered(pd.DataFrame(rows), extra)

    def _ratio(self, some: pd.DataFrame, top: str, bottom: str, cluster: Cluster, seed: int) -> Interval:
        if cluster not in ("auto", "pair", "family"):
            raise ConfigError(f"cluster is '{cluster}'; it must be auto, pair or family")
        over = cluster == "family" or (cluster == "auto" and self.cells["family"].nunique() >= FAMILIES)
        groups = some["family"].to_numpy() if over else None
        return bootstrap_ratio(some[top].to_numpy(), some[bottom].to_numpy(), groups, seed=seed)

    def _ordered(self, found: pd.DataFrame, extra: Sequence[str]) -> pd.DataFrame:
        """Things in the order asked for, layers upward, places in the order of the text."""
        places = [*PARTS, *(one for one in dict.fromkeys(found["where"]) if one not in PARTS)]
        found["where"] = pd.Categorical(found["where"], places, ordered=True)
        found["what"] = pd.Categorical(found["what"], self.whats, ordered=True)
        found = found.sort_values([*extra, "what", "layer", "where"], kind="stable")
        return found.astype({"where": str, "what": str}).reset_index(drop=True)


def _ends(told: Interval) -> dict[str, Any]:
    return {"low": told.low, "high": told.high, "n": told.n, "clusters": told.clusters}


def load_patching(path: str | Path) -> Patching:
    """Read what `Patching.save` wrote.

    Raises
    ------
    StoreError
        If one of its two files is missing.
    """
    path = Path(path)
    for file in (path, path.with_suffix(".json")):
        if not file.is_file():
            raise StoreError(f"{file} is missing; patch again with: emovec patch PAIRS --out {path}")
    told = read_json(path.with_suffix(".json"))
    skipped = pd.DataFrame(told["skipped"], columns=["pair", "reason"])
    return Patching(pd.read_parquet(path), skipped, told["provenance"])
