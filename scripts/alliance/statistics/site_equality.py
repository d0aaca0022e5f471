"""Which paths of a structural equation model differ between sites: multi-group models of the sites' moments and their tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from alliance.statistics.distributions import chi_squared_p, critical_value, two_sided_p
from alliance.statistics.improper_solution import improper
from alliance.statistics.structural_fit import Comparison, Moments, StructuralFit, compare, fit_structural, score_test
from alliance.statistics.structural_model import Layout, StructuralModel, StructuralTerm, layout

__all__ = ["SiteEquality", "holm", "site_equality"]

_SINGULAR = 1e-8
_PATHS = (
    *("lhs", "op", "rhs", "common", "std_error", "ci_low", "ci_high", "equal_estimate", "equal_std_error"),
    *("score_chi2", "score_df", "score_p", "wald_chi2", "wald_df", "wald_p", "wald_p_holm", "n_sites", "status", "reason"),
)
_SITE_PATHS = (
    *("site", "lhs", "op", "rhs", "n_clients", "estimate", "std_error", "common", "difference", "difference_std_error"),
    *("difference_low", "difference_high", "statistic", "df", "p_value", "p_holm", "status", "reason"),
)


@dataclass(frozen=True)
class SiteEquality:
    """Tests that paths are equal over sites.

    Attributes
    ----------
    overall : Comparison
        All paths are equal: chi-squared difference of the models with equal and with free paths (scaled by Satorra & Bentler, 2001, where
        the sampling covariance of the moments is given).
    paths : DataFrame
        One row a path. ``common, std_error, ci_low, ci_high``: mean of the sites' estimates in the model with free paths, weighted by
        their inverse covariance. ``equal_estimate, equal_std_error``: estimate in the model in which all paths are equal. ``score_*``:
        what releasing this path would do to that model (Sörbom, 1989; with the sampling covariance the generalised score test, Boos,
        1992). ``wald_*``: the sites' estimates are equal, other paths free; without factors that is Cochran's Q. ``wald_p_holm`` is
        adjusted over paths.
    site_paths : DataFrame
        One row a site and path: estimate at the site, its difference from the weighted mean of the other sites and the test that it is
        zero. ``common`` is the mean of all. ``p_holm`` is adjusted over all sites and paths.
    left_out : DataFrame
        ``site, reason``.
    free, equal : StructuralFit or None
    n_sites, n_clients : int
    method, status, reason : str
    """

    overall: Comparison
    paths: pd.DataFrame
    site_paths: pd.DataFrame
    left_out: pd.DataFrame
    free: StructuralFit | None
    equal: StructuralFit | None
    n_sites: int
    n_clients: int
    method: str
    status: str
    reason: str


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return p values adjusted by Holm (1979); NaN stay NaN and do not count."""
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate((known.size - np.arange(known.size)) * p[order]), 1.0)
    return adjusted


def site_equality(
    model: StructuralModel,
    moments: Sequence[Moments],
    sites: Sequence[str],
    *,
    acov: Sequence[ArrayLike] | None = None,
    units: Sequence[float] | None = None,
    min_clients: int = 0,
    level: float = 0.95,
) -> SiteEquality:
    """Test whether the paths of a model are the same at all sites.

    Every site is a group. Paths (``~``) are free, then equal; all else is free at every site, except loadings, which are equal in both
    models, since paths between factors compare only in one unit. Labels that several terms of the model share hold within every site;
    other labels and defined parameters are left aside.

    Parameters
    ----------
    model : StructuralModel
        Of one group, without constraints (``==``).
    moments : sequence of Moments
        One a site. Sites that lack variables of the model or moments, that have fewer clients than ``min_clients`` or than variables plus
        one, or where the model has no solution are left out and named.
    sites : sequence of str
        Their names.
    acov : sequence of array_like, optional
        For each site the sampling covariance of the elements of its covariance matrix (upper triangle row by row), in the order of the
        site's names. Without it clients are independent and normal.
    units : sequence of float, optional
        For each site the independent units (therapists) that ``acov`` was found from. A site is then held against the others by t with
        Satterthwaite's (1946) degrees of freedom; infinite, or left out, for the normal.
    min_clients : int
        Fewest clients of a site.
    level : float
        Confidence level.

    Raises
    ------
    ValueError
        Lengths that differ.
    """
    if any(len(given) != len(sites) for given in (moments, acov, units) if given is not None):
        raise ValueError("every site needs its moments, and its sampling covariance and units where any has them")
    plain = [replace(one, mean=None) for one in moments]
    faults = [_fault(model, one, None if acov is None else acov[place], min_clients) for place, one in enumerate(plain)]
    usable = [place for place, fault in enumerate(faults) if not fault]
    if model.constraints:
        names = ", ".join(item.name for item in model.constraints)
        return _not_tested(model, sites, faults, f"not estimable: constraints between parameters ({names}) do not go with free sites")
    if not any(term.op == "~" for term in model.terms):
        return _not_tested(model, sites, faults, "not estimable: needs a path ('~'); the model has none")
    if len(usable) < 2:
        return _not_tested(model, sites, faults, f"not estimable: needs at least 2 sites with the model's moments; has {len(usable)}")

    def fit(chosen: Sequence[int], equal: bool) -> StructuralFit:
        return fit_structural(
            _by_site(model, len(chosen), keep=equal),
            [plain[place] for place in chosen],
            acov=None if acov is None else [acov[place] for place in chosen],
            groups=[str(sites[place]) for place in chosen],
            mean_structure=False,
            group_equal=(*_shared(model), *(("regressions",) if equal else ())),
            level=level,
        )

    free = fit(usable, False)
    if free.fit is None or improper(free):
        for place in usable:
            faults[place] = _no_solution(fit([place], False))
        kept = [place for place in usable if not faults[place]]
        if len(kept) < 2 or len(kept) == len(usable):
            return _not_tested(model, sites, faults, free.reason if len(kept) > 1 else "not estimable: fewer than 2 sites have a solution")
        usable, free = kept, fit(kept, False)
        if free.fit is None or improper(free):
            return _not_tested(model, sites, faults, free.reason)
    equal = fit(usable, True)
    df = np.asarray([np.inf if units is None else units[place] - 1 for place in usable], dtype=float)
    names = [str(sites[place]) for place in usable]
    return _tested(model, names, free, equal, _left_out(sites, faults), df, level)


def _no_solution(alone: StructuralFit) -> str:
    """Return why a site's own fit can't be compared with that of others."""
    if alone.fit is None:
        return f"the model has no solution there ({alone.reason})"
    why = improper(alone)
    return f"the model has an improper solution there ({why})" if why else ""


def _shared(model: StructuralModel) -> tuple[str, ...]:
    return ("loadings",) if model.latent else ()


def _fault(model: StructuralModel, one: Moments, acov: ArrayLike | None, min_clients: int) -> str:
    """Return why a site is left out, empty if it is not."""
    names = [str(name) for name in one.names]
    lacking = [name for name in model.observed if name not in names]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    where = [names.index(name) for name in model.observed]
    covariance = np.asarray(one.covariance, dtype=float)[np.ix_(where, where)]
    fewest = max(min_clients, len(where) + 1)
    if not one.n >= fewest:
        return f"needs at least {fewest} clients; has {one.n:g}"
    if not np.isfinite(covariance).all():
        return "its covariance matrix has holes"
    variance = np.diagonal(covariance)
    if not (variance > 0).all():
        return f"{model.observed[int(np.argmin(variance))]} does not vary"
    if np.linalg.eigvalsh(covariance / np.sqrt(np.outer(variance, variance)))[0] < _SINGULAR:
        return "its covariance matrix is singular"
    if acov is not None and not np.isfinite(np.asarray(acov, dtype=float)).all():
        return "the sampling covariance of its moments is not known"
    return ""


def _by_site(model: StructuralModel, groups: int, keep: bool, released: str = "") -> StructuralModel:
    """Return the model for several groups: shared labels within each group, those of paths over groups too where they are kept.

    ``released`` is a label that is not kept.
    """
    uses = Counter(label for term in model.terms for label in term.labels)

    def labels(term: StructuralTerm) -> tuple[str, ...]:
        label = term.label(0)
        if uses[label] < 2 or not label:
            return ()
        if (keep and term.op == "~" and label != released) or (term.op == "=~"):
            return (label,)
        return tuple(f"{label}.{group + 1}" for group in range(groups))

    terms = tuple(replace(term, labels=labels(term)) for term in model.terms)
    return replace(model, terms=terms, defined=())


def _tested(
    model: StructuralModel,
    sites: list[str],
    free: StructuralFit,
    equal: StructuralFit,
    left_out: pd.DataFrame,
    df: np.ndarray,
    level: float,
) -> SiteEquality:
    count = len(sites)
    table = free.parameters[(free.parameters["op"] == "~") & free.parameters["free"]]
    keys = list(dict.fromkeys(zip(table["lhs"], table["rhs"])))
    margin = float(critical_value(level))
    common, parts = [], []
    for lhs, rhs in keys:
        own = table[(table["lhs"] == lhs) & (table["rhs"] == rhs)]
        value, variance = own["estimate"].to_numpy(), _covariance(free, model, lhs, rhs, count)
        weight = np.linalg.solve(variance, np.ones(count))
        mean, spread = float(weight @ value / weight.sum()), float(1 / weight.sum())
        gap = value - mean
        chi2 = float(gap @ np.linalg.solve(variance, gap))
        common.append((lhs, rhs, mean, np.sqrt(spread), chi2))
        own_variance = np.diagonal(variance)
        left = own_variance - spread
        with np.errstate(divide="ignore", invalid="ignore"):
            # A site has the share spread / variance of the mean of all: what is left of it is the mean of the others.
            difference = np.where(left > 0, gap * own_variance / left, np.nan)
            error = np.where(left > 0, own_variance / np.sqrt(left), np.nan)
            statistic = difference / error
        df_difference = _satterthwaite(own_variance, df)
        reach = critical_value(level, df_difference)
        parts.append(
            pd.DataFrame(
                {
                    "site": sites,
                    "lhs": lhs,
                    "op": "~",
                    "rhs": rhs,
                    "n_clients": free.n,
                    "estimate": value,
                    "std_error": own["std_error"].to_numpy(),
                    "common": mean,
                    "difference": difference,
                    "difference_std_error": error,
                    "difference_low": difference - reach * error,
                    "difference_high": difference + reach * error,
                    "statistic": statistic,
                    "df": df_difference,
                    "p_value": two_sided_p(statistic, df_difference),
                }
            )
        )
    paths = pd.DataFrame(common, columns=["lhs", "rhs", "common", "std_error", "wald_chi2"]).assign(op="~")
    paths["ci_low"], paths["ci_high"] = paths["common"] - margin * paths["std_error"], paths["common"] + margin * paths["std_error"]
    paths["wald_df"], paths["n_sites"] = count - 1, count
    paths["wald_p"] = chi_squared_p(paths["wald_chi2"], paths["wald_df"])
    paths["wald_p_holm"] = holm(paths["wald_p"])
    site_paths = pd.concat(parts, ignore_index=True)
    site_paths["p_holm"] = holm(site_paths["p_value"])
    notes = [f"free paths: {free.reason}"] if free.reason else []
    status = "flagged" if notes else "estimated"
    site_paths["status"], site_paths["reason"] = status, "; ".join(notes)
    scores = [(np.nan, np.nan)] * len(keys)
    untested = equal.reason if equal.fit is None else improper(equal)
    if untested:
        notes.append(f"no test with equal paths: {untested}")
    else:
        scores = score_test(equal, [_released(model, count, *key) for key in keys], robust=equal.method == "moment_covariance")
        first = equal.parameters[(equal.parameters["group"] == sites[0]) & (equal.parameters["op"] == "~")].set_index(["lhs", "rhs"])
        paths["equal_estimate"] = [first.loc[key, "estimate"] for key in keys]
        paths["equal_std_error"] = [first.loc[key, "std_error"] for key in keys]
    paths["score_chi2"], paths["score_df"] = [one[0] for one in scores], [one[1] for one in scores]
    paths["score_p"] = np.where(np.isfinite(paths["score_chi2"]), chi_squared_p(paths["score_chi2"], paths["score_df"]), np.nan)
    paths["status"], paths["reason"] = "flagged" if notes else "estimated", "; ".join(notes)
    return SiteEquality(
        overall=_untested(notes[-1]) if untested else compare(equal, free),
        paths=paths.reindex(columns=list(_PATHS)),
        site_paths=site_paths.reindex(columns=list(_SITE_PATHS)),
        left_out=left_out,
        free=free,
        equal=equal,
        n_sites=count,
        n_clients=int(sum(free.n)),
        method=free.method,
        status="flagged" if notes else "estimated",
        reason="; ".join(notes),
    )


def _satterthwaite(variance: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Return the degrees of freedom of every site's difference from the others, from each site's variance and its degrees of freedom."""
    weight = 1 / variance
    others = weight.sum() - weight
    brought = weight**2 / df
    with np.errstate(divide="ignore", invalid="ignore"):
        # The mean of the others has the variance 1 / others, to which each of them brings weight / others ** 2.
        spread = variance**2 / df + (brought.sum() - brought) / others**4
        return np.where(spread > 0, (variance + 1 / others) ** 2 / spread, np.inf)


def _covariance(free: StructuralFit, model: StructuralModel, lhs: str, rhs: str, count: int) -> np.ndarray:
    """Return the sampling covariance of one path's estimates at the sites, shape (G, G)."""
    term = next(term for term in _by_site(model, count, keep=False).terms if term.op == "~" and (term.lhs, term.rhs) == (lhs, rhs))
    names = [term.label(group) or term.name + (f".g{group + 1}" if group else "") for group in range(count)]
    return free.vcov.loc[names, names].to_numpy()


def _released(model: StructuralModel, count: int, lhs: str, rhs: str) -> Layout:
    """Return the layout in which one path (with those that share its label) is free at every site."""
    label = next(term.label(0) for term in model.terms if term.op == "~" and (term.lhs, term.rhs) == (lhs, rhs))
    return layout(
        _by_site(model, count, keep=True, released=label),
        count,
        group_equal=(*_shared(model), "regressions"),
        group_partial=(f"{lhs} ~ {rhs}",),
    )


def _left_out(sites: Sequence[str], faults: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame([(str(site), fault) for site, fault in zip(sites, faults) if fault], columns=["site", "reason"])


def _untested(reason: str) -> Comparison:
    return Comparison(None, None, None, None, None, None, "not_estimable", reason)


def _not_tested(model: StructuralModel, sites: Sequence[str], faults: Sequence[str], reason: str) -> SiteEquality:
    keys = [(term.lhs, term.rhs) for term in model.terms if term.op == "~"]
    paths = pd.DataFrame(keys, columns=["lhs", "rhs"]).assign(op="~", n_sites=0, status="not_estimable", reason=reason)
    absent = _untested(reason)
    return SiteEquality(
        absent,
        paths.reindex(columns=list(_PATHS)),
        pd.DataFrame(columns=list(_SITE_PATHS)),
        _left_out(sites, faults),
        None,
        None,
        sum(not fault for fault in faults),
        0,
        "",
        "not_estimable",
        reason,
    )
