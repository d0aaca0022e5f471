"""What a client factor and the alliance explain of the outcome alone and in common, and what all factors explain (claims F5, F6, F14)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.contrasts import result_fields, z_scores
from alliance.questions.alliance_outcome.measures import FORMS
from alliance.questions.client_factors.measures import SiteFactors, category_means, factor_keys, factors_of, same_rater
from alliance.questions.client_factors.pooling import tables_by_scale, with_bounds
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.correlations import published_correlations, published_matrix
from alliance.questions.part import VCOV, Part
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.commonality import adjusted, explained, explained_elsewhere, two_predictors
from alliance.statistics.commonality import partial as partial_of_three
from alliance.statistics.covariance import elements, jacobian, matrix_of, olkin_finn, partial_correlation
from alliance.statistics.jackknife import Jackknifed, covariance_of_sums, cross_products, jackknife
from alliance.variables.client import Measure, measure, order_violations

ALL, BY_CATEGORY = "(all)", "(categories)"
CONTRAST = "correlation_contrast"
FACTOR_ALLIANCE, FACTOR_OUTCOME, ALLIANCE_OUTCOME = "factor with alliance", "factor with outcome", "alliance with outcome"
FACTOR_GIVEN, ALLIANCE_GIVEN = "factor with outcome given alliance", "alliance with outcome given factor"
DIFFERENCE = "alliance - factor"
UNIQUE_FACTOR, UNIQUE_ALLIANCE, SHARED, TOGETHER = "factor alone", "alliance alone", "in common", "together"
SHARES = {UNIQUE_FACTOR: "r_squared_change", UNIQUE_ALLIANCE: "r_squared_change", SHARED: "r_squared_shared", TOGETHER: "r_squared_total"}
QUANTITIES = (FACTOR_ALLIANCE, FACTOR_OUTCOME, ALLIANCE_OUTCOME, FACTOR_GIVEN, ALLIANCE_GIVEN, DIFFERENCE, *SHARES)
EXPLAINED, ADJUSTED, ELSEWHERE = "alliance by factors", "alliance by factors, adjusted", "alliance by factors, other therapists"
ALL_GIVEN, ALL_DIFFERENCE = "alliance with outcome given factors", "given factors - not given"
KEYS = (
    *("factor", "category", "reversed", "alliance_rater", "factor_rater", "outcome_rater", "same_rater", "window", "form", "quantity"),
    "estimate_type",
)
NO_ROWS = "not estimable: needs clients with the factor, the alliance and the outcome; the site sent none"


def forms(options: Mapping[str, Any]) -> list[str]:
    """Return the forms of the outcome: the correlations as they are, and the form of the configuration."""
    return list(dict.fromkeys(["zero_order", options["outcome"]["form"]]))


def estimate(site: SiteData, own: SiteFactors, alliance: Measure, options: Mapping[str, Any]) -> Part:
    """Return the rows of one site.

    Parameters
    ----------
    site : SiteData
    own : SiteFactors
    alliance : Measure
        Alliance of the headline.
    options : mapping
        Sections ``alliance, outcome, pooling`` and ``questions.client_factors``.
    """
    level = {**options, "outcome": {**options["outcome"], "form": "ancova"}}
    outcome, intake = (measure(site, {"construct": name}, level) for name in ("outcome", "intake"))
    part = Part(covariances=pd.DataFrame(columns=VCOV))
    values = own.values(alliance)
    if not (alliance.reason or outcome.reason):
        values = np.where(own.clients.isin(order_violations(alliance, outcome)), np.nan, values)
    late = own.late([alliance])[:, :, 0] if len(alliance.times) else np.zeros(own.x.shape, dtype=bool)
    x = np.where(late, np.nan, own.x)
    ratings = own.ratings(alliance)
    frames = {"alliance": values, "outcome": own.values(outcome), "intake": own.values(intake)}
    for factor in options["questions"]["client_factors"]["unique_shared"]:
        missing = alliance.reason or outcome.reason or (own.found[factor].reason if factor in own.found else f"no factor {factor}")
        column = x[:, list(own.factors).index(factor)]
        for form in forms(options):
            needed = missing or (intake.reason if form != "zero_order" else "")
            _add_pair(part, factor, form, column, frames, needed, ratings, own, options)
    reasons = {"alliance": alliance.reason, "outcome": outcome.reason, "intake": intake.reason}
    names, means = category_means(own, x)
    for together, predictors, labels in ((ALL, x, list(own.factors)), (BY_CATEGORY, means, names)):
        entered = _add_together(part, together, predictors, frames, reasons, ratings, own, options)
        part.facts[f"entered {together}"] = [labels[position] for position in entered]
    return part


def _keys(factor: str, form: str, quantity: str, factor_rater: str, options: Mapping[str, Any]) -> dict[str, Any]:
    factors, rater, outcome = factors_of(options), options["alliance"]["rater"], options["outcome"]["rater"]
    content = factors.get(factor, {"category": ""})
    keys = factor_keys(factor, content, rater, factor_rater, options["questions"]["client_factors"]["window"])
    about = "" if quantity in (EXPLAINED, ADJUSTED, ELSEWHERE) else outcome
    pairs = {
        FACTOR_ALLIANCE: [(factor_rater, rater)],
        FACTOR_OUTCOME: [(factor_rater, outcome)],
        ALLIANCE_OUTCOME: [(rater, outcome)],
        ALLIANCE_GIVEN: [(rater, outcome)],
        UNIQUE_ALLIANCE: [(rater, outcome)],
        ALL_GIVEN: [(rater, outcome)],
        ALL_DIFFERENCE: [(rater, outcome)],
        EXPLAINED: [(factor_rater, rater)],
    }.get(quantity, [(rater, outcome), (factor_rater, outcome)] if about else [(factor_rater, rater)])
    return keys | {
        "parameter": f"{factor}/{form}/{quantity}",
        "form": form,
        "quantity": quantity,
        "outcome_rater": about,
        "same_rater": same_rater(*pairs),
        "estimate_type": _kind(form, quantity),
    }


def _kind(form: str, quantity: str) -> str:
    if quantity in SHARES:
        return SHARES[quantity]
    if quantity in (DIFFERENCE, ALL_DIFFERENCE):
        return CONTRAST
    if quantity in (FACTOR_GIVEN, ALLIANCE_GIVEN, ALL_GIVEN):
        return "partial_correlation"
    of_all = {EXPLAINED: "r_squared_total", ADJUSTED: "r_squared_adjusted", ELSEWHERE: "r_squared_elsewhere"}
    if quantity in of_all:
        return of_all[quantity]
    return "correlation" if quantity == FACTOR_ALLIANCE and form != "ancova" else FORMS[form]


def by_form(covariance: np.ndarray, form: str) -> np.ndarray:
    """Return the covariance of factor, alliance and the outcome in a form, from that of factor, alliance, outcome and intake level.

    Parameters
    ----------
    covariance : ndarray, shape (..., p, p)
        The last two variables are outcome and intake level; for ``zero_order`` the last is the outcome.
    form : str
        ``ancova`` holds the intake level constant in all, ``residual_gain`` in the outcome alone; ``change`` takes it from the outcome.

    Returns
    -------
    ndarray, shape (..., p - 1, p - 1), or as given for ``zero_order``
    """
    if form == "zero_order":
        return covariance
    size = covariance.shape[-1] - 1
    slopes = covariance[..., :size, size] / covariance[..., size, size][..., None]
    turn = np.broadcast_to(np.eye(size, size + 1), (*covariance.shape[:-2], size, size + 1)).copy()
    if form == "change":
        turn[..., size - 1, size] = -1.0
    elif form == "residual_gain":
        turn[..., size - 1, size] = -slopes[..., size - 1]
    else:
        turn[..., :, size] = -slopes
    return turn @ covariance @ np.swapaxes(turn, -1, -2)


def pair_values(covariance: np.ndarray, form: str) -> np.ndarray:
    """Return the numbers of :data:`QUANTITIES` from covariance matrices as for :func:`by_form`, shape (..., p, p) to (..., 10)."""
    of_form = by_form(covariance, form)
    among, factor, alliance = (partial_correlation(of_form, *pair, []) for pair in ((0, 1), (0, 2), (1, 2)))
    given = [partial_of_three(factor, alliance, among), partial_of_three(alliance, factor, among)]
    return np.concatenate(
        [np.stack([among, factor, alliance, *given, alliance - factor], axis=-1), two_predictors(factor, alliance, among)], axis=-1
    )


def _columns(form: str, *columns: np.ndarray, frames: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return columns, alliance, outcome and, where the form needs it, the intake level."""
    names = ["alliance", "outcome", *(["intake"] if form != "zero_order" else [])]
    data = np.column_stack([*columns, *(frames[name] for name in names)])
    if form != "change":
        return data
    # One unit for outcome and intake level, whose difference counts.
    spread = np.nanstd(data[:, -2]) if np.isfinite(data[:, -2]).any() else 1.0
    data[:, -2:] /= spread if spread > 0 else 1.0
    return data


def _ready(data: np.ndarray, form: str) -> np.ndarray:
    return data - data.mean(axis=0) if form == "change" and len(data) else z_scores(data)


def _add_pair(
    part: Part,
    factor: str,
    form: str,
    column: np.ndarray,
    frames: Mapping[str, np.ndarray],
    missing: str,
    ratings: np.ndarray,
    own: SiteFactors,
    options: Mapping[str, Any],
) -> None:
    """Add all numbers of one factor and form, on the clients who have factor, alliance and outcome."""
    data = _columns(form, column, frames=frames)
    complete = np.isfinite(data).all(axis=1)
    result = _jackknifed(data, complete, form, lambda covariance: pair_values(covariance, form), len(QUANTITIES), own, options)
    _add(part, factor, form, QUANTITIES, result, missing, int(ratings[complete].sum()), len(data), own, options)
    if not (missing or result.reason):
        names = [f"{factor}/{form}/{quantity}" for quantity in QUANTITIES[:3]]
        pairs = [(0, 1), (0, 2), (1, 2)]
        rows = [{"parameter1": names[i], "parameter2": names[j], "cov": float(result.vcov[i, j])} for i, j in pairs]
        part.covariances = _with(part.covariances, rows)


def _jackknifed(
    data: np.ndarray,
    complete: np.ndarray,
    form: str,
    function: Callable[[np.ndarray], np.ndarray],
    size: int,
    own: SiteFactors,
    options: Mapping[str, Any],
) -> Jackknifed:
    therapists = None if own.therapists is None else own.therapists[complete]
    rows = cross_products(_ready(data[complete], form))
    return jackknife(rows, lambda sums: function(covariance_of_sums(sums)), size, therapists, min_rows=options["pooling"]["min_clients"])


def _add(
    part: Part,
    factor: str,
    form: str,
    quantities: Sequence[str],
    result: Jackknifed,
    missing: str,
    sessions: int,
    clients: int,
    own: SiteFactors,
    options: Mapping[str, Any],
    n_factors: int | None = None,
) -> None:
    fields = result_fields(result, own.therapists_known)
    fields |= {"n_sessions": sessions, "share_missing": 1 - result.n / clients if clients else None, "n_factors": n_factors}
    rater = own.found[factor].rater if factor in own.found else ""
    for position, quantity in enumerate(quantities):
        row = _keys(factor, form, quantity, rater, options) | fields
        if missing or result.reason:
            reason = f"not estimable: {missing or result.reason}"
            part.add(row | {"method": "none", "status": "not_estimable", "reason": reason})
        else:
            part.add(row | {"estimate": result.estimate[position]}, result.vcov[position, position])


def chosen_factors(x: np.ndarray, present: np.ndarray, held: np.ndarray | None = None) -> list[int]:
    """Return the factors that enter together: known of at least half of the clients, and not determined by those before or by ``held``.

    Parameters
    ----------
    x : ndarray, shape (n, m)
    present : ndarray of bool, shape (n,)
        Clients with the alliance.
    held : ndarray, shape (n,), optional
        What is held constant anyway (the intake level).
    """
    known = np.isfinite(x[present]).mean(axis=0) >= 0.5 if present.any() else np.zeros(x.shape[1], dtype=bool)
    candidates = [int(position) for position in np.flatnonzero(known)]
    complete = present & np.isfinite(x[:, candidates]).all(axis=1)
    chosen: list[int] = []
    base = [] if held is None else [held]
    for position in candidates:
        trial = np.column_stack([*base, *(x[:, one] for one in chosen), x[:, position]])[complete]
        trial = trial[np.isfinite(trial).all(axis=1)]
        scored = z_scores(trial)
        if len(trial) > trial.shape[1] and np.linalg.eigvalsh(scored.T @ scored / len(trial))[0] > 1e-8:
            chosen.append(position)
    return chosen


def _add_together(
    part: Part,
    together: str,
    x: np.ndarray,
    frames: Mapping[str, np.ndarray],
    reasons: Mapping[str, str],
    ratings: np.ndarray,
    own: SiteFactors,
    options: Mapping[str, Any],
) -> list[int]:
    """Add what several predictors together explain of the alliance, and alliance with outcome given all of them.

    Returns the positions of those that entered.
    """
    per_factor = options["questions"]["client_factors"]["clients_per_factor"]
    present = np.isfinite(frames["alliance"])
    chosen = chosen_factors(x, present)
    data = np.column_stack([x[:, chosen], frames["alliance"]])
    complete = np.isfinite(data).all(axis=1)
    p = len(chosen)
    missing = reasons["alliance"] or _too_few(p, int(complete.sum()), per_factor)
    scored = cross_products(z_scores(data[complete]))

    def of_alliance(sums: np.ndarray) -> np.ndarray:
        r_squared = explained(covariance_of_sums(sums), p, list(range(p)))
        return np.stack([r_squared, adjusted(r_squared, sums[..., 0, 0], p)], axis=-1)

    therapists = None if own.therapists is None else own.therapists[complete]
    result = jackknife(scored, of_alliance, 2, therapists, min_rows=options["pooling"]["min_clients"]) if p else _nothing(data, own)
    sessions = int(ratings[complete].sum())
    _add(part, together, "zero_order", (EXPLAINED, ADJUSTED), result, missing, sessions, len(data), own, options, p)
    _add_elsewhere(part, together, scored, therapists, result, missing, p, sessions, len(data), own, options)
    for form in forms(options):
        needed = reasons["alliance"] or reasons["outcome"] or (reasons["intake"] if form != "zero_order" else "")
        entered = chosen_factors(x, present, frames["intake"] if form != "zero_order" and not reasons["intake"] else None)
        data = _columns(form, *(x[:, one] for one in entered), frames=frames)
        complete = np.isfinite(data).all(axis=1)
        needed = needed or _too_few(len(entered), int(complete.sum()), per_factor)
        held = list(range(len(entered)))

        def given(covariance: np.ndarray, held: list[int] = held, form: str = form) -> np.ndarray:
            of_form = by_form(covariance, form)
            last = len(held)
            before, after = (partial_correlation(of_form, last, last + 1, one) for one in ([], held))
            return np.stack([before, after, after - before], axis=-1)

        result = _jackknifed(data, complete, form, given, 3, own, options) if entered else _nothing(data, own)
        sessions = int(ratings[complete].sum())
        quantities = (ALLIANCE_OUTCOME, ALL_GIVEN, ALL_DIFFERENCE)
        _add(part, together, form, quantities, result, needed, sessions, len(data), own, options, len(entered))
    return chosen


def _too_few(factors: int, clients: int, per_factor: float) -> str:
    needed = int(np.ceil(per_factor * max(factors, 1)))
    if not factors:
        return "no factor is known of half of the clients with the alliance"
    return f"needs at least {needed} clients with all {factors} factors; has {clients}" if clients < needed else ""


def _nothing(data: np.ndarray, own: SiteFactors) -> Jackknifed:
    return jackknife(cross_products(data[:0]), lambda sums: sums, 1, own.therapists if own.therapists is None else own.therapists[:0])


def _add_elsewhere(
    part: Part,
    together: str,
    scored: np.ndarray,
    therapists: np.ndarray | None,
    result: Jackknifed,
    missing: str,
    p: int,
    sessions: int,
    clients: int,
    own: SiteFactors,
    options: Mapping[str, Any],
) -> None:
    """Add how much the factors explain of the alliance with therapists that the coefficients were not estimated from."""
    row = _keys(together, "zero_order", ELSEWHERE, "", options)
    row |= result_fields(result, own.therapists_known) | {"n_sessions": sessions, "n_factors": p}
    row["share_missing"] = 1 - result.n / clients if clients else None
    reason = missing or result.reason
    if not reason and result.method != "cluster_jackknife":
        reason = "needs enough known therapists to leave each out in turn"
    if reason:
        part.add(row | {"method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"})
        return
    groups = pd.factorize(therapists)[0]
    sums = np.zeros((groups.max() + 1, *scored.shape[1:]))
    np.add.at(sums, groups, scored)
    part.add(row | {"estimate": explained_elsewhere(sums, p, list(range(p))), "method": "cross_validated"})


def published(sent: Published, options: Mapping[str, Any]) -> Part:
    """Return the rows of a site that published a matrix of correlations; clients are taken as independent and normal."""
    matrix = {frozenset((row.var1, row.var2)): (row.r, row.n) for row in published_correlations(sent).itertuples(index=False)}
    known = {name for pair in matrix for name in pair}
    intake = next((name for name in ("intake", "intake_level") if name in known), "intake")
    part, factors = Part(covariances=pd.DataFrame(columns=VCOV)), factors_of(options)
    for factor in options["questions"]["client_factors"]["unique_shared"]:
        sign = -1.0 if factors[factor].get("reversed") else 1.0
        for form in forms(options):
            names = [factor, "alliance", "outcome", *([intake] if form != "zero_order" else [])]
            r, n, reason = published_matrix(names, matrix, options["pooling"]["min_clients"])
            reason = reason or ("a published matrix holds no change scores" if form == "change" else "")
            turned = r * np.outer([sign, *[1.0] * (len(r) - 1)], [sign, *[1.0] * (len(r) - 1)])
            rows = [_keys(factor, form, quantity, "", options) for quantity in QUANTITIES]
            if reason:
                for row in rows:
                    part.add(row | {"method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}", "n_clients": n})
                continue
            size = len(turned)
            upper = elements(turned, diagonal=False)
            slopes = jacobian(
                lambda stack, form=form, size=size: pair_values(matrix_of(stack, size, diagonal=False), form), upper, np.ones(len(upper))
            )
            vcov = slopes @ olkin_finn(turned, n) @ slopes.T
            for position, row in enumerate(rows):
                value = float(pair_values(turned[None], form)[0, position])
                fields = {"estimate": value, "n_clients": n, "method": "normal_theory", "status": "estimated", "reason": ""}
                part.add(row | fields, vcov[position, position])
            pairs = [
                {"parameter1": rows[i]["parameter"], "parameter2": rows[j]["parameter"], "cov": float(vcov[i, j])}
                for i, j in ((0, 1), (0, 2), (1, 2))
            ]
            part.covariances = _with(part.covariances, pairs)
    for together in (ALL, BY_CATEGORY):
        for quantity in (EXPLAINED, ADJUSTED, ELSEWHERE):
            _add_not_sent(part, together, "zero_order", quantity, options)
        for form in forms(options):
            for quantity in (ALLIANCE_OUTCOME, ALL_GIVEN, ALL_DIFFERENCE):
                _add_not_sent(part, together, form, quantity, options)
    return part


def _with(covariances: pd.DataFrame, rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.concat([covariances, pd.DataFrame(rows)], ignore_index=True) if len(covariances) else pd.DataFrame(rows)


def _add_not_sent(part: Part, together: str, form: str, quantity: str, options: Mapping[str, Any]) -> None:
    row = _keys(together, form, quantity, "", options)
    part.add(row | {"method": "none", "status": "not_estimable", "reason": NO_ROWS.replace("the factor", "all factors")})


def pool(gathered: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], model: str) -> pd.DataFrame:
    """Return the rows of ``unique_shared``.

    Shares of variance of one factor and the alliance are pooled as what the pooled correlations imply, since shares near zero have standard
    errors near zero too and would weigh too much.

    Parameters
    ----------
    gathered : DataFrame
        Estimates of this part, from :func:`alliance.questions.effects.gather`.
    summaries : sequence of SiteSummary
    options : mapping
        Sections ``pooling``, ``outcome`` and ``questions.client_factors``, and ``seed``.
    model : str
        Name of this part in the summaries.
    """
    if gathered.empty:
        first = pd.DataFrame([{**dict.fromkeys(KEYS, ""), "factor": ALL, "quantity": EXPLAINED, "estimate_type": "r_squared_total"}])
        return effects.absent_site_rows(summaries, first, "identity")
    rows = tables_by_scale(gathered, KEYS, summaries, options, NO_ROWS)
    replaced = rows["site"].eq(POOLED) & (rows["quantity"].isin([*SHARES, ELSEWHERE]))
    shares = [_pooled_shares(own, rows[replaced], summaries, options, model) for _, own in gathered.groupby(["factor", "form"], sort=True)]
    elsewhere = [
        _weighted(own, rows[replaced & rows["quantity"].eq(ELSEWHERE) & rows["factor"].eq(factor)], options)
        for factor, own in gathered[gathered["quantity"].eq(ELSEWHERE)].groupby("factor", sort=True)
    ]
    rows = effects.stack(rows[~replaced], *shares, *elsewhere)
    counted = gathered.assign(size=gathered["n_factors"].where(gathered["status"].isin(WITH_NUMBERS)))
    sizes = counted.groupby(["factor", "form", "quantity"])["size"].mean()
    middle = pd.Series(sizes.reindex(pd.MultiIndex.from_frame(rows[["factor", "form", "quantity"]])).to_numpy(), index=rows.index)
    own = rows["n_factors"] if "n_factors" in rows else pd.Series(np.nan, index=rows.index)
    rows = rows.assign(n_factors=own.where(rows["site"].ne(POOLED), middle))
    bound = options["questions"]["client_factors"]["over_time"]["equivalence_bound"]
    return with_bounds(_possible(rows), bound, options["pooling"], ("correlation", "partial_correlation", "part_correlation", CONTRAST))


def _possible(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the limits of shares cut at 0 and 1 (shared parts may be below 0), never beyond the estimate."""
    shares = rows["estimate_type"].isin(("r_squared_change", "r_squared_total", "r_squared_adjusted")).to_numpy()
    low, high, value = (rows[name].astype(float) for name in ("ci_low", "ci_high", "estimate"))
    return rows.assign(
        ci_low=np.where(shares & low.notna(), np.minimum(np.maximum(low, 0.0), value), low),
        ci_high=np.where(shares & high.notna(), np.maximum(np.minimum(high, 1.0), value), high),
    )


def _weighted(own: pd.DataFrame, pooled: pd.DataFrame, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the mean over sites, weighted by clients, of numbers without a standard error."""
    if pooled.empty:
        return pooled
    used = own[own["status"].isin(WITH_NUMBERS)]
    rows = pooled.iloc[:1].drop(columns=[name for name in ("reason", "status", "method") if name in pooled])
    if len(used) < options["pooling"]["min_sites"]:
        reason = effects.too_few_sites(len(used), options["pooling"])
        return rows.assign(n_sites=len(used), status="not_estimable", reason=reason, method="none")
    n = used["n_clients"].astype(float)
    therapists = used["n_therapists"].sum() if used["n_therapists"].notna().all() else None
    counts = {"n_sites": len(used), "n_clients": n.sum(), "n_therapists": therapists, "n_sessions": used["n_sessions"].sum()}
    value = float((used["estimate"] * n).sum() / n.sum())
    return rows.assign(**counts, estimate=value, share_missing=None, status="estimated", reason="", method="weighted_by_clients")


def _pooled_shares(
    own: pd.DataFrame, pooled: pd.DataFrame, summaries: Sequence[SiteSummary], options: Mapping[str, Any], model: str
) -> pd.DataFrame:
    """Return the shares that the pooled correlations of factor, alliance and outcome imply, by the delta method."""
    from alliance.statistics.multivariate_meta import pool_coefficients, pooled_function
    from alliance.statistics.resampling import generator

    factor, form = own["factor"].iloc[0], own["form"].iloc[0]
    head = pooled[pooled["factor"].eq(factor) & pooled["form"].eq(form) & pooled["quantity"].isin(list(SHARES))]
    if head.empty:
        return head
    pooling, on_z = options["pooling"], options["pooling"]["metric"] == "fisher_z"
    names = [f"{factor}/{form}/{quantity}" for quantity in QUANTITIES[:3]]
    y, v, sites = [], [], []
    for summary in sorted(summaries, key=lambda one: one.site):
        found = own[own["site"].eq(summary.site)].set_index("parameter")["estimate"].reindex(names).to_numpy(dtype=float)
        if not np.isfinite(found).all():
            continue
        known = summary.vcov[summary.vcov["model"].eq(model)].set_index(["parameter1", "parameter2"])["cov"]
        vcov = np.array([[known.get((one, two), known.get((two, one), np.nan)) for two in names] for one in names])
        slope = 1 / (1 - found**2) if on_z else np.ones(3)
        y.append(np.arctanh(found) if on_z else found)
        v.append(vcov * np.outer(slope, slope))
        sites.append(summary.site)
    if len(sites) < pooling["min_sites"]:
        return head
    likelihood = "fixed" if pooling["tau2"] == "fixed" else "reml"
    fit = pool_coefficients(np.array(y), np.array(v), names, likelihood=likelihood, interval=pooling["interval"], level=pooling["level"])
    used = own[own["site"].isin(sites) & own["quantity"].eq(FACTOR_ALLIANCE)]
    flagged = effects.flagged_sites(int(used["status"].eq("flagged").sum()), len(used))
    counts = {name: used[name].sum() if used[name].notna().all() else None for name in ("n_clients", "n_therapists", "n_sessions")}
    rows = []
    for row in head.to_dict("records"):
        position = list(SHARES).index(row["quantity"])

        def share(points: np.ndarray, position: int = position) -> np.ndarray:
            r = np.tanh(points) if on_z else points
            return two_predictors(r[..., 1], r[..., 2], r[..., 0])[..., position]

        found = pooled_function(fit, share, generator(options["seed"], "client_factors", factor, form), level=pooling["level"], draws=2)
        kept = {key: row[key] for key in (*KEYS, "site", "scale")} | counts | {"n_sites": len(sites)}
        if found.estimate is None:
            rows.append({**kept, "method": "none", "status": "not_estimable", "reason": found.reason})
            continue
        reason = "; ".join(one for one in (found.reason, flagged) if one)
        numbers = {name: getattr(found, name) for name in ("estimate", "std_error", "ci_low", "ci_high")}
        status = {"method": "multivariate_reml", "status": "flagged" if reason else "estimated", "reason": reason}
        rows.append({**kept, **numbers, **status})
    return pd.DataFrame(rows)


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    found = table[table["status"].isin(WITH_NUMBERS)]
    sentences = []
    factors = sorted(set(found.loc[found["quantity"].eq(SHARED), "factor"]))
    if factors:
        text = (
            f"{', '.join(factors)} and the alliance were set beside each other as predictors of the outcome on the same clients: partial "
            "correlations both ways, and the variance each explains alone and in common (commonality analysis)."
        )
        if found["site"].eq(POOLED).any():
            text += (
                " Over sites, shares are what all correlations imply that were pooled together, with their covariances; they need not "
                "follow from the correlations beside them, of which each was pooled by itself."
            )
        sentences.append(Sentence(text, ("mood_1971", "steiger_1980")))
    if found["quantity"].eq(ADJUSTED).any():
        text = (
            "All factors known of at least half of a site's clients were entered together to explain the alliance; the share they explain "
            "was adjusted for their number, and taken again with therapists who were left out when the coefficients were estimated."
        )
        sentences.append(Sentence(text, ()))
    return sentences
