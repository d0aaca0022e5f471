"""What the parts of the question on client factors share: pooling whoever rated a factor, and tests of being too small to matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.pooling import scaled
from alliance.questions.client_factors.measures import UNKNOWN
from alliance.questions.contract import CLUSTERED, POOLED, WITH_NUMBERS
from alliance.questions.summary import SiteSummary

RATED_BY = ["factor_rater", "same_rater"]


def one_rater(gathered: pd.DataFrame) -> pd.DataFrame:
    """Return effects with what all sites agree on of who rated a factor: ``unknown`` where none knows, ``mixed`` where they differ."""
    together = [name for name in ("factor", "alliance_rater", "quantity") if name in gathered]
    return gathered.assign(**{name: gathered.groupby(together)[name].transform(_agreed) for name in RATED_BY})


def _agreed(values: pd.Series) -> str:
    known = sorted(set(values) - {UNKNOWN})
    return known[0] if len(known) == 1 else UNKNOWN if not known else "mixed"


def tables_by_scale(
    chosen: pd.DataFrame, keys: Sequence[str], summaries: Sequence[SiteSummary], options: Mapping[str, Any], nothing: str, **only: str
) -> pd.DataFrame:
    """Return the rows of sites, pooled rows, and rows of sites without an answer; correlations on the scale of pooling, all else as it is.

    Parameters
    ----------
    chosen : DataFrame
        Estimates of the sites, from :func:`alliance.questions.effects.gather`.
    keys : sequence of str
        Columns that tell effects apart, ``estimate_type`` among them.
    summaries : sequence of SiteSummary
    options : mapping
        Section ``pooling``.
    nothing : str
        Why a site that takes part has none of these effects.
    **only : str
        Values of keys; a site without an answer has rows of these alone, so that a large study is not filled with rows of gaps.
    """
    if chosen.empty:
        return pd.DataFrame()
    pooling, keys = options["pooling"], list(keys)
    present = set(chosen["site"])
    frames = []
    for scale, own in scaled(chosen, options).groupby("scale", sort=True):
        pooled = effects.pooled_rows(one_rater(own), keys, str(scale), pooling)
        frames += [effects.site_rows(own, str(scale), pooling["level"]), pooled]
        wanted = np.ones(len(pooled), dtype=bool)
        for key, value in only.items():
            wanted &= pooled[key].eq(value).to_numpy()
        gaps = pooled.loc[wanted, keys]
        frames.append(effects.absent_site_rows(summaries, gaps, str(scale)))
        lacking = {"status": "not_estimable", "reason": nothing, "scale": scale, "method": "none", "n_sites": 0}
        frames += [gaps.assign(site=one.site, **lacking) for one in summaries if one.status == "ok" and one.site not in present]
    return effects.stack(*frames)


def with_bounds(rows: pd.DataFrame, bound: float, pooling: Mapping[str, Any], kinds: Sequence[str]) -> pd.DataFrame:
    """Return rows with the test that a correlation, or a difference, is smaller than a bound (two one-sided tests).

    Correlations pooled as Fisher's z are tested on that scale.

    Parameters
    ----------
    rows : DataFrame
    bound : float
        Largest value that counts as none, on the natural scale.
    pooling : mapping
        Section ``pooling`` of the configuration.
    kinds : sequence of str
        Estimate types that are tested.
    """
    from alliance.statistics.equivalence import equivalence

    if rows.empty:
        return rows
    tested = rows["estimate_type"].isin(kinds) & rows["status"].isin(WITH_NUMBERS) & rows["std_error"].notna()
    found = {"bound": {}, "p_equivalence": {}, "decision": {}}
    for row in rows[tested].itertuples():
        on_z = row.scale == "fisher_z"
        value, limit = (float(np.arctanh(one)) if on_z else float(one) for one in (row.estimate, bound))
        one = equivalence(value, float(row.std_error), (-limit, limit), degrees_of_freedom(row, pooling), pooling["level"])
        for name, result in (("bound", bound), ("p_equivalence", one.p_tost), ("decision", one.decision)):
            found[name][row.Index] = result
    return rows.assign(**{name: pd.Series(values, dtype=object).reindex(rows.index) for name, values in found.items()})


def degrees_of_freedom(row: Any, pooling: Mapping[str, Any]) -> float | None:
    """Return the degrees of freedom of a row's interval; None for the normal."""
    if row.site == POOLED:
        return None if pooling["interval"] == "z" or row.n_sites < 2 else float(row.n_sites) - 1
    return float(row.n_therapists) - 1 if row.method in CLUSTERED and row.n_therapists > 1 else None
