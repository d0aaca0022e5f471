"""Fitting confirmatory factor models and telling of them in rows: fit, loadings, correlations of factors, comparisons, shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.measurement.factor_models import COMPARISONS, AbsentModel, FactorModel, nested
from alliance.statistics.bifactor import Share, bifactor
from alliance.statistics.covariance import cluster_codes
from alliance.statistics.distributions import critical_value
from alliance.statistics.resampling import MIN_CLUSTERS
from alliance.statistics.structural_fit import Moments, StructuralFit, compare, fit_structural, parse_structural

SAME_FACTOR = 0.9
ROBUST, NORMAL, POOLED_COVARIANCE = "maximum_likelihood_robust", "maximum_likelihood", "pooled_covariance"
FIT = "fit_index"
FIRST_INDEX = "chi2"
UNSCALED = "the difference has no usable scaling factor"

Row = tuple[dict[str, Any], float]
"""A row of estimates and the variance of its estimate (NaN: not known)."""


@dataclass(frozen=True)
class Sample:
    """What factor models of one set of variables are fitted to: rows of clients, or a covariance matrix.

    Attributes
    ----------
    names : list of str
        Variables.
    n : int
        Clients, or degrees of freedom of the covariance plus one.
    covariance : ndarray, shape (p, p)
        Divisor n - 1.
    rows : ndarray, shape (n, p), or None
        Complete answers.
    therapists : ndarray, shape (n,), or None
        Therapist of every row, where known.
    method : str
        What rows without robust errors are called.
    """

    names: list[str]
    n: int
    covariance: np.ndarray
    rows: np.ndarray | None = None
    therapists: np.ndarray | None = None
    method: str = NORMAL

    @classmethod
    def of_rows(cls, names: Sequence[str], rows: np.ndarray, therapists: np.ndarray | None) -> Sample:
        """Return the sample of complete answers."""
        covariance = np.atleast_2d(np.cov(rows, rowvar=False)) if len(rows) > 1 else np.full((len(names), len(names)), np.nan)
        return cls(list(names), len(rows), covariance, rows, therapists)

    @property
    def n_therapists(self) -> int | None:
        """Number of therapists, None where not known."""
        return None if self.therapists is None else cluster_codes(self.therapists)[1]

    @property
    def df(self) -> float:
        """Degrees of freedom of intervals: therapists less one where errors are robust, else infinite."""
        return self.n_therapists - 1.0 if self.robust else np.inf

    @property
    def robust(self) -> bool:
        """Whether standard errors respect clients who share a therapist."""
        return self.rows is not None and self.n_therapists is not None and self.n_therapists >= MIN_CLUSTERS

    def fault(self, clients_per_variable: float, min_clients: int) -> str:
        """Return in words what is lacking for any factor model, empty where nothing is."""
        needed = max(int(np.ceil(clients_per_variable * len(self.names))), min_clients, len(self.names) + 1)
        if self.n < needed:
            return f"needs at least {needed} clients with all {len(self.names)} variables; has {self.n}"
        constant = [name for name, variance in zip(self.names, np.diagonal(self.covariance)) if not variance > 1e-12]
        if constant:
            return f"needs variables that differ between clients; {', '.join(constant)} do not"
        return ""


def fit(model: FactorModel, sample: Sample, level: float) -> StructuralFit:
    """Return the model's fit, factors with variance 1; standard errors and test respect therapists where the sample is robust."""
    return fit_syntax(model.syntax, sample, level, orthogonal=bool(model.general))


def fit_syntax(syntax: str, sample: Sample, level: float, *, orthogonal: bool = False) -> StructuralFit:
    """Return the fit of a model written out, factors with variance 1."""
    parsed = parse_structural(syntax, std_lv=True, orthogonal=orthogonal)
    if sample.robust:
        frame = pd.DataFrame(sample.rows, columns=sample.names)
        found = fit_structural(parsed, rows=frame, clusters=[sample.therapists], level=level)
        if found.status != "not_estimable":
            return found
    return fit_structural(parsed, Moments(sample.n, sample.covariance, None, sample.names), level=level)


def method_of(found: StructuralFit, sample: Sample) -> str:
    """Return how a fit was made, as the tables call it."""
    return ROBUST if found.scaled is not None else sample.method


def model_rows(models: Sequence[FactorModel | AbsentModel], sample: Sample, fault: str, level: float) -> Iterator[Row]:
    """Yield the rows of several models of the same variables, and of their comparisons.

    Rows hold ``structure, factor, indicator, index, estimate_type, estimate, ci_low, ci_high, method, status, reason``.

    Parameters
    ----------
    models : sequence
        Models of the same variables.
    sample : Sample
    fault : str
        Why nothing can be fitted; empty where it can.
    level : float
        Confidence level.
    """
    fits: dict[str, tuple[FactorModel, StructuralFit]] = {}
    for model in models:
        reason = fault or (model.reason if isinstance(model, AbsentModel) else "")
        if not reason:
            found = upright(fit(model, sample, level))
            reason = found.reason if found.status == "not_estimable" else ""
        if reason:
            yield not_estimable(model.name, reason)
            continue
        fits[model.name] = (model, found)
        yield from _rows_of(model, found, sample, level)
    yield from _comparisons(fits, sample)


def not_estimable(structure: str, reason: str) -> Row:
    """Return the one row of a model that cannot be fitted."""
    fields = {"structure": structure, "estimate_type": FIT, "index": FIRST_INDEX, "method": "none", "status": "not_estimable"}
    return {**fields, "reason": reason if reason.startswith("not estimable") else f"not estimable: {reason}"}, np.nan


def upright(found: StructuralFit) -> StructuralFit:
    """Return the same solution with every factor turned so that its loadings sum to a positive number."""
    table = found.parameters
    if table["standardized"].isna().all():
        return found
    loadings = table[table["op"].eq("=~")]
    sums = loadings.groupby("lhs", sort=False)["standardized"].sum()
    turned = set(sums.index[sums < 0])
    if not turned:
        return found
    flip = table["op"].eq("=~") & table["lhs"].isin(turned)
    flip |= table["op"].eq("~~") & (table["lhs"].isin(turned) ^ table["rhs"].isin(turned))
    sign = np.where(flip, -1.0, 1.0)
    signed = table.assign(**{name: table[name] * sign for name in ("estimate", "standardized", "statistic")})
    for low, high in (("ci_low", "ci_high"), ("standardized_low", "standardized_high")):
        signed[low], signed[high] = np.where(flip, -table[high], table[low]), np.where(flip, -table[low], table[high])
    names = [f"{row.lhs}{row.op}{row.rhs}" for row in table[flip].itertuples()]
    change = pd.Series(1.0, index=found.vcov.index)
    change[[name for name in names if name in change.index]] = -1.0
    return replace(found, parameters=signed, vcov=found.vcov * np.outer(change, change))


def measures_of(found: StructuralFit) -> dict[str, float | None]:
    """Return the fit measures of a model; scaled for therapists where errors are robust (CFI, TLI and RMSEA then the robust ones)."""
    plain, scaled = found.fit, found.scaled
    values: dict[str, float | None] = {name: getattr(plain, name) for name in ("chi2", "df", "p_value", "cfi", "tli", "rmsea")}
    values |= {"rmsea_low": plain.rmsea_low, "rmsea_high": plain.rmsea_high, "srmr": plain.srmr, "aic": found.aic, "bic": found.bic}
    if scaled is not None and plain.df > 0:
        values |= {name: getattr(scaled.scaled, name) for name in ("chi2", "p_value")}
        for name in ("cfi", "tli", "rmsea", "rmsea_low", "rmsea_high"):
            head, _, end = name.partition("_")
            robust = getattr(scaled, f"{head}_robust{'_' + end if end else ''}")
            values[name] = getattr(scaled.scaled, name) if robust is None else robust
    return values


def fit_rows(found: StructuralFit, common: Mapping[str, Any]) -> Iterator[Row]:
    """Yield one row an index of fit."""
    status, reason = _joined(found, "no degrees of freedom are left, the model fits any data" if found.fit.df == 0 else "")
    for index, value in measures_of(found).items():
        if value is not None and np.isfinite(value):
            yield {**common, "estimate_type": FIT, "index": index, "estimate": float(value), "status": status, "reason": reason}, np.nan


def improper(found: StructuralFit) -> str:
    """Return in words what is improper in a solution; empty where nothing is."""
    return f"improper solution: {found.reason}" if found.reason else ""


def not_apart(correlation: float) -> str:
    """Return in words that two factors correlate too highly to be told apart; empty where they do not."""
    same = abs(correlation) > SAME_FACTOR
    return f"the two factors are not to be interpreted apart: they correlate above {SAME_FACTOR:g}" if same else ""


def _joined(found: StructuralFit, *notes: str) -> tuple[str, str]:
    reasons = [improper(found), *notes]
    reason = "; ".join(note for note in reasons if note)
    return ("flagged" if reason else "estimated"), reason


def _rows_of(model: FactorModel, found: StructuralFit, sample: Sample, level: float) -> Iterator[Row]:
    common = {"structure": model.name, "method": method_of(found, sample)}
    yield from fit_rows(found, common)
    table, margin = found.parameters, margin_of(found, sample, level)
    for row in table[table["op"].eq("=~")].itertuples():
        yield standardised(
            row, margin, {**common, "factor": row.lhs, "indicator": row.rhs, "estimate_type": "loading_standardised"}, *_joined(found)
        )
    latent = set(model.factors)
    between = table[table["op"].eq("~~") & table["lhs"].isin(latent) & table["rhs"].isin(latent) & table["lhs"].ne(table["rhs"])]
    if not model.general:
        for row in between.itertuples():
            note = not_apart(row.standardized)
            factors = {"factor": f"{row.lhs} ~~ {row.rhs}", "estimate_type": "factor_correlation"}
            yield standardised(row, margin, {**common, **factors}, *_joined(found, note))
    negative = table[table["op"].eq("~~") & table["lhs"].eq(table["rhs"]) & table["standardized"].lt(0) & ~table["lhs"].isin(latent)]
    for row in negative.itertuples():
        fields = {**common, "indicator": row.lhs, "estimate_type": "residual_variance_standardised"}
        yield standardised(row, margin, fields, *_joined(found))
    if model.general:
        yield from _shares(model, found, common, level, sample.df if found.scaled is not None else np.inf)


def standardised(row: Any, margin: float, fields: Mapping[str, Any], status: str, reason: str) -> Row:
    """Return the row of a standardised parameter, with the interval of ``margin`` standard errors."""
    value, error = row.standardized, row.std_error_standardized
    limits = {"ci_low": value - margin * error, "ci_high": value + margin * error} if np.isfinite(error) else {}
    return {**fields, "estimate": value, "status": status, "reason": reason, **limits}, error**2


def margin_of(found: StructuralFit, sample: Sample, level: float) -> float:
    """Return how many standard errors an interval reaches: by t (therapists - 1) where errors respect therapists, else by the normal."""
    return float(critical_value(level, sample.df if found.scaled is not None else np.inf))


def _shares(model: FactorModel, found: StructuralFit, common: Mapping[str, Any], level: float, df: float) -> Iterator[Row]:
    of = {name: factor for factor, names in model.factors.items() for name in names}
    items, factors = list(model.indicators), list(model.factors)
    names = [f"{model.general}=~{item}" for item in items]
    names += [f"{of[item]}=~{item}" for item in items] + [f"{item}~~{item}" for item in items]
    values = found.parameters.set_index(found.parameters["lhs"] + found.parameters["op"] + found.parameters["rhs"])["estimate"]
    estimates = values[names].to_numpy(dtype=float).reshape(3, -1)
    status, reason = _joined(found)
    if (estimates[2] < 0).any():
        for kind in ("omega_hierarchical", "explained_common_variance"):
            fields = {**common, "factor": model.general, "estimate_type": kind, "method": "none", "status": "not_estimable"}
            yield {**fields, "reason": f"not estimable: {reason}"}, np.nan
        return
    vcov = found.vcov.loc[names, names].to_numpy()
    shares = bifactor(*estimates, [factors.index(of[item]) for item in items], vcov, level=level, df=df)
    named = [(shares.omega_hierarchical, "omega_hierarchical", model.general)]
    named += [(share, "omega_subscale", factor) for share, factor in zip(shares.omega_subscale, factors)]
    named.append((shares.explained_common_variance, "explained_common_variance", model.general))
    for share, kind, factor in named:
        yield _share_row(share, {**common, "factor": factor, "estimate_type": kind, "status": status, "reason": reason})
    fields = {**common, "factor": model.general, "estimate_type": "uncontaminated_correlations", "method": "counted", "status": "estimated"}
    yield {**fields, "estimate": shares.uncontaminated_correlations, "reason": ""}, np.nan


def _share_row(share: Share, fields: Mapping[str, Any]) -> Row:
    limits = {"ci_low": share.ci_low, "ci_high": share.ci_high} if np.isfinite(share.std_error) else {}
    return {**fields, "estimate": share.estimate, **limits}, share.std_error**2


def _comparisons(fits: Mapping[str, tuple[FactorModel, StructuralFit]], sample: Sample) -> Iterator[Row]:
    """Yield how much worse the more restricted of two models fits: differences of CFI, AIC and BIC, of chi-squared where nested."""
    for first, second in _compared(fits):
        (small, restricted), (large, full) = fits[first], fits[second]
        common = {"structure": f"{first} against {second}", "method": method_of(full, sample)}
        one, two = measures_of(restricted), measures_of(full)
        notes = [f"{improper(found)} ({name})" for name, (_, found) in fits.items() if name in (first, second) and found.reason]
        status, reason = ("flagged" if notes else "estimated"), "; ".join(notes)
        for index in ("cfi", "aic", "bic"):
            fields = {**common, "estimate_type": "fit_difference", "index": index, "status": status, "reason": reason}
            yield {**fields, "estimate": float(one[index] - two[index])}, np.nan
        fields = {**common, "estimate_type": "chi2_difference", "index": FIRST_INDEX}
        if not nested(small, large):
            reason = f"not estimable: needs nested models; {first} is not {second} with restrictions"
            yield {**fields, "method": "none", "status": "not_estimable", "reason": reason}, np.nan
            continue
        test = compare(restricted, full)
        if test.chi2 is None:
            yield {**fields, "method": "none", "status": "not_estimable", "reason": f"not estimable: {test.reason}"}, np.nan
            continue
        if UNSCALED in test.reason:
            own = test.reason[test.reason.index(UNSCALED) :]
            status, reason = "flagged", "; ".join(one for one in (reason, own) if one)
        for index, value in ((FIRST_INDEX, test.chi2), ("df", test.df), ("p_value", test.p_value)):
            yield {**fields, "index": index, "estimate": float(value), "status": status, "reason": reason}, np.nan


def _compared(fits: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [pair for pair in COMPARISONS if set(pair) <= set(fits)]
