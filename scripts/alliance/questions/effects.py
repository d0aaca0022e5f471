"""From the estimates of site summaries to rows of result tables: site rows, pooled rows, and pooled rows without each site in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.contract import CLUSTERED, HETEROGENEITY, POOLED, WITH_NUMBERS, WITHOUT_ERROR, sortable
from alliance.questions.pooled_sites import LEFT_OUT
from alliance.questions.summary import SiteSummary
from alliance.statistics.distributions import critical_value
from alliance.statistics.meta_analysis import leave_one_out_many, pool_many

FROM_N = ("independent", "published_n")
BETWEEN_SITES = {
    "reml": "two_stage_reml",
    "dersimonian_laird": "two_stage_dersimonian_laird",
    "paule_mandel": "two_stage_paule_mandel",
    "fixed": "two_stage_fixed",
}
COMPLEMENT, RATIO = "log_complement", "log_ratio"
LABELS = {"identity": "identity", "fisher_z": "fisher_z", "logit": "logit", COMPLEMENT: "log", RATIO: "log"}
"""Scales of pooling, and what the tables call them. Reliabilities are pooled as -log(1 - reliability) (Bonett, 2002), ratios as their
logarithm; the tables call both log."""
_COUNTS = ("n_sessions", "n_clients", "n_therapists")


def gather(summaries: Sequence[SiteSummary]) -> pd.DataFrame:
    """Return the estimates of all usable summaries, ordered by site, with ``site`` and ``variance`` (of the estimate; NaN: not known)."""
    usable = [one for one in sorted(summaries, key=lambda one: one.site) if one.status == "ok" and len(one.estimates)]
    if usable:
        estimates = pd.concat([one.estimates for one in usable], ignore_index=True)
        estimates["site"] = np.repeat([one.site for one in usable], [len(one.estimates) for one in usable])
        vcov = pd.concat([one.vcov for one in usable], ignore_index=True)
        vcov["site"] = np.repeat([one.site for one in usable], [len(one.vcov) for one in usable])
        own = vcov[vcov["parameter1"] == vcov["parameter2"]].set_index(["site", "model", "parameter1"])["cov"]
        keys = pd.MultiIndex.from_frame(estimates[["site", "model", "parameter"]])
        return estimates.assign(site=estimates["site"].astype("str"), variance=own.reindex(keys).to_numpy(dtype=float))
    template = summaries[0].estimates.iloc[:0] if summaries else pd.DataFrame()
    return template.assign(site=pd.Series(dtype="str"), variance=pd.Series(dtype="float64"))


def scaled(effects: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Return effects with ``y`` and ``v``: estimate and sampling variance on a scale (of :data:`LABELS`).

    A share without a standard error (all clients or none, or therapists not known) enters the logit scale with half a client added to
    either side. Where a correlation's standard error rests on its number of clients alone, its variance is ``1 / (n - 3)`` for Fisher's z
    and ``(1 - r²)² / (n - 1)`` for r itself.
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
        elif scale == "logit":
            count = estimate * n
            with_error = np.isfinite(variance) & (variance > 0) & (estimate > 0) & (estimate < 1)
            y = np.where(with_error, np.log(estimate / (1 - estimate)), np.log((count + 0.5) / (n - count + 0.5)))
            v = np.where(with_error, variance / (estimate * (1 - estimate)) ** 2, 1 / (count + 0.5) + 1 / (n - count + 0.5))
        elif scale == COMPLEMENT:
            y = -np.log(1 - estimate)
            v = variance / (1 - estimate) ** 2
        elif scale == RATIO:
            y = np.log(estimate)
            v = variance / estimate**2
        else:
            y = estimate
            v = np.where(by_n, (1 - estimate**2) ** 2 / (n - 1), variance)
    usable = usable & np.isfinite(y)
    return effects.assign(y=np.where(usable, y, np.nan), v=np.where(usable & np.isfinite(v) & (v > 0), v, np.nan))


def pooling_scale(pooling: Mapping[str, Any]) -> str:
    """Return the scale on which section ``pooling`` of the configuration has correlations pooled."""
    return "fisher_z" if pooling["metric"] == "fisher_z" else "identity"


def natural(values: np.ndarray, scale: str) -> np.ndarray:
    """Return values of a scale on the natural scale."""
    if scale == COMPLEMENT:
        return 1 - np.exp(-values)
    if scale == RATIO:
        return np.exp(values)
    if scale == "logit":
        return 1 / (1 + np.exp(-values))
    return np.tanh(values) if scale == "fisher_z" else values


def site_rows(effects: pd.DataFrame, scale: str, level: float) -> pd.DataFrame:
    """Return one row an effect with standard error and interval; intervals the site summary brings itself are kept.

    Standard errors that respect therapists use t with (therapists - 1) degrees of freedom, all others the normal. A correlation of 1 or
    -1 has no place on the scale of pooling: not estimable.
    """
    effects = effects if "y" in effects else scaled(effects, scale)
    endless = effects["status"].isin(WITH_NUMBERS) & ~np.isfinite(effects["y"].astype(float))
    if endless.any():
        effects = effects.assign(
            status=effects["status"].mask(endless, "not_estimable"),
            reason=effects["reason"].mask(endless, "not estimable: no finite value (one variable gives the other without error)"),
            method=effects["method"].mask(endless, "none"),
        )
    error = np.sqrt(effects["v"].to_numpy(dtype=float))
    therapists = effects["n_therapists"].astype("float64").to_numpy()
    clustered = effects["method"].isin(CLUSTERED).to_numpy() & (therapists > 1)
    margin = critical_value(level, np.where(clustered, therapists - 1, np.inf)) * error
    y = effects["y"].to_numpy(dtype=float)
    low, high = natural(y - margin, scale), natural(y + margin, scale)
    if "ci_low" in effects:
        kept = effects["status"].isin(WITH_NUMBERS)
        low = np.where(kept & effects["ci_low"].notna(), effects["ci_low"].to_numpy(dtype=float), low)
        high = np.where(kept & effects["ci_high"].notna(), effects["ci_high"].to_numpy(dtype=float), high)
    return effects.assign(
        estimate=np.where(np.isfinite(y), effects["estimate"].to_numpy(dtype=float), np.nan),
        std_error=error,
        ci_low=low,
        ci_high=high,
        scale=LABELS[scale],
        n_sites=pd.array([1] * len(effects), dtype="Int64"),
    )


def ordered_groups(columns: Sequence[pd.Series]) -> tuple[np.ndarray, list[int]]:
    """Return of every row to which group it belongs, and of every group its first row; groups are sorted, what is unknown comes last.

    Parameters
    ----------
    columns : sequence of Series, shape (n,)
        Rows of one group agree in all of them.
    """
    rows = list(zip(*(sortable(column) for column in columns)))
    first: dict[tuple[Any, ...], int] = {}
    for position, row in enumerate(rows):
        first.setdefault(row, position)
    number = {row: place for place, row in enumerate(sorted(first))}
    return np.array([number[row] for row in rows], dtype=int), [first[row] for row in number]


@dataclass(frozen=True)
class _Grid:
    """Effects as matrices of keys by sites.

    ``y`` and ``v`` are NaN where a site has no usable estimate; ``counts`` (sessions, clients, therapists, and all clients,
    also those who lack what the estimate needs) are NaN where unknown; ``flagged`` is 1 for flagged estimates.
    """

    groups: pd.DataFrame
    sites: pd.Index
    y: np.ndarray
    v: np.ndarray
    counts: dict[str, np.ndarray]
    flagged: np.ndarray

    @classmethod
    def of(cls, effects: pd.DataFrame, keys: Sequence[str]) -> _Grid:
        group, first = ordered_groups([effects[key] for key in keys])
        groups = effects[list(keys)].take(first).reset_index(drop=True)
        usable = np.flatnonzero((effects["y"].notna() & effects["v"].notna()).to_numpy(dtype=bool))
        values = {name: effects[name].to_numpy(dtype=float, na_value=np.nan)[usable] for name in ("y", "v", *_COUNTS)}
        present = 1 - effects["share_missing"].to_numpy(dtype=float)[usable]
        values["all_clients"] = values["n_clients"] / np.where(present > 0, present, np.nan)
        values["flagged"] = effects["status"].eq("flagged").to_numpy(dtype=float)[usable]
        site = effects["site"].to_numpy(dtype=object)[usable]
        sites = pd.Index(sorted(set(site)))
        matrices = {name: np.full((len(groups), len(sites)), np.nan) for name in values}
        if len(usable):
            column = sites.get_indexer(site)
            for name, matrix in matrices.items():
                matrix[group[usable], column] = values[name]
        flagged = np.nan_to_num(matrices.pop("flagged"))
        return cls(groups, sites, matrices.pop("y"), matrices.pop("v"), matrices, flagged)

    @property
    def used(self) -> np.ndarray:
        return np.isfinite(self.y)

    def columns(self, row: np.ndarray, left_out: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return sums of counts over the sites of each row, one site left out where given; NaN where any site's count is unknown."""
        used = self.used
        sums = {}
        for name, matrix in {**self.counts, "flagged": self.flagged, "n_sites": used.astype(float)}.items():
            known = np.where(used, np.nan_to_num(matrix), 0.0)
            unknown = (used & ~np.isfinite(matrix)).astype(float)
            total, gaps = known.sum(axis=1)[row], unknown.sum(axis=1)[row]
            if left_out is not None:
                total, gaps = total - known[row, left_out], gaps - unknown[row, left_out]
            sums[name] = np.where(gaps > 0, np.nan, total)
        present = sums["n_sites"] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            share = 1 - sums["n_clients"] / sums.pop("all_clients")
        columns = {name: np.where(present, sums[name], np.nan) for name in _COUNTS}
        return {**columns, "share_missing": np.where(present, share, np.nan), "n_sites": sums["n_sites"], "flagged": sums["flagged"]}


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
    enough = enough & np.isfinite(columns["estimate"])
    return pd.DataFrame({name: np.where(enough & np.isfinite(values), values, np.nan) for name, values in columns.items()})


def too_few_sites(k: int, pooling: Mapping[str, Any]) -> str:
    """Return in words that too few sites have an estimate."""
    return f"not estimable: needs at least {pooling['min_sites']} sites with an estimate; has {k}"


def flagged_sites(flagged: int, k: int) -> str:
    """Return in words that some of the k sites' estimates are flagged, empty where none is."""
    return f"{flagged} of {k} site estimates flagged (see the sites' rows)" if flagged else ""


def _status(k: int, estimate: float, reason: str, flagged: int, pooling: Mapping[str, Any]) -> tuple[str, str]:
    if k < pooling["min_sites"]:
        return "not_estimable", too_few_sites(k, pooling)
    if not np.isfinite(estimate):
        return "not_estimable", f"not estimable: {reason or 'the estimates could not be pooled'}"
    reasons = [part for part in (reason, flagged_sites(flagged, k)) if part]
    return ("flagged", "; ".join(reasons)) if reasons else ("estimated", "")


def _settings(pooling: Mapping[str, Any]) -> dict[str, Any]:
    return {name: pooling[name] for name in ("tau2", "interval", "level")}


def _pooled(pooled: pd.DataFrame, columns: dict[str, np.ndarray], scale: str, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return pooled numbers, counts, status and reason of pooled rows."""
    k = columns["n_sites"].astype(int)
    numbers = _numbers(pooled, scale, k, pooling)
    reasons = np.where(k >= 2, pooled["reason"].to_numpy(dtype=object), "")
    judged = [
        _status(int(n), estimate, str(reason), int(flagged), pooling)
        for n, estimate, reason, flagged in zip(k, numbers["estimate"], reasons, columns["flagged"])
    ]
    counts = {name: values for name, values in columns.items() if name != "flagged"}
    return numbers.assign(**counts, status=[one[0] for one in judged], reason=[one[1] for one in judged])


def pooled_rows(effects: pd.DataFrame, keys: Sequence[str], scale: str, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return one pooled row a key.

    Parameters
    ----------
    effects : DataFrame
        From :func:`gather`; rows with a number and a variance are pooled.
    keys : sequence of str
        Columns that tell effects apart (``estimate_type`` among them where it varies).
    scale : str
        One of :data:`LABELS`.
    pooling : mapping
        Section ``pooling`` of the configuration.
    """
    effects = effects if "y" in effects else scaled(effects, scale)
    grid = _Grid.of(effects, keys)
    if grid.groups.empty:
        return grid.groups
    pooled = pool_many(grid.y, grid.v, **_settings(pooling))
    rows = _pooled(pooled, grid.columns(np.arange(len(grid.groups))), scale, pooling)
    return pd.concat([grid.groups, rows], axis=1).assign(site=POOLED, scale=LABELS[scale], method=BETWEEN_SITES[pooling["tau2"]])


def leave_one_out_rows(effects: pd.DataFrame, keys: Sequence[str], scale: str, pooling: Mapping[str, Any]) -> pd.DataFrame:
    """Return one pooled row a key and site left out, for keys that at least ``min_sites`` sites can estimate."""
    effects = effects if "y" in effects else scaled(effects, scale)
    grid = _Grid.of(effects, keys)
    enough = np.flatnonzero(grid.used.sum(axis=1) >= pooling["min_sites"])
    pooled = leave_one_out_many(grid.y[enough], grid.v[enough], **_settings(pooling))
    if pooled.empty:
        return pd.DataFrame(columns=[*keys, "site_left_out"])
    row, left_out = enough[pooled["effect"].to_numpy()], pooled["omitted"].to_numpy()
    rows = _pooled(pooled, grid.columns(row, left_out), scale, pooling)
    return pd.concat([grid.groups.iloc[row].reset_index(drop=True), rows], axis=1).assign(
        site_left_out=grid.sites[left_out], site=POOLED, scale=LABELS[scale], method=BETWEEN_SITES[pooling["tau2"]]
    )


def absent_site_rows(summaries: Sequence[SiteSummary], groups: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Return a not-estimable row for every key and every site that was left out or sent no answer, with the site's reason."""
    absent = [summary for summary in sorted(summaries, key=lambda one: one.site) if summary.status != "ok"]
    frames = [
        groups.assign(site=summary.site, status="not_estimable", reason=absence(summary), scale=LABELS[scale], method="none", n_sites=0)
        for summary in absent
    ]
    return pd.concat(frames, ignore_index=True) if frames and len(groups) else pd.DataFrame()


def with_sites(
    pooled: pd.DataFrame,
    effects: pd.DataFrame,
    summaries: Sequence[SiteSummary],
    keys: Sequence[str],
    scale: str,
    pooling: Mapping[str, Any],
) -> pd.DataFrame:
    """Return the rows of the sites, the pooled rows, and not-estimable rows of sites without an answer, in this order.

    Parameters
    ----------
    pooled : DataFrame
        From :func:`pooled_rows`.
    effects : DataFrame
        Effects of the sites, as for :func:`site_rows`.
    summaries : sequence of SiteSummary
        All sites, also those without an answer.
    keys, scale, pooling
        As in :func:`pooled_rows`.
    """
    return stack(site_rows(effects, scale, pooling["level"]), pooled, absent_site_rows(summaries, pooled[list(keys)], scale))


def absence(summary: SiteSummary) -> str:
    """Return in words why a site gives no estimates."""
    words = {"excluded": "site left out", "missing": "no summary for these options", LEFT_OUT: "left out by pooling"}
    return f"{words.get(summary.status, summary.status)}: {summary.reason}"


def squared(rows: pd.DataFrame, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Return shares of variance: squares of correlations and of their limits, from zero where the interval holds zero.

    Standard error and heterogeneity are those of the correlation and stand in its row.

    Parameters
    ----------
    rows : DataFrame
        Rows of correlations with their limits.
    kinds : mapping of str to str
        What the square of each ``estimate_type`` is.
    """
    if rows.empty:
        return rows
    low, high = (rows[name].astype(float) for name in ("ci_low", "ci_high"))
    squares = pd.concat([low**2, high**2], axis=1)
    nothing = dict.fromkeys((name for name in rows if name in ("std_error", *HETEROGENEITY)), np.nan)
    return rows.assign(
        **nothing,
        estimate_type=rows["estimate_type"].map(kinds),
        scale="identity",
        estimate=rows["estimate"].astype(float) ** 2,
        ci_low=squares.min(axis=1, skipna=False).where(~((low <= 0) & (high >= 0)), 0.0),
        ci_high=squares.max(axis=1, skipna=False),
    )


def without_interval(rows: pd.DataFrame) -> np.ndarray:
    """Return which estimates have no interval although their method would allow for one, shape (rows,)."""
    numbers = rows["status"].isin(WITH_NUMBERS) & rows["ci_low"].isna() & ~rows["method"].isin(WITHOUT_ERROR)
    return numbers.to_numpy(dtype=bool)


def say_why_no_interval(rows: pd.DataFrame, why: Sequence[tuple[Mapping[str, str], str]]) -> pd.DataFrame:
    """Return rows of which every estimate without an interval says why.

    Parameters
    ----------
    rows : DataFrame
    why : sequence of (mapping, str)
        Values of columns, and why such rows have no interval, in words; the first that fits a row counts.
    """
    if rows.empty or "ci_low" not in rows:
        return rows
    left = without_interval(rows)
    reasons = rows["reason"].astype(object).where(rows["reason"].notna(), "").to_numpy(copy=True)
    for keys, words in (*why, ({}, "its standard error is zero or not known")):
        fits = left & np.logical_and.reduce([left, *(rows[name].eq(value).to_numpy(dtype=bool) for name, value in keys.items())])
        reasons[fits] = [f"{told}; no interval: {words}" if told else f"no interval: {words}" for told in reasons[fits]]
        left = left & ~fits
    return rows.assign(reason=reasons)


def stack(*frames: pd.DataFrame) -> pd.DataFrame:
    """Return rows of several frames in one, leaving out empty frames."""
    filled = [frame.astype(object) for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame()
