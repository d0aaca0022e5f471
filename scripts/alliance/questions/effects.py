"""From the estimates of site summaries to rows of result tables: site rows, pooled rows, and pooled rows without each site in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.contract import HETEROGENEITY, POOLED, WITH_NUMBERS
from alliance.questions.summary import SiteSummary
from alliance.statistics.distributions import critical_value
from alliance.statistics.meta_analysis import pool_many

FROM_N = ("independent", "published_n")
BETWEEN_SITES = {
    "reml": "two_stage_reml",
    "dersimonian_laird": "two_stage_dersimonian_laird",
    "paule_mandel": "two_stage_paule_mandel",
    "fixed": "two_stage_fixed",
}
_COUNTS = ("n_sessions", "n_clients", "n_therapists")


def gather(summaries: Sequence[SiteSummary]) -> pd.DataFrame:
    """Return the estimates of all usable summaries, ordered by site, with ``site`` and ``variance`` (of the estimate; NaN: not known)."""
    frames = []
    for summary in sorted(summaries, key=lambda one: one.site):
        if summary.status != "ok" or summary.estimates.empty:
            continue
        vcov = summary.vcov
        own = vcov[vcov["parameter1"] == vcov["parameter2"]].set_index(["model", "parameter1"])["cov"]
        keys = pd.MultiIndex.from_frame(summary.estimates[["model", "parameter"]])
        frames.append(summary.estimates.assign(site=summary.site, variance=own.reindex(keys).to_numpy(dtype=float)))
    if frames:
        return pd.concat(frames, ignore_index=True)
    template = summaries[0].estimates.iloc[:0] if summaries else pd.DataFrame()
    return template.assign(site=pd.Series(dtype="str"), variance=pd.Series(dtype="float64"))


def scaled(effects: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Return effects with ``y`` and ``v``: estimate and sampling variance on a scale (``identity`` or ``fisher_z``).

    Where a correlation's standard error rests on its number of clients alone, its variance is ``1 / (n - 3)`` for Fisher's z and
    ``(1 - r²)² / (n - 1)`` for r itself.
    """
    estimate = effects["estimate"].to_numpy(dtype=float)
    variance = effects["variance"].to_numpy(dtype=float)
    usable = effects["status"].isin(WITH_NUMBERS).to_numpy()
    correlations = effects["estimate_type"].eq("correlation").to_numpy()
    n = effects["n_clients"].astype("float64").to_numpy()
    by_n = effects["method"].isin(FROM_N).to_numpy() & correlations
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "fisher_z":
            y = np.arctanh(estimate)
            v = np.where(by_n, 1 / (n - 3), variance / (1 - estimate**2) ** 2)
        else:
            y = estimate
            v = np.where(by_n, (1 - estimate**2) ** 2 / (n - 1), variance)
    usable = usable & np.isfinite(y)
    return effects.assign(y=np.where(usable, y, np.nan), v=np.where(usable & np.isfinite(v) & (v > 0), v, np.nan))


def natural(values: np.ndarray, scale: str) -> np.ndarray:
    """Return values of a scale on the natural scale."""
    return np.tanh(values) if scale == "fisher_z" else values


def site_rows(effects: pd.DataFrame, scale: str, level: float) -> pd.DataFrame:
    """Return one row an effect with standard error and interval; intervals the site summary brings itself are kept.

    Cluster-robust standard errors use t with (therapists - 1) degrees of freedom, all others the normal.
    """
    effects = effects if "y" in effects else scaled(effects, scale)
    error = np.sqrt(effects["v"].to_numpy(dtype=float))
    therapists = effects["n_therapists"].astype("float64").to_numpy()
    clustered = effects["method"].eq("cluster_robust").to_numpy() & (therapists > 1)
    margin = critical_value(level, np.where(clustered, therapists - 1, np.inf)) * error
    y = effects["y"].to_numpy(dtype=float)
    low, high = natural(y - margin, scale), natural(y + margin, scale)
    if "ci_low" in effects:
        low = np.where(effects["ci_low"].notna(), effects["ci_low"].to_numpy(dtype=float), low)
        high = np.where(effects["ci_high"].notna(), effects["ci_high"].to_numpy(dtype=float), high)
    return effects.assign(
        estimate=np.where(np.isfinite(y), effects["estimate"].to_numpy(dtype=float), np.nan),
        std_error=error,
        ci_low=low,
        ci_high=high,
        scale=scale,
        n_sites=pd.array([1] * len(effects), dtype="Int64"),
    )


def _grid(effects: pd.DataFrame, keys: Sequence[str]) -> tuple[pd.DataFrame, pd.Index, np.ndarray, np.ndarray]:
    """Return groups by key, sites, and matrices (groups, sites) of y and v."""
    usable = effects[effects["y"].notna() & effects["v"].notna()]
    groups = effects[list(keys)].drop_duplicates().sort_values(list(keys), kind="stable").reset_index(drop=True)
    sites = pd.Index(sorted(usable["site"].unique()))
    y = np.full((len(groups), len(sites)), np.nan)
    v = y.copy()
    if len(usable):
        row = pd.MultiIndex.from_frame(groups).get_indexer(pd.MultiIndex.from_frame(usable[list(keys)]))
        column = sites.get_indexer(usable["site"])
        y[row, column], v[row, column] = usable["y"], usable["v"]
    return groups, sites, y, v


def _numbers(pooled: pd.DataFrame, scale: str, k: np.ndarray, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return the numbers of pooled rows in the columns of the tables, empty where too few sites have an estimate."""
    enough = k >= pooling["min_sites"]
    headline = k >= pooling["headline_sites"]
    columns = {
        "estimate": natural(pooled["estimate"].to_numpy(dtype=float), scale),
        "std_error": pooled["std_error"].to_numpy(dtype=float),
        "ci_low": natural(pooled["ci_low"].to_numpy(dtype=float), scale),
        "ci_high": natural(pooled["ci_high"].to_numpy(dtype=float), scale),
        "tau2": pooled["tau2"].to_numpy(dtype=float),
        "tau2_low": pooled["tau2_low"].to_numpy(dtype=float),
        "tau2_high": pooled["tau2_high"].to_numpy(dtype=float),
        "i2": pooled["i2"].to_numpy(dtype=float) / 100,
        "q": pooled["q"].to_numpy(dtype=float),
        "q_df": pooled["q_df"].astype("float64").to_numpy(),
        "q_p_value": pooled["q_p"].to_numpy(dtype=float),
        "p_value": np.where(headline, pooled["p_value"].to_numpy(dtype=float), np.nan),
        "prediction_low": natural(pooled["prediction_low"].to_numpy(dtype=float), scale),
        "prediction_high": natural(pooled["prediction_high"].to_numpy(dtype=float), scale),
    }
    return pd.DataFrame({name: np.where(enough & np.isfinite(values), values, np.nan) for name, values in columns.items()})


def too_few_sites(k: int, pooling: Mapping[str, Any]) -> str:
    """Return in words that too few sites have an estimate."""
    return f"not estimable: needs at least {pooling['min_sites']} sites with an estimate; has {k}"


def _status(k: int, estimate: float, reason: str, flagged: int, pooling: Mapping[str, Any]) -> tuple[str, str]:
    if k < pooling["min_sites"]:
        return "not_estimable", too_few_sites(k, pooling)
    if not np.isfinite(estimate):
        return "not_estimable", f"not estimable: {reason or 'the estimates could not be pooled'}"
    reasons = [part for part in (reason, f"{flagged} of {k} site estimates are flagged (see their rows)" if flagged else "") if part]
    return ("flagged", "; ".join(reasons)) if reasons else ("estimated", "")


def _sums(effects: pd.DataFrame) -> dict[str, Any]:
    """Return counts over the sites of one pooled row; unknown where any site's is unknown."""
    sums: dict[str, Any] = {name: int(effects[name].sum()) if len(effects) and effects[name].notna().all() else None for name in _COUNTS}
    present = 1 - effects["share_missing"].to_numpy(dtype=float)
    n = effects["n_clients"].astype("float64").to_numpy()
    known = len(effects) and np.isfinite(present).all() and np.isfinite(n).all() and (present > 0).all()
    sums["share_missing"] = float(1 - n.sum() / (n / present).sum()) if known else np.nan
    return sums


def pooled_rows(effects: pd.DataFrame, keys: Sequence[str], scale: str, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return one pooled row a key.

    Parameters
    ----------
    effects : DataFrame
        From :func:`gather`; rows with a number and a variance are pooled.
    keys : sequence of str
        Columns that tell effects apart (``estimate_type`` among them where it varies).
    scale : str
        ``fisher_z`` or ``identity``.
    pooling : mapping
        Section ``pooling`` of the configuration.
    """
    effects = effects if "y" in effects else scaled(effects, scale)
    groups, sites, y, v = _grid(effects, keys)
    if groups.empty:
        return groups
    k = np.isfinite(y).sum(axis=1)
    settings = {"tau2": pooling["tau2"], "interval": pooling["interval"], "level": pooling["level"]}
    pooled = pool_many(y, v, **settings) if len(sites) else None
    numbers = (
        _numbers(pooled, scale, k, pooling)
        if pooled is not None
        else pd.DataFrame(np.nan, index=groups.index, columns=["estimate", "std_error", "ci_low", "ci_high", *HETEROGENEITY])
    )
    used = effects[effects["y"].notna() & effects["v"].notna()]
    places = used.groupby(list(keys), sort=False).indices
    extra = []
    for row, key in enumerate(groups.itertuples(index=False, name=None)):
        here = used.iloc[places.get(key, [])]
        status, reason = _status(
            int(k[row]),
            numbers.loc[row, "estimate"],
            str(pooled["reason"].iloc[row]) if pooled is not None and k[row] >= 2 else "",
            int(here["status"].eq("flagged").sum()),
            pooling,
        )
        extra.append({**_sums(here), "n_sites": int(k[row]), "status": status, "reason": reason})
    return pd.concat([groups, numbers, pd.DataFrame(extra)], axis=1).assign(site=POOLED, scale=scale, method=BETWEEN_SITES[pooling["tau2"]])


def leave_one_out_rows(effects: pd.DataFrame, keys: Sequence[str], scale: str, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return one pooled row a key and site left out, for keys that at least ``min_sites`` sites can estimate."""
    effects = effects if "y" in effects else scaled(effects, scale)
    groups, sites, y, v = _grid(effects, keys)
    usable = np.isfinite(y)
    group, left_out = np.nonzero(usable & (usable.sum(axis=1) >= pooling["min_sites"])[:, None])
    if not group.size:
        return pd.DataFrame(columns=[*keys, "site_left_out"])
    without = y[group]
    without[np.arange(group.size), left_out] = np.nan
    k = np.isfinite(without).sum(axis=1)
    pooled = pool_many(without, v[group], tau2=pooling["tau2"], interval=pooling["interval"], level=pooling["level"])
    numbers = _numbers(pooled, scale, k, pooling)
    counted = effects[effects["y"].notna() & effects["v"].notna()]
    places = counted.groupby(list(keys), sort=False).indices
    extra = []
    for row in range(group.size):
        key = tuple(groups.iloc[group[row]])
        here = counted.iloc[places.get(key, [])]
        here = here[here["site"].ne(sites[left_out[row]])]
        reason = str(pooled["reason"].iloc[row]) if k[row] >= 2 else ""
        flagged = int(here["status"].eq("flagged").sum())
        status, reason = _status(int(k[row]), numbers.loc[row, "estimate"], reason, flagged, pooling)
        extra.append({**_sums(here), "n_sites": int(k[row]), "status": status, "reason": reason})
    rows = pd.concat([groups.iloc[group].reset_index(drop=True), numbers, pd.DataFrame(extra)], axis=1)
    return rows.assign(site_left_out=sites[left_out], site=POOLED, scale=scale, method=BETWEEN_SITES[pooling["tau2"]])


def absent_site_rows(summaries: Sequence[SiteSummary], groups: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Return a not-estimable row for every key and every site that was left out or sent no answer, with the site's reason."""
    absent = [summary for summary in sorted(summaries, key=lambda one: one.site) if summary.status != "ok"]
    frames = [
        groups.assign(site=summary.site, status="not_estimable", reason=absence(summary), scale=scale, method="none", n_sites=0)
        for summary in absent
    ]
    return pd.concat(frames, ignore_index=True) if frames and len(groups) else pd.DataFrame()


def absence(summary: SiteSummary) -> str:
    """Return in words why a site gives no estimates."""
    words = {"excluded": "site left out", "missing": "no summary for these options"}
    return f"{words.get(summary.status, summary.status)}: {summary.reason}"


def stack(*frames: pd.DataFrame) -> pd.DataFrame:
    """Return rows of several frames in one, leaving out empty frames."""
    filled = [frame.astype(object) for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
