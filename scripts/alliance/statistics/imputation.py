"""Multiple imputation of scored composites of clients in therapists, Rubin's rules, and sensitivity to values not missing at random.

The imputation model is a joint normal model of all variables with a random effect of the therapist on each (Schafer & Yucel, 2002): it
lets variables relate differently within and between therapists, so that analyses which respect therapists agree with it. Fixed effects of
therapists would overstate how much therapists differ (Drechsler, 2015) and need several measured clients of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.change import named_clusters
from alliance.statistics.correlation import MIN_CLUSTERS
from alliance.statistics.covariance import cluster_codes
from alliance.statistics.distributions import critical_value, two_sided_p

MIN_IMPUTATIONS = 20
CONVERGED = 1.05
_ROUNDS = 5
_JOINT = 10
_SINGULAR = 1e-8
# Half-t prior with two degrees of freedom of the therapists' standard deviations, in standard deviations of clients.
_PRIOR_DF, _PRIOR_SCALE = 2.0, 0.5


@dataclass(frozen=True)
class Imputations:
    """Completed data sets.

    Attributes
    ----------
    values : ndarray, shape (m, n, p)
        Completed data; m is 0 where nothing could be imputed.
    names : list of str
        Variables.
    missing : ndarray of bool, shape (n, p)
        Which values were imputed.
    percent_incomplete : float
        Clients with a missing value, in percent.
    iterations : int
        Steps of each chain; every completed data set is the end of a chain of its own.
    convergence : DataFrame
        One row per incomplete variable: ``variable``, ``n_missing``, ``mean_observed``, ``mean_imputed``, ``sd_observed``,
        ``sd_imputed``, and the potential scale reduction of both imputed figures over the second half of the chains, ``r_hat_mean`` and
        ``r_hat_sd`` (Gelman & Rubin, 1992): near 1 where chains agree.
    method : str
        ``therapist_random_effects`` or ``independent``; ``none`` for complete data.
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why.
    """

    values: np.ndarray
    names: list[str]
    missing: np.ndarray
    percent_incomplete: float
    iterations: int
    convergence: pd.DataFrame
    method: str
    status: str
    reason: str

    def frames(self) -> list[pd.DataFrame]:
        """Return the completed data sets as frames."""
        return [pd.DataFrame(values, columns=self.names) for values in self.values]


@dataclass(frozen=True)
class PooledEstimates:
    """Estimates pooled over imputations (Rubin, 1987), each an array of shape (q,).

    Attributes
    ----------
    estimate, std_error, df : ndarray
        Mean, total standard error and degrees of freedom (Barnard & Rubin, 1999).
    missing_information : ndarray
        Fraction of information missing because values are, with its correction for few imputations.
    relative_increase : ndarray
        Variance between imputations, with its correction, over the mean variance within them.
    covariance : ndarray, shape (q, q), or None
        Total covariance of the estimates where covariances were given.
    imputations : int
        Number of data sets.
    """

    estimate: np.ndarray
    std_error: np.ndarray
    df: np.ndarray
    missing_information: np.ndarray
    relative_increase: np.ndarray
    covariance: np.ndarray | None
    imputations: int

    def interval(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return the confidence interval of each estimate."""
        margin = critical_value(level, self.df) * self.std_error
        return self.estimate - margin, self.estimate + margin


def imputations_needed(data: ArrayLike, least: int = MIN_IMPUTATIONS) -> int:
    """Return the number of imputations: at least ``least``, and one per percent of incomplete rows (White, Royston & Wood, 2011)."""
    incomplete = np.isnan(np.asarray(data, dtype=float)).any(axis=1)
    return max(least, int(np.ceil(100 * incomplete.mean()))) if incomplete.size else least


def impute(
    data: pd.DataFrame,
    random: np.random.Generator,
    clusters: ArrayLike | None = None,
    *,
    imputations: int | None = None,
    iterations: int = 100,
    min_clusters: int = MIN_CLUSTERS,
) -> Imputations:
    """Return completed data sets from a joint normal model with random effects of therapists.

    A Gibbs sampler draws, in turn, means, therapist effects, their covariance (prior: Huang & Wand, 2013, half-t(2) of scale 0.5 on each
    standard deviation, uniform correlations), the covariance within therapists (prior: Jeffreys) and the missing values, in as many
    independent chains as there are imputations, all at once. Chains start far apart and run on, up to five times as long, until they
    agree. Every variable of the analysis has to be among the columns, with auxiliaries that tell why values are missing. Two-valued
    columns are taken as if they were normal; imputed values are neither rounded nor cut to the range of a score.

    Parameters
    ----------
    data : DataFrame, shape (n, p)
        Numbers; NaN where missing.
    random : numpy.random.Generator
        From :func:`alliance.statistics.resampling.generator`.
    clusters : array_like, shape (n,), optional
        Each client's therapist; clients without one count as therapists of their own.
    imputations : int, optional
        Default: :func:`imputations_needed`.
    iterations : int
        Steps before chains are compared.
    min_clusters : int
        Fewer therapists: clients taken as independent, with a caution.

    Raises
    ------
    ValueError
        Infinite values, or fewer than two imputations.
    """
    names, values = [str(name) for name in data.columns], data.to_numpy(dtype=float)
    if np.isinf(values).any():
        raise ValueError("data hold infinite values")
    missing = np.isnan(values)
    m = imputations_needed(values) if imputations is None else imputations
    if m < 2:
        raise ValueError(f"multiple imputation needs at least two imputations; asked for {m}")
    percent = 100 * float(missing.any(axis=1).mean()) if len(values) else 0.0
    result = Imputations(np.empty((0, *values.shape)), names, missing, percent, 0, pd.DataFrame(), "none", "not_estimable", "")
    if not missing.any():
        return replace(result, values=np.repeat(values[None], m, axis=0), status="estimated")
    reason = _impossible(values, missing, names)
    if reason:
        return replace(result, reason=reason)
    cautions = _cautions(missing, names)
    codes, groups = np.zeros(len(values), dtype=int), 0
    if clusters is not None:
        codes, groups = cluster_codes(named_clusters(clusters))
    if groups < max(min_clusters, 2):
        known = "therapists are unknown" if clusters is None else f"fewer than {min_clusters} therapists ({groups})"
        cautions.append(f"{known}: clients taken as independent")
        codes, groups = np.zeros(len(values), dtype=int), 0
    mean, deviation = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    sampler = _Sampler((values - mean) / deviation, codes, groups, m, random)
    try:
        traces, steps, worst = _run(sampler, iterations)
    except np.linalg.LinAlgError:
        return replace(result, reason="variables determine each other: leave one of them out of the imputation model")
    if worst > CONVERGED:
        cautions.append(f"chains had not come to agree after {steps} steps (potential scale reduction {worst:.2f})")
    completed = np.where(missing, sampler.completed() * deviation + mean, values)
    return replace(
        result,
        values=completed,
        iterations=steps,
        convergence=_convergence(values, completed, missing, names, traces),
        method="therapist_random_effects" if groups else "independent",
        status="flagged" if cautions else "estimated",
        reason="; ".join(cautions),
    )


def scale_reduction(traces: ArrayLike) -> np.ndarray:
    """Return the potential scale reduction of chains (Gelman & Rubin, 1992), (steps, chains, ...) to (...); 1 where nothing varies."""
    traces = np.asarray(traces, dtype=float)
    steps = len(traces)
    within = traces.var(axis=0, ddof=1).mean(axis=0)
    between = traces.mean(axis=0).var(axis=0, ddof=1)
    return np.sqrt(
        np.where(within > 0, (steps - 1) / steps + between / np.where(within > 0, within, 1.0), np.where(between > 0, np.inf, 1.0))
    )


def pool_rubin(estimates: ArrayLike, variances: ArrayLike, complete_df: ArrayLike = np.inf) -> PooledEstimates:
    """Return estimates pooled over imputed data sets by Rubin's rules, with the degrees of freedom of Barnard & Rubin (1999).

    Parameters
    ----------
    estimates : array_like, shape (m, q) or (m,)
        Estimates in each data set.
    variances : array_like, shape (m, q), (m, q, q) or (m,)
        Their sampling variances, or covariance matrices.
    complete_df : array_like, shape (q,) or a number
        Degrees of freedom that complete data would have: G - 1 where errors respect G therapists; infinite for the normal.

    Raises
    ------
    ValueError
        Fewer than two data sets, shapes that do not fit, or values that are missing or not positive.
    """
    estimates, variances = np.asarray(estimates, dtype=float), np.asarray(variances, dtype=float)
    if estimates.ndim == 1:
        estimates = estimates[:, None]
        variances = variances.reshape(len(variances), -1)
    m, q = estimates.shape
    if m < 2:
        raise ValueError("Rubin's rules need at least two imputed data sets")
    if variances.shape not in ((m, q), (m, q, q)):
        raise ValueError(f"variances have the shape {variances.shape}; estimates {estimates.shape}")
    single = variances if variances.ndim == 2 else np.diagonal(variances, axis1=1, axis2=2)
    if not (np.isfinite(estimates).all() and np.isfinite(variances).all() and (single > 0).all()):
        raise ValueError("every imputed data set needs an estimate and a positive variance")
    factor = 1 + 1 / m
    within, between = single.mean(axis=0), factor * estimates.var(axis=0, ddof=1)
    total = within + between
    share, increase = between / total, between / within
    complete = np.broadcast_to(np.asarray(complete_df, dtype=float), (q,))
    with np.errstate(divide="ignore", invalid="ignore"):
        rubin = (m - 1) / share**2
        observed = (complete + 1) / (complete + 3) * complete * (1 - share)
        df = np.where(np.isposinf(complete), rubin, 1 / (1 / rubin + 1 / observed))
    covariance = None
    if variances.ndim == 3:
        centred = estimates - estimates.mean(axis=0)
        covariance = variances.mean(axis=0) + factor * centred.T @ centred / (m - 1)
    fraction = (increase + 2 / (df + 3)) / (increase + 1)
    return PooledEstimates(estimates.mean(axis=0), np.sqrt(total), df, fraction, increase, covariance, m)


def shifted(imputed: Imputations, variable: str, delta: float) -> Imputations:
    """Return imputations with the imputed values of one variable moved by ``delta`` standard deviations of its measured values.

    A pattern-mixture model: clients without the value differ by so much from what their other values predict.
    """
    column = imputed.names.index(variable)
    lacking = imputed.missing[:, column]
    values = imputed.values.copy()
    if lacking.any() and len(values):
        values[:, lacking, column] += delta * values[0, ~lacking, column].std(ddof=1)
    return replace(imputed, values=values)


def delta_table(
    imputed: Imputations,
    variable: str,
    deltas: Sequence[float],
    analysis: Callable[[pd.DataFrame], tuple[ArrayLike, ArrayLike]],
    *,
    complete_df: ArrayLike = np.inf,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return pooled estimates with the imputed values of one variable moved by several amounts, side by side.

    Parameters
    ----------
    imputed : Imputations
        From :func:`impute`.
    variable : str
        The outcome that may be missing for reasons of its own.
    deltas : sequence of float
        Shifts in standard deviations of the measured values; 0 is the analysis under missing at random.
    analysis : callable
        Takes a completed data set; returns estimates, shape (q,), and variances, shape (q,) or (q, q).
    complete_df, level
        As in :func:`pool_rubin` and :meth:`PooledEstimates.interval`.

    Returns
    -------
    DataFrame
        One row per shift and estimate: ``delta``, ``parameter`` (0..), ``estimate``, ``std_error``, ``ci_low``, ``ci_high``, ``df``,
        ``p_value``, ``missing_information``, ``imputations``.

    Raises
    ------
    ValueError
        There are no imputations.
    """
    if not len(imputed.values):
        raise ValueError(f"nothing was imputed: {imputed.reason}")
    tables = []
    for delta in deltas:
        results = [analysis(frame) for frame in shifted(imputed, variable, delta).frames()]
        estimates = np.array([np.atleast_1d(np.asarray(one[0], dtype=float)) for one in results])
        pooled = pool_rubin(estimates, np.array([np.atleast_1d(np.asarray(one[1], dtype=float)) for one in results]), complete_df)
        low, high = pooled.interval(level)
        tables.append(
            pd.DataFrame(
                {
                    "delta": float(delta),
                    "parameter": np.arange(estimates.shape[1]),
                    "estimate": pooled.estimate,
                    "std_error": pooled.std_error,
                    "ci_low": low,
                    "ci_high": high,
                    "df": pooled.df,
                    "p_value": two_sided_p(pooled.estimate / pooled.std_error, pooled.df),
                    "missing_information": pooled.missing_information,
                    "imputations": pooled.imputations,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def missing_patterns(data: pd.DataFrame, min_cell: int = 1) -> pd.DataFrame:
    """Return how many clients have which variables measured.

    Patterns of fewer than ``min_cell`` clients are merged into one; if that stays smaller, the next smallest pattern joins it, so that no
    small number can be had by subtraction.

    Parameters
    ----------
    data : DataFrame, shape (n, p)
        NaN where missing.
    min_cell : int
        Smallest number of clients shown.

    Returns
    -------
    DataFrame
        One row per pattern, the most frequent first and the merged last: ``clients``, ``percent``, ``patterns`` (how many were merged; 1
        for a pattern of its own), ``n_missing`` (variables missing; missing itself where merged), and one column per variable:
        ``measured``, ``missing`` or ``varies``.
    """
    names = list(data.columns)
    counted = data.isna().value_counts(sort=False).rename("clients").reset_index()
    counted["n_missing"] = counted[names].sum(axis=1)
    counted = counted.sort_values(["clients", "n_missing", *names], ascending=[False, True, *([True] * len(names))], ignore_index=True)
    kept = int((counted["clients"] >= min_cell).sum())
    while kept and 0 < counted["clients"].iloc[kept:].sum() < min_cell:
        kept -= 1
    own, merged = counted.iloc[:kept], counted.iloc[kept:]
    table = pd.DataFrame({"clients": own["clients"], "patterns": 1, "n_missing": own["n_missing"].astype("Int64")})
    table = table.assign(**{name: np.where(own[name].astype(bool), "missing", "measured") for name in names})
    if len(merged):
        last = {"clients": merged["clients"].sum(), "patterns": len(merged), "n_missing": pd.NA}
        states = {name: _state(merged[name].astype(bool)) for name in names}
        table = pd.concat([table, pd.DataFrame([{**last, **states}]).astype({"n_missing": "Int64"})], ignore_index=True)
    table.insert(1, "percent", 100 * table["clients"] / max(len(data), 1))
    return table


def _state(missing: pd.Series) -> str:
    return "missing" if missing.all() else "varies" if missing.any() else "measured"


def _impossible(values: np.ndarray, missing: np.ndarray, names: list[str]) -> str:
    """Return why the model cannot be fitted; empty where it can."""
    n, p = values.shape
    if n < 2 * p + 5:
        return f"needs at least {2 * p + 5} clients for {p} variables; has {n}"
    for column, name in enumerate(names):
        measured = values[~missing[:, column], column]
        if len(measured) < p + 3:
            return f"{name}: needs at least {p + 3} measured values; has {len(measured)}"
        if measured.std() <= 1e-12 * np.abs(measured).max():
            return f"{name} is constant: leave it out of the imputation model"
    return ""


def _cautions(missing: np.ndarray, names: list[str]) -> list[str]:
    """Return which pairs of variables were too seldom measured together for their correlation to be known."""
    present = (~missing).astype(int)
    joint = present.T @ present
    pairs = [(i, j) for i in range(len(names)) for j in range(i) if joint[i, j] < _JOINT]
    return [f"{names[j]} and {names[i]} are measured together in {joint[i, j]} clients only" for i, j in pairs]


def _run(sampler: _Sampler, iterations: int) -> tuple[np.ndarray, int, float]:
    """Run chains until they agree; return the second half of their traces, the steps taken and the worst scale reduction."""
    traces: list[np.ndarray] = []
    for _ in range(_ROUNDS):
        for _ in range(iterations):
            sampler.step()
            traces.append(sampler.trace())
        half = np.array(traces[len(traces) // 2 :])
        worst = float(scale_reduction(half).max())
        if worst <= CONVERGED:
            break
    return half, len(traces), worst


def _convergence(values: np.ndarray, completed: np.ndarray, missing: np.ndarray, names: list[str], traces: np.ndarray) -> pd.DataFrame:
    reduction = scale_reduction(traces)
    rows = []
    for place, column in enumerate(np.flatnonzero(missing.any(axis=0))):
        lacking = missing[:, column]
        imputed, measured = completed[:, lacking, column], values[~lacking, column]
        rows.append(
            {
                "variable": names[column],
                "n_missing": int(lacking.sum()),
                "mean_observed": measured.mean(),
                "mean_imputed": imputed.mean(),
                "sd_observed": measured.std(ddof=1),
                "sd_imputed": imputed.std(ddof=1),
                "r_hat_mean": reduction[0, place],
                "r_hat_sd": reduction[1, place],
            }
        )
    return pd.DataFrame(rows)


class _Sampler:
    """Chains of the Gibbs sampler, side by side in the first axis of every array; rows are sorted by therapist."""

    def __init__(self, scored: np.ndarray, codes: np.ndarray, groups: int, chains: int, random: np.random.Generator) -> None:
        self.random, self.chains, self.groups = random, chains, groups
        self.order = np.argsort(codes, kind="stable")
        self.codes = codes[self.order]
        data = scored[self.order]
        self.missing = np.isnan(data)
        self.n, self.p = data.shape
        start = 1.5 * random.standard_normal((chains, self.n, self.p))
        self.y = np.where(self.missing, start, data)
        patterns, which = np.unique(self.missing, axis=0, return_inverse=True)
        which = which.ravel()
        self.patterns = [
            (np.flatnonzero(which == i), np.flatnonzero(row), np.flatnonzero(~row)) for i, row in enumerate(patterns) if row.any()
        ]
        self.columns = np.flatnonzero(self.missing.any(axis=0))
        self.within = np.broadcast_to(np.eye(self.p), (chains, self.p, self.p)).copy()
        if groups:
            self.starts = np.flatnonzero(np.r_[True, self.codes[1:] != self.codes[:-1]])
            self.sizes, self.size_of = np.unique(np.bincount(self.codes), return_inverse=True)
            self.between = 0.1 * self.within
            self.mixing = np.ones((chains, self.p))

    def step(self) -> None:
        """Draw parameters, then missing values."""
        centre = self._therapists()[:, self.codes] if self.groups else self._means()
        for rows, lacking, known in self.patterns:
            self._draw_missing(centre, rows, lacking, known)

    def completed(self) -> np.ndarray:
        """Return the completed data in the order they came in, shape (chains, n, p)."""
        values = np.empty_like(self.y)
        values[:, self.order] = self.y
        return values

    def trace(self) -> np.ndarray:
        """Return mean and standard deviation of the imputed values of incomplete variables, shape (chains, 2, incomplete)."""
        lacking = self.missing[:, self.columns]
        n = lacking.sum(axis=0)
        values = np.where(lacking, self.y[:, :, self.columns], 0.0)
        mean = values.sum(axis=1) / n
        squares = (np.where(lacking, values - mean[:, None], 0.0) ** 2).sum(axis=1)
        return np.stack([mean, np.sqrt(squares / n)], axis=1)

    def _means(self) -> np.ndarray:
        """Draw covariance and means of independent clients; return each client's centre."""
        mean = self.y.mean(axis=1)
        centred = self.y - mean[:, None]
        self.within = _inverse_wishart(self.n - 1, np.swapaxes(centred, 1, 2) @ centred, self.random)
        noise = self.random.standard_normal((self.chains, self.p, 1))
        mean = mean + (np.linalg.cholesky(self.within / self.n) @ noise)[..., 0]
        return np.broadcast_to(mean[:, None], self.y.shape)

    def _therapists(self) -> np.ndarray:
        """Draw means, therapists' means and both covariances; return the therapists' means, shape (chains, groups, p)."""
        sizes, of = self.sizes.astype(float)[None, :, None, None], self.size_of
        observed = np.add.reduceat(self.y, self.starts, axis=1) / self.sizes[of][None, :, None]
        precision = np.linalg.inv(self.between[:, None] + self.within[:, None] / sizes)
        counts = np.bincount(of).astype(float)
        total = np.linalg.inv((precision * counts[None, :, None, None]).sum(axis=1))
        weighted = (precision[:, of] @ observed[..., None]).sum(axis=1)
        noise = self.random.standard_normal((self.chains, self.p, 1))
        mean = (total @ weighted + np.linalg.cholesky(_symmetric(total)) @ noise)[..., 0]
        prior, likelihood = np.linalg.inv(self.between)[:, None], sizes * np.linalg.inv(self.within)[:, None]
        spread = _symmetric(np.linalg.inv(prior + likelihood))
        pulled = prior @ mean[:, None, :, None] + likelihood[:, of] @ observed[..., None]
        noise = self.random.standard_normal((self.chains, self.groups, self.p, 1))
        effects = (spread[:, of] @ pulled + np.linalg.cholesky(spread)[:, of] @ noise)[..., 0]
        apart = effects - mean[:, None]
        scale = 2 * _PRIOR_DF * self.mixing[:, None] * np.eye(self.p)
        self.between = _inverse_wishart(self.groups + _PRIOR_DF + self.p - 1, np.swapaxes(apart, 1, 2) @ apart + scale, self.random)
        inverse = np.diagonal(np.linalg.inv(self.between), axis1=1, axis2=2)
        rate = _PRIOR_DF * inverse + 1 / _PRIOR_SCALE**2
        self.mixing = self.random.standard_gamma((_PRIOR_DF + self.p) / 2, (self.chains, self.p)) / rate
        left = self.y - effects[:, self.codes]
        self.within = _inverse_wishart(self.n, np.swapaxes(left, 1, 2) @ left, self.random)
        return effects

    def _draw_missing(self, centre: np.ndarray, rows: np.ndarray, lacking: np.ndarray, known: np.ndarray) -> None:
        covariance = self.within[:, lacking[:, None], lacking]
        mean = centre[:, rows[:, None], lacking]
        if len(known):
            cross = self.within[:, known[:, None], lacking]
            slopes = np.linalg.solve(self.within[:, known[:, None], known], cross)
            mean = mean + (self.y[:, rows[:, None], known] - centre[:, rows[:, None], known]) @ slopes
            covariance = covariance - np.swapaxes(cross, 1, 2) @ slopes
        root = np.linalg.cholesky(_symmetric(covariance))
        if (np.diagonal(root, axis1=1, axis2=2) ** 2 < _SINGULAR).any():
            raise np.linalg.LinAlgError("a variable is determined by others")
        noise = self.random.standard_normal((self.chains, len(rows), len(lacking)))
        self.y[:, rows[:, None], lacking] = mean + noise @ np.swapaxes(root, 1, 2)


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return (matrix + np.swapaxes(matrix, -1, -2)) / 2


def _inverse_wishart(df: float, scale: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return draws of inverse Wishart matrices by Bartlett's decomposition, shape (chains, p, p)."""
    chains, p, _ = scale.shape
    factor = np.tril(random.standard_normal((chains, p, p)), -1)
    factor[:, np.arange(p), np.arange(p)] = np.sqrt(random.chisquare(df - np.arange(p), (chains, p)))
    root = np.swapaxes(np.linalg.solve(factor, np.swapaxes(np.linalg.cholesky(_symmetric(scale)), 1, 2)), 1, 2)
    return root @ np.swapaxes(root, 1, 2)
