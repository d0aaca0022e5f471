"""Linear mixed models of nested data (session in client in therapist in site), intraclass correlations, and parts of a predictor by level.

With nested random effects the likelihood needs the rows only once: cross-products of all columns are summed within the innermost units, and
the random effects of each level are then eliminated unit by unit, from the inside out (the block elimination of Bates, Mächler, Bolker &
Walker, 2015, written for nesting). One evaluation costs the number of units, not of rows. Criteria, parametrisation and degrees of freedom
are those of lme4 and lmerTest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from alliance.statistics.covariance import cluster_codes
from alliance.statistics.distributions import chi_squared_quantile, critical_value, two_sided_p

if TYPE_CHECKING:
    import pandas as pd

INTERCEPT = "1"
MIN_UNITS = 5
MIN_MEMBERS = 2
FEW_UNITS = 20
# As isSingular of lme4: a standard deviation below this share of the residual one is zero.
SINGULAR = 1e-4
_DEPENDENT = 1e-10
# Standard deviations over that of the residual beyond which nothing is sought, and how far log sigma may move in a profile.
_LARGEST = 1e3
_LOG_SIGMA = 3.0
_START = (1.0, 0.2)
_ANGLES = (np.pi / 2, 0.3, np.pi - 0.3)
_NEAR_ZERO = 0.02
_FROM_ZERO = (0.03, 0.1, 0.2, 0.4)
# Newton's method over shares: how many steps, how far beside the edges derivatives are taken, when it has arrived, and what counts as one.
_NEWTON_STEPS = 12
_BESIDE = 1e-4
_ARRIVED = 1e-6
_BELOW_ONE = 1 - 1e-9


@dataclass(frozen=True)
class Effect:
    """A fixed effect or a linear combination of fixed effects.

    Attributes
    ----------
    estimate, std_error : float
        On the scale of the outcome.
    df : float
        Satterthwaite's degrees of freedom.
    statistic, p_value : float
        estimate / std_error and its two-sided test of zero with t(df).
    ci_low, ci_high : float
        Interval with t(df).
    """

    estimate: float
    std_error: float
    df: float
    statistic: float
    p_value: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Fit:
    """Where a criterion is smallest, in the units of :class:`_Criterion`: what intervals start from."""

    criterion: _Criterion
    parameters: np.ndarray
    deviance: float


@dataclass(frozen=True)
class MixedModel:
    """A linear mixed model. Where ``status`` is ``not_estimable`` there are no numbers, and ``reason`` says what is needed.

    Attributes
    ----------
    status, reason : str
        ``estimated``, ``flagged`` or ``not_estimable``, and why, in plain words.
    coefficients : DataFrame
        One row a fixed effect, indexed by its name (``"1"``: intercept), with the columns of :class:`Effect`.
    vcov : DataFrame
        Covariance of the fixed effects.
    variances : DataFrame
        ``level, term1, term2, variance, sd_or_correlation``, outermost level first, one row for each variance and covariance; the last row
        is the residual variance. ``sd_or_correlation`` is a standard deviation where both terms are one, else a correlation.
    residual_variance : float
        Variance of rows within the innermost units.
    log_likelihood : float
        Restricted where ``reml``.
    reml : bool
        Restricted maximum likelihood, or maximum likelihood.
    n_rows : int
        Rows used.
    n_units : dict of str to int
        Units by level, outermost first.
    n_without_outcome, n_without_predictor : int
        Rows left out because the outcome is missing (valid where missing at random given the model), and for another missing value.
    converged, singular : bool
        Whether the optimum was reached, and whether a variance is zero or a correlation is one there.
    level : float
        Confidence level.
    """

    status: str
    reason: str
    coefficients: pd.DataFrame
    vcov: pd.DataFrame
    variances: pd.DataFrame
    residual_variance: float | None
    log_likelihood: float | None
    reml: bool
    n_rows: int
    n_units: dict[str, int]
    n_without_outcome: int
    n_without_predictor: int
    converged: bool
    singular: bool
    level: float
    fit: Fit | None = field(default=None, repr=False)
    vcov_slopes: np.ndarray | None = field(default=None, repr=False)
    parameter_vcov: np.ndarray | None = field(default=None, repr=False)

    def combination(self, weights: Mapping[str, float]) -> Effect:
        """Return a weighted sum of fixed effects with Satterthwaite's degrees of freedom.

        Raises
        ------
        KeyError
            A name that is no fixed effect of the model.
        ValueError
            The model was not estimable.
        """
        if self.fit is None:
            raise ValueError(self.reason)
        names = list(self.coefficients.index)
        for name in weights:
            if name not in names:
                raise KeyError(f"the model has no effect of {name}")
        vector = np.array([weights.get(name, 0.0) for name in names])
        estimate = float(vector @ self.coefficients["estimate"].to_numpy())
        return _effect(vector, estimate, self.vcov.to_numpy(), self.vcov_slopes, self.parameter_vcov, self.level)


@dataclass(frozen=True)
class _Stage:
    """One level: its units, which columns vary randomly over them, and which have effects of their own in each unit.

    ``starts`` says where the units' children begin among the units of the level below. ``origin`` is where the slope's column is zero in
    its own units, ``centre`` where the parameters take the intercept: at its mean, 0, intercept and slope are easily told apart.
    """

    random: tuple[int, ...]
    absorbed: tuple[int, ...]
    starts: np.ndarray
    origin: float = 0.0
    centre: float = 0.0

    @property
    def n_parameters(self) -> int:
        return (0, 1, 3)[len(self.random)]


@dataclass(frozen=True)
class _Criterion:
    """The deviance as a function of relative standard deviations.

    Parameters of a level are its standard deviation over that of the residual; with a slope: those of both, and the angle whose cosine is
    their correlation. Stages stand from the innermost level outwards. Parameters are the last axis of what the methods are given: many
    points in one call cost little more than one.
    """

    products: np.ndarray
    stages: tuple[_Stage, ...]
    fixed: tuple[int, ...]
    outcome: int
    n: int
    rank: int
    reml: bool

    @property
    def df(self) -> int:
        return self.n - self.rank if self.reml else self.n

    @property
    def n_parameters(self) -> int:
        return sum(stage.n_parameters for stage in self.stages)

    def parts(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return log determinants, residual sums of squares, coefficients, and their covariances over the residual variance."""
        sums, at = self.products, 0
        log_det = log_det_fixed = np.zeros(parameters.shape[:-1])
        for index, stage in enumerate(self.stages):
            if index:
                sums = np.add.reduceat(sums, stage.starts, axis=-3)
            factor = _factor(parameters[..., at : at + stage.n_parameters], stage.centre)
            at += stage.n_parameters
            sums, added = _eliminate(sums, stage.random, factor)
            log_det = log_det + added
            sums, added = _absorb(sums, stage.absorbed)
            log_det_fixed = log_det_fixed + added
        # Where all deviations are zero, nothing was eliminated and all points are one.
        total = np.broadcast_to(sums.sum(axis=-3), (*parameters.shape[:-1], *sums.shape[-2:]))
        own = list(self.fixed)
        cross = total[..., own, self.outcome]
        if own:
            given = total[..., own, :][..., own]
            inverse = np.linalg.inv(given)
            coefficients = (inverse @ cross[..., None])[..., 0]
            log_det_fixed = log_det_fixed + 2 * np.log(np.diagonal(np.linalg.cholesky(given), axis1=-2, axis2=-1)).sum(axis=-1)
        else:
            inverse, coefficients = np.zeros((*cross.shape, 0)), cross
        rss = total[..., self.outcome, self.outcome] - (cross * coefficients).sum(axis=-1)
        return log_det + (log_det_fixed if self.reml else 0.0), rss, coefficients, inverse

    def profiled(self, parameters: np.ndarray) -> np.ndarray:
        """Return the deviance at the best residual variance."""
        log_det, rss, _, _ = self.parts(parameters)
        return log_det + self.df * (1 + np.log(2 * np.pi * rss / self.df))

    def deviance(self, parameters: np.ndarray, variance: ArrayLike) -> np.ndarray:
        """Return the deviance at a residual variance."""
        log_det, rss, _, _ = self.parts(parameters)
        return log_det + self.df * np.log(2 * np.pi * np.asarray(variance)) + rss / variance

    def positions(self, stage: int) -> slice:
        """Return where the parameters of a stage (counted from the innermost) stand."""
        at = sum(one.n_parameters for one in self.stages[:stage])
        return slice(at, at + self.stages[stage].n_parameters)


def mixed_model(
    rows: pd.DataFrame,
    outcome: str,
    fixed: Sequence[str],
    levels: Sequence[str],
    *,
    random: Mapping[str, Sequence[str]] | None = None,
    absorbed: Mapping[str, Sequence[str]] | None = None,
    reml: bool = True,
    level: float = 0.95,
) -> MixedModel:
    """Fit a linear mixed model of nested data.

    Rows without the outcome are left out, which is valid where it is missing at random given the model; rows without a predictor or a unit
    are left out too, and counted apart.

    Parameters
    ----------
    rows : DataFrame
        One row an observation, numeric outcome and predictors, any label of units. Units are nested: the same label within two units of an
        outer level means two units.
    outcome : str
        Column of the outcome.
    fixed : sequence of str
        Columns with one effect each; ``"1"`` is the intercept.
    levels : sequence of str
        Columns of the units, outermost first, such as ``["therapist", "client"]``.
    random : mapping of level to columns, optional
        What varies over the units of a level, ``("1",)`` where not given; at most an intercept and one slope, which correlate.
    absorbed : mapping of level to columns, optional
        Columns with an effect of their own in each unit of a level (site-specific intercepts, say). They are eliminated, not reported.
    reml : bool
        Restricted maximum likelihood.
    level : float
        Confidence level.

    Returns
    -------
    MixedModel
        Degrees of freedom are Satterthwaite's as in lmerTest (Kuznetsova, Brockhoff & Christensen, 2017).

    Raises
    ------
    ValueError
        A column or level is not there, or more than an intercept and one slope vary over a level.
    """
    levels, fixed = list(levels), list(fixed)
    random = {name: tuple((random or {}).get(name, (INTERCEPT,))) for name in levels}
    absorbed = {name: tuple((absorbed or {}).get(name, ())) for name in levels}
    _check_terms(rows, outcome, fixed, levels, random, absorbed)
    columns = list(dict.fromkeys([*fixed, *(name for terms in (*absorbed.values(), *random.values()) for name in terms)]))
    used, counts = _complete(rows, outcome, [name for name in columns if name != INTERCEPT], levels)
    codes = _nested_codes([used[name] for name in levels])
    n_units = {name: int(code.max()) + 1 if len(code) else 0 for name, code in zip(levels, codes, strict=True)}
    reason = _why_not(used, outcome, fixed, levels, codes, random, absorbed)
    if reason:
        return _not_estimable(reason, reml, len(used), n_units, counts, level)
    scaled = _scaled(used, outcome, columns, fixed, random, absorbed)
    criterion, reason = _criterion(scaled, columns, fixed, levels, codes, random, absorbed, reml)
    if criterion is None:
        return _not_estimable(reason, reml, len(used), n_units, counts, level)
    parameters, converged = _minimise(criterion)
    return _result(criterion, parameters, converged, scaled, columns, fixed, levels, random, absorbed, n_units, counts, level)


def variance_intervals(model: MixedModel, level: float | None = None) -> pd.DataFrame:
    """Return profile-likelihood intervals of the standard deviations of a model.

    They are the values at which the model's own criterion, minimised over all other parameters, is less than a quantile of chi-squared
    with 1 df above its minimum. For a model fitted with ``reml=False`` they are those of ``confint`` of lme4, which always profiles the
    likelihood; for a restricted fit the restricted likelihood is profiled, which does not understate the variance of few units.

    Returns
    -------
    DataFrame
        ``level, term, sd, ci_low, ci_high``, in the order of ``model.variances``; ``ci_low`` is 0 where zero is inside.

    Raises
    ------
    ValueError
        The model was not estimable.
    """
    import pandas as pd

    if model.fit is None:
        raise ValueError(model.reason)
    criterion, optimum = _uncentred(model.fit.criterion, model.fit.parameters)
    limit = model.fit.deviance + float(chi_squared_quantile(level or model.level, 1))
    _, rss, _, _ = criterion.parts(optimum)
    log_sigma = 0.5 * np.log(rss / criterion.df)
    deviations = model.variances[model.variances["term1"] == model.variances["term2"]]
    records = []
    for (_, row), position in zip(deviations.iterrows(), [*_deviation_positions(criterion), None], strict=True):
        trace = _residual_trace(criterion, optimum) if position is None else _deviation_trace(criterion, optimum, position, log_sigma)
        scaled = np.exp(log_sigma) * (1.0 if position is None else optimum[position])
        unit = row["sd_or_correlation"] / scaled if scaled > 0 else row["unit"]
        low, high = _inside(trace, scaled, limit, np.exp(log_sigma), np.inf)
        records.append((row["level"], row["term1"], row["sd_or_correlation"], low * unit, high * unit))
    return pd.DataFrame(records, columns=["level", "term", "sd", "ci_low", "ci_high"])


def variance_shares(
    rows: pd.DataFrame,
    outcome: str,
    levels: Sequence[str],
    *,
    residual: str,
    fixed: Sequence[str] = (INTERCEPT,),
    min_units: int = MIN_UNITS,
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the share of the variance at each level (intraclass correlations) with intervals.

    Shares are of the variance that the fixed effects leave, by restricted maximum likelihood. With one level of units the interval is exact
    for normal data, balanced or not (Wald, 1940; Seely & El-Bassiouni, 1983, with predictors); with more it profiles the restricted
    likelihood of the share. A share may be zero, an interval never excludes a share below zero.

    Parameters
    ----------
    rows : DataFrame
        As for :func:`mixed_model`.
    outcome : str
        Column of the variable.
    levels : sequence of str
        Columns of the units, outermost first.
    residual : str
        What a row is (``client`` or ``session``): the name of the last share.
    fixed : sequence of str
        Predictors held constant (case mix).
    min_units : int
        Units that need at least two units of the next level each.
    level : float
        Confidence level.

    Returns
    -------
    DataFrame
        ``level, share, ci_low, ci_high, variance, n_units, method, status, reason``, outermost level first, rows last. Numbers are missing
        where ``status`` is ``not_estimable``; ``method`` is ``exact`` or ``reml_profile``.
    """
    import pandas as pd

    columns = ["level", "share", "ci_low", "ci_high", "variance", "n_units", "method", "status", "reason"]
    names = [*levels, residual]
    model = mixed_model(rows, outcome, fixed, levels, level=level)
    counts = [*model.n_units.values(), model.n_rows]
    reason = model.reason if model.fit is None else _too_few(model.fit.criterion, names, min_units)
    if reason:
        empty = [(name, np.nan, np.nan, np.nan, np.nan, n, "", "not_estimable", reason) for name, n in zip(names, counts, strict=True)]
        return pd.DataFrame(empty, columns=columns)
    variances = model.variances["variance"].to_numpy()
    shares = variances / variances.sum()
    if len(levels) == 1:
        low, high = _exact_share(model.fit.criterion, level)
        intervals, method = [(low, high), (1 - high, 1 - low)], "exact"
    else:
        intervals, method = [profiled_share(model, index, shares, level) for index in range(len(names))], "reml_profile"
    records = [
        (name, share, low, high, variance, n, method, model.status, model.reason)
        for name, share, (low, high), variance, n in zip(names, shares, intervals, variances, counts, strict=True)
    ]
    return pd.DataFrame(records, columns=columns)


@dataclass(frozen=True)
class Reliability:
    """Reliability of the means of units.

    Attributes
    ----------
    each : ndarray
        Reliability of each mean, 0-1.
    median, minimum, maximum : float
        Over the units.
    """

    each: np.ndarray
    median: float
    minimum: float
    maximum: float


def reliability_of_means(between: float, within: float, sizes: ArrayLike) -> Reliability:
    """Return ``between / (between + within / n)`` for units of n members: how far differences of observed means are true differences.

    Parameters
    ----------
    between, within : float
        Variance of the units' true means, and of members within a unit.
    sizes : array_like
        Members of each unit.

    Raises
    ------
    ValueError
        No units, a unit without members, or variances that are negative or both zero.
    """
    sizes = np.asarray(sizes, dtype=float)
    if not sizes.size or not (sizes > 0).all():
        raise ValueError("every unit needs members")
    if not (between >= 0 and within >= 0 and between + within > 0):
        raise ValueError("variances may not be negative, nor both zero")
    each = between / (between + within / sizes)
    return Reliability(each, float(np.median(each)), float(each.min()), float(each.max()))


def decompose(
    values: ArrayLike,
    client: ArrayLike,
    therapist: ArrayLike,
    site: ArrayLike | None = None,
    *,
    session: ArrayLike | None = None,
    prior: bool = False,
) -> pd.DataFrame:
    """Split session scores into parts by level, which add up to the score.

    A client's mean is over the client's sessions, a therapist's over the means of the therapist's clients and a site's over the means of
    its clients, so that every client counts once; a client seen by two therapists is two cases.

    With ``prior`` nothing that came later enters: at session t the client's mean is over sessions before t, and the means of the therapist
    and of the site are over the means before t of those clients who have any. There is no client part at the first session.

    Parameters
    ----------
    values : array_like, shape (n,)
        Scores; missing ones are not used and have no parts.
    client, therapist, site : array_like, shape (n,)
        Units of each row.
    session : array_like, shape (n,), optional
        Number of the session; needed with ``prior``.
    prior : bool
        Use sessions before each session only.

    Returns
    -------
    DataFrame
        ``within_client, between_client, between_therapist`` (``between_site``), and what they are measured from: ``mean`` of the site, or
        of everybody. With sites, ``between_therapist`` is within sites, ``between_site`` is from the mean of all clients.

    Raises
    ------
    ValueError
        ``prior`` without session numbers, or a scored row without a unit or session number.
    """
    import pandas as pd

    values = np.asarray(values, dtype=float)
    used = np.isfinite(values)
    outer = [np.asarray(therapist)] if site is None else [np.asarray(site), np.asarray(therapist)]
    units = [np.asarray(column)[used] for column in (*outer, client)]
    names = ["between_site", "between_therapist", "between_client"][-len(units) :]
    parts = pd.DataFrame(np.nan, index=range(len(values)), columns=[*reversed(names), "mean"])
    parts.insert(0, "within_client", np.nan)
    if not used.any():
        return parts
    codes = _nested_codes(units)
    scores = values[used]
    if not prior:
        means = _means_by_level(scores, codes, codes)
    else:
        if session is None:
            raise ValueError("means of earlier sessions need session numbers")
        number = np.asarray(session, dtype=float)[used]
        if not np.isfinite(number).all():
            raise ValueError("every scored row needs a session number")
        means = np.full((len(units) + 1, len(scores)), np.nan)
        for t in np.unique(number)[1:]:
            earlier, now = number < t, number == t
            means[:, now] = _means_by_level(scores[earlier], [code[earlier] for code in codes], [code[now] for code in codes])
    parts.loc[used, "within_client"] = scores - means[-1]
    parts.loc[used, "mean"] = means[0]
    for index, name in enumerate(names):
        parts.loc[used, name] = means[index + 1] - means[index]
    return parts


def contextual(model: MixedModel, within: str, between: str) -> Effect:
    """Return the effect between units minus the effect within them (Raudenbush & Bryk, 2002), for predictors split by :func:`decompose`."""
    return model.combination({between: 1.0, within: -1.0})


@dataclass(frozen=True)
class OneStage:
    """The effect of a predictor over sites, from all rows at once.

    Attributes
    ----------
    effect : Effect or None
        Mean effect over sites.
    slope_sd, slope_sd_low, slope_sd_high : float or None
        Standard deviation of the effect over sites, with its profile interval.
    model : MixedModel
        All else; ``status`` and ``reason`` are those of the model.
    """

    effect: Effect | None
    slope_sd: float | None
    slope_sd_low: float | None
    slope_sd_high: float | None
    model: MixedModel


def one_stage(
    rows: pd.DataFrame,
    outcome: str,
    predictor: str,
    site: str,
    *,
    therapist: str | None = None,
    covariates: Sequence[str] = (),
    level: float = 0.95,
) -> OneStage:
    """Estimate the effect of a predictor over sites from all rows at once (Riley, Tierney & Stewart, 2021).

    Every site has its own intercept and its own effects of the covariates; the predictor is centred within sites, so that differences
    between sites do not enter; its effect varies over sites, and intercepts over therapists.

    Parameters
    ----------
    rows : DataFrame
        One row a client.
    outcome, predictor, site, therapist : str
        Columns.
    covariates : sequence of str
        Numeric columns.
    level : float
        Confidence level.
    """
    columns = [outcome, predictor, site, *covariates, *([therapist] if therapist else [])]
    rows = rows[columns].copy()
    complete = rows.notna().all(axis=1)
    rows[predictor] = rows[predictor].where(complete)
    rows[predictor] -= rows.groupby(site)[predictor].transform("mean")
    levels = [site, therapist] if therapist else [site]
    model = mixed_model(
        rows,
        outcome,
        [predictor],
        levels,
        random={site: [predictor]},
        absorbed={site: [INTERCEPT, *covariates]},
        level=level,
    )
    if model.fit is None:
        return OneStage(None, None, None, None, model)
    slope = variance_intervals(model).iloc[0]
    return OneStage(model.combination({predictor: 1.0}), float(slope["sd"]), float(slope["ci_low"]), float(slope["ci_high"]), model)


def _check_terms(
    rows: pd.DataFrame,
    outcome: str,
    fixed: list[str],
    levels: list[str],
    random: Mapping[str, tuple[str, ...]],
    absorbed: Mapping[str, tuple[str, ...]],
) -> None:
    if not levels:
        raise ValueError("a mixed model needs at least one level of units")
    for name in dict.fromkeys([outcome, *levels, *fixed, *(one for terms in (*random.values(), *absorbed.values()) for one in terms)]):
        if name != INTERCEPT and name not in rows.columns:
            raise ValueError(f"there is no column {name}")
    for name, terms in random.items():
        if len(terms) > 2 or (len(terms) == 2 and INTERCEPT not in terms):
            raise ValueError(f"at most an intercept and one slope can vary over units of {name}")
    shared = {name for terms in absorbed.values() for name in terms} & set(fixed)
    if shared:
        raise ValueError(f"{', '.join(sorted(shared))}: one effect for all and one for each unit exclude each other")


def _complete(rows: pd.DataFrame, outcome: str, predictors: list[str], levels: list[str]) -> tuple[pd.DataFrame, tuple[int, int]]:
    """Return the rows that can be used, and how many lack the outcome and how many of the others lack another value."""
    has_outcome = np.isfinite(rows[outcome].to_numpy(dtype=float, na_value=np.nan))
    has_rest = rows[levels].notna().all(axis=1).to_numpy(copy=True)
    for name in predictors:
        has_rest &= np.isfinite(rows[name].to_numpy(dtype=float, na_value=np.nan))
    return rows[has_outcome & has_rest], (int((~has_outcome).sum()), int((has_outcome & ~has_rest).sum()))


def _nested_codes(units: Sequence[ArrayLike]) -> list[np.ndarray]:
    """Return codes 0.. of nested units, outermost first, such that units of one outer unit have neighbouring codes."""
    codes: list[np.ndarray] = []
    for labels in units:
        code, count = cluster_codes(labels)
        if codes:
            _, code = np.unique(codes[-1] * max(count, 1) + code, return_inverse=True)
        codes.append(code)
    return codes


def _why_not(
    used: pd.DataFrame,
    outcome: str,
    fixed: list[str],
    levels: list[str],
    codes: list[np.ndarray],
    random: Mapping[str, tuple[str, ...]],
    absorbed: Mapping[str, tuple[str, ...]],
) -> str:
    """Return why a model cannot be estimated, or nothing."""
    n = len(used)
    if n <= len(fixed) + 1:
        return f"needs more rows than effects; here {n} complete rows"
    if np.ptp(used[outcome].to_numpy(dtype=float)) == 0:
        return f"{outcome} is the same in all rows"
    counts = [int(code.max()) + 1 for code in codes]
    for index, name in enumerate(levels):
        inner = levels[index + 1] if index + 1 < len(levels) else "row"
        below = counts[index + 1] if index + 1 < len(levels) else n
        inner_varies = inner == "row" or INTERCEPT in random[inner]
        if counts[index] < 2:
            return f"needs at least two units of {name}; here {counts[index]}"
        if random[name] == (INTERCEPT,) and inner_varies and counts[index] == below:
            return f"needs more than one {inner} in a unit of {name}: variances of the two cannot be told apart"
    return ""


@dataclass(frozen=True)
class _Scaled:
    """Columns (predictors, then the outcome) centred where an intercept takes it up, and divided by their standard deviation."""

    data: np.ndarray
    shift: np.ndarray
    scale: np.ndarray


def _scaled(
    used: pd.DataFrame,
    outcome: str,
    columns: list[str],
    fixed: list[str],
    random: Mapping[str, tuple[str, ...]],
    absorbed: Mapping[str, tuple[str, ...]],
) -> _Scaled:
    has_intercept = INTERCEPT in fixed or any(INTERCEPT in terms for terms in absorbed.values())
    tied = {name for terms in random.values() if INTERCEPT not in terms for name in terms}
    tied |= {name for terms in absorbed.values() if INTERCEPT not in terms for name in terms}
    data = np.ones((len(used), len(columns) + 1))
    shift, scale = np.zeros(len(columns) + 1), np.ones(len(columns) + 1)
    for index, name in enumerate([*columns, outcome]):
        if name == INTERCEPT:
            continue
        values = used[name].to_numpy(dtype=float)
        if has_intercept and (index == len(columns) or name not in tied):
            shift[index] = values.mean()
        deviation = values.std()
        scale[index] = deviation if deviation > 1e-12 * np.abs(values).max() else 1.0
        data[:, index] = (values - shift[index]) / scale[index]
    return _Scaled(data, shift, scale)


def _criterion(
    scaled: _Scaled,
    columns: list[str],
    fixed: list[str],
    levels: list[str],
    codes: list[np.ndarray],
    random: Mapping[str, tuple[str, ...]],
    absorbed: Mapping[str, tuple[str, ...]],
    reml: bool,
) -> tuple[_Criterion | None, str]:
    """Return the criterion to be minimised, or why there is none."""
    position = {name: index for index, name in enumerate(columns)}
    width = scaled.data.shape[1]
    inner = codes[-1]
    count = int(inner.max()) + 1
    products = np.empty((count, width, width))
    for i in range(width):
        for j in range(i, width):
            products[:, i, j] = products[:, j, i] = np.bincount(inner, scaled.data[:, i] * scaled.data[:, j], count)
    stages, below = [], None
    for name, code in zip(reversed(levels), reversed(codes), strict=True):
        # The outer code of each unit of the level below, in the order of those units.
        starts = np.zeros(0, dtype=int)
        if below is not None:
            parent = np.empty(int(below.max()) + 1, dtype=int)
            parent[below] = code
            starts = np.flatnonzero(np.r_[True, parent[1:] != parent[:-1]])
        # The intercept comes first: the parameters of a level are its standard deviation, that of the slope, and their angle.
        terms = sorted(random[name], key=lambda term: term != INTERCEPT)
        origin = -scaled.shift[position[terms[1]]] / scaled.scale[position[terms[1]]] if len(terms) == 2 else 0.0
        own, apart = (tuple(position[term] for term in chosen) for chosen in (terms, absorbed[name]))
        stages.append(_Stage(own, apart, starts, float(origin)))
        below = code
    own = tuple(position[name] for name in fixed)
    criterion = _Criterion(products, tuple(stages), own, width - 1, len(scaled.data), 0, reml)
    left, rank = _without_absorbed(criterion)
    given = left[np.ix_(own, own)]
    size = np.sqrt(np.diagonal(products.sum(axis=0)))[list(own)]
    size = np.where(size > 0, size, 1.0)
    if own and np.linalg.eigvalsh(given / np.outer(size, size))[0] < _DEPENDENT:
        return None, "a predictor is constant (within units with effects of their own), or predictors determine each other: " + ", ".join(
            name for name in fixed if name != INTERCEPT
        )
    rank += len(own)
    random_units = sum(int(code.max()) + 1 for code in codes[-1:])
    if len(scaled.data) <= rank + 1:
        return None, f"needs more rows than effects; here {len(scaled.data)} rows, {rank} effects and {random_units} units"
    rss = left[-1, -1] - left[-1, list(own)] @ np.linalg.solve(given, left[list(own), -1]) if own else left[-1, -1]
    if rss < _DEPENDENT * len(scaled.data):
        return None, "the predictors determine the outcome completely"
    return replace(criterion, rank=rank), ""


def _without_absorbed(criterion: _Criterion) -> tuple[np.ndarray, int]:
    """Return cross-products after effects that each unit has of its own, without random effects, and the number of such effects."""
    sums, rank = criterion.products, 0
    for index, stage in enumerate(criterion.stages):
        if index:
            sums = np.add.reduceat(sums, stage.starts, axis=0)
        if stage.absorbed:
            values = np.linalg.eigvalsh(sums[:, stage.absorbed, :][:, :, stage.absorbed])
            rank += int((values > 1e-9 * values[:, -1:]).sum())
        sums, _ = _absorb(sums, stage.absorbed)
    return sums.sum(axis=0), rank


def _factor(parameters: np.ndarray, centre: float) -> np.ndarray:
    """Return a factor of the relative covariance matrix of a level."""
    if parameters.shape[-1] < 2:
        return parameters[..., None]
    intercept, slope, angle = np.moveaxis(parameters, -1, 0)
    along, across = slope * np.cos(angle), slope * np.sin(angle)
    return np.stack([np.stack([intercept - centre * along, -centre * across], axis=-1), np.stack([along, across], axis=-1)], axis=-2)


def _uncentred(criterion: _Criterion, parameters: np.ndarray) -> tuple[_Criterion, np.ndarray]:
    """Return the criterion whose parameters take intercepts at zero of the slope's column, and the same point in it."""
    parameters = parameters.copy()
    for index, stage in enumerate(criterion.stages):
        if len(stage.random) == 2:
            at = criterion.positions(index)
            factor = _factor(parameters[at], stage.centre - stage.origin)
            covariance = factor @ factor.T
            deviations = np.sqrt(np.diagonal(covariance))
            size = deviations[0] * deviations[1]
            correlation = np.clip(covariance[0, 1] / size, -1, 1) if size > 0 else 0.0
            parameters[at] = [*deviations, np.arccos(correlation)]
    stages = tuple(replace(stage, centre=stage.origin) for stage in criterion.stages)
    return replace(criterion, stages=stages), parameters


def _eliminate(sums: np.ndarray, random: tuple[int, ...], factor: np.ndarray) -> tuple[np.ndarray, ArrayLike]:
    """Return cross-products after the random effects of a level, and their log determinant."""
    if not random or not factor.any():
        return sums, 0.0
    if len(random) == 1:
        ratio = factor[..., 0] ** 2
        cross = sums[..., random[0], :]
        spread = 1 + ratio * cross[..., random[0]]
        return sums - (cross * (ratio / spread)[..., None])[..., None] * cross[..., None, :], np.log(spread).sum(axis=-1)
    factor = factor[..., None, :, :]
    cross = np.swapaxes(factor, -1, -2) @ sums[..., random, :]
    inner = np.eye(2) + cross[..., random] @ factor
    return sums - np.swapaxes(cross, -1, -2) @ np.linalg.solve(inner, cross), np.log(np.linalg.det(inner)).sum(axis=-1)


def _absorb(sums: np.ndarray, absorbed: tuple[int, ...]) -> tuple[np.ndarray, ArrayLike]:
    """Return cross-products after effects that each unit has of its own, and their log determinant; dependent ones are left out."""
    if not absorbed:
        return sums, 0.0
    values, vectors = np.linalg.eigh(sums[..., absorbed, :][..., absorbed])
    kept = values > 1e-9 * values[..., -1:]
    inverse = np.where(kept, 1 / np.where(kept, values, 1.0), 0.0)
    rotated = np.swapaxes(vectors, -1, -2) @ sums[..., absorbed, :]
    left = sums - np.swapaxes(rotated, -1, -2) @ (inverse[..., None] * rotated)
    return left, np.log(np.where(kept, values, 1.0)).sum(axis=(-1, -2))


def _bounds(criterion: _Criterion) -> list[tuple[float, float]]:
    bounds: list[tuple[float, float]] = []
    for stage in criterion.stages:
        bounds += [(0.0, _LARGEST), (0.0, _LARGEST), (0.0, np.pi)][: 1 if stage.n_parameters == 1 else 3] if stage.n_parameters else []
    return bounds


def _deviation_positions(criterion: _Criterion) -> list[int]:
    """Return where the standard deviations stand among the parameters, outermost level first."""
    positions: list[int] = []
    for index in reversed(range(len(criterion.stages))):
        start = criterion.positions(index).start
        positions += range(start, start + len(criterion.stages[index].random))
    return positions


def _starts(criterion: _Criterion) -> list[np.ndarray]:
    """Return where searches start, uncorrelated first; with a slope the correlation is sought from both sides too."""
    angles = _ANGLES if any(len(stage.random) == 2 for stage in criterion.stages) else _ANGLES[:1]
    return [
        np.concatenate([np.array([size, size, angle])[: (0, 1, 3)[len(stage.random)]] for stage in criterion.stages])
        for size in _START
        for angle in angles
    ]


def _minimise(criterion: _Criterion) -> tuple[np.ndarray, bool]:
    """Return the parameters at which the profiled deviance is least, zeros exact, and whether the optimum was reached."""
    bounds = _bounds(criterion)
    first, *others = _starts(criterion)
    parameters = _search(criterion, first)
    if _away_from_edges(criterion, parameters):
        parameters = min([parameters, *(_search(criterion, start) for start in others)], key=criterion.profiled)
    for candidate in _away_from_edges(criterion, parameters):
        if criterion.profiled(candidate) < criterion.profiled(parameters):
            parameters = _search(criterion, candidate)
    for index, (low, high) in enumerate(bounds):
        for edge in (low, high):
            if abs(parameters[index] - edge) < _NEAR_ZERO:
                moved = parameters.copy()
                moved[index] = edge
                if criterion.profiled(moved) <= criterion.profiled(parameters) + 1e-7:
                    parameters = moved
    return _newton(criterion.profiled, parameters, bounds)


def _search(criterion: _Criterion, start: np.ndarray) -> np.ndarray:
    """Return parameters of a local minimum of the profiled deviance.

    The search is over elements of Cholesky factors of any sign: the deviance is smooth across zero, where an edge would hold it.
    """
    slopes = [criterion.positions(index) for index, stage in enumerate(criterion.stages) if len(stage.random) == 2]

    def polar(points: np.ndarray) -> np.ndarray:
        parameters = np.abs(points)
        for at in slopes:
            intercept, along, across = np.moveaxis(points[..., at], -1, 0)
            angle = np.arctan2(np.abs(across), np.where(intercept >= 0, along, -along))
            parameters[..., at] = np.stack([np.abs(intercept), np.hypot(along, across), angle], axis=-1)
        return parameters

    factors = start.copy()
    for at in slopes:
        intercept, slope, angle = start[at]
        factors[at] = intercept, slope * np.cos(angle), slope * np.sin(angle)
    bounds = [(-_LARGEST, _LARGEST)] * len(factors)
    return polar(_lowest(lambda points: criterion.profiled(polar(points)), factors, bounds))


def _away_from_edges(criterion: _Criterion, parameters: np.ndarray) -> list[np.ndarray]:
    """Return points beside standard deviations that were found to be zero and correlations that were found to be one.

    The deviance is even around these edges: its slope there is zero, so a search that touches an edge stays there. Beside a slope, what
    happens at zero depends on the correlation, which has no meaning at zero itself.
    """
    points = []
    for index, stage in enumerate(criterion.stages):
        at = criterion.positions(index)
        own = parameters[at]
        has_slope = len(stage.random) == 2
        angles = (*_ANGLES, 0.0, np.pi) if has_slope else (None,)
        near = [i for i in range(len(stage.random)) if own[i] < _NEAR_ZERO]
        choices = [(i, size, angle) for i in near for size in _FROM_ZERO for angle in angles]
        if has_slope and min(own[2], np.pi - own[2]) < _NEAR_ZERO:
            choices += [(i, own[i] * factor, angle) for i in (0, 1) for factor in (0.5, 1.0, 2.0) for angle in angles]
        for position, size, angle in choices:
            point = parameters.copy()
            point[at.start + position] = size
            if angle is not None:
                point[at.stop - 1] = angle
            points.append(point)
    return points


def _lowest(function: Callable[[np.ndarray], np.ndarray], start: np.ndarray, bounds: list[tuple[float, float]]) -> np.ndarray:
    """Return where a function of points (the last axis) is least, sought from a start."""
    from scipy.optimize import minimize

    if not len(start):
        return start
    found = minimize(
        lambda point: _value_and_gradient(function, point),
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-13, "gtol": 1e-6, "maxiter": 500},
    )
    return found.x


def _newton(function: Callable[[np.ndarray], np.ndarray], point: np.ndarray, bounds: list[tuple[float, float]]) -> tuple[np.ndarray, bool]:
    """Return a point improved by Newton's method over the parameters inside their bounds, and whether it is a minimum."""
    free = np.array([low < value < high for value, (low, high) in zip(point, bounds, strict=True)], dtype=bool)
    for _ in range(20):
        if not free.any():
            return point, True

        def inside(values: np.ndarray, point: np.ndarray = point) -> np.ndarray:
            moved = np.broadcast_to(point, (*values.shape[:-1], len(point))).copy()
            moved[..., free] = values
            return function(moved)

        before, gradient = _value_and_gradient(inside, point[free])
        hessian = _hessian(inside, point[free])
        values, vectors = np.linalg.eigh(hessian)
        step = -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), 1e-8))
        decrement = -float(gradient @ step)
        if decrement < 1e-9:
            return point, bool(values[0] > -1e-6)
        moved = point.copy()
        for _ in range(10):
            moved[free] = np.clip(point[free] + step, [b[0] for b, f in zip(bounds, free, strict=True) if f], None)
            if function(moved) < before:
                break
            step = step / 2
        else:
            return point, decrement < 1e-5
        point = moved.copy()
    return point, decrement < 1e-5


def _value_and_gradient(function: Callable[[np.ndarray], np.ndarray], point: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the value at a point and first derivatives by central differences."""
    sizes = 1e-4 * np.maximum(np.abs(point), 0.1)
    steps = np.diag(sizes)
    here, *around = function(point + np.concatenate([np.zeros((1, len(point))), steps, -steps]))
    above, below = np.split(np.array(around), 2)
    return float(here), (above - below) / (2 * sizes)


def _hessian(function: Callable[[np.ndarray], np.ndarray], point: np.ndarray) -> np.ndarray:
    """Return second derivatives by central differences at two steps, extrapolated (Richardson)."""
    count = len(point)
    first, second = np.tril_indices(count)
    corners = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)])
    signs = corners.prod(axis=1)
    rough = []
    for size in (4e-3, 8e-3):
        steps = np.diag(size * np.maximum(np.abs(point), 0.1))
        # On the diagonal both steps go the same way, half as far: the corners are then the point itself twice, and one step to each side.
        reach = np.where(first == second, 0.5, 1.0)[:, None, None]
        moves = reach * (corners[:, :1] * steps[first][:, None, :] + corners[:, 1:] * steps[second][:, None, :])
        values = function(point + moves)
        hessian = np.empty((count, count))
        area = 4 * (reach[:, 0, 0] ** 2) * steps[first, first] * steps[second, second]
        hessian[first, second] = hessian[second, first] = (values * signs).sum(axis=-1) / area
        rough.append(hessian)
    return (4 * rough[0] - rough[1]) / 3


def _result(
    criterion: _Criterion,
    parameters: np.ndarray,
    converged: bool,
    scaled: _Scaled,
    columns: list[str],
    fixed: list[str],
    levels: list[str],
    random: Mapping[str, tuple[str, ...]],
    absorbed: Mapping[str, tuple[str, ...]],
    n_units: dict[str, int],
    counts: tuple[int, int],
    level: float,
) -> MixedModel:
    import pandas as pd

    _, rss, estimates, inverse = criterion.parts(parameters)
    sigma2 = rss / criterion.df
    own = list(criterion.fixed)
    back = np.diag(1 / scaled.scale[own])
    if INTERCEPT in fixed:
        at = fixed.index(INTERCEPT)
        back[at, :] -= np.where(np.arange(len(own)) == at, 0.0, scaled.shift[own] / scaled.scale[own])
    unit = scaled.scale[-1]
    estimates = unit * (back @ estimates)
    if INTERCEPT in fixed:
        estimates[at] += scaled.shift[-1]
    vcov = unit**2 * sigma2 * back @ inverse @ back.T
    slopes, parameter_vcov = _uncertainty(criterion, parameters, sigma2, unit**2 * sigma2, vcov, back)
    rows = [_effect(np.eye(len(fixed))[i], float(estimates[i]), vcov, slopes, parameter_vcov, level) for i in range(len(fixed))]
    names = list(Effect.__dataclass_fields__)
    deviance = criterion.profiled(parameters)
    constant = 2 * criterion.df * np.log(unit)
    if criterion.reml:
        constant += 2 * np.log(scaled.scale[own]).sum()
        for name, terms in absorbed.items():
            constant += 2 * n_units[name] * np.log(scaled.scale[[columns.index(term) for term in terms]]).sum() if terms else 0.0
    variances, singular = _variances(criterion, parameters, sigma2, scaled, columns, levels, random)
    notes = [] if converged else ["the optimum was not reached: do not rely on this model"]
    notes += singular
    notes += [f"only {n} units of {name}: their variance is hardly known" for name, n in n_units.items() if random[name] and n < MIN_UNITS]
    if counts[1]:
        notes.append(f"{counts[1]} rows without a predictor or unit are left out")
    return MixedModel(
        "flagged" if notes else "estimated",
        "; ".join(notes),
        pd.DataFrame([[getattr(row, name) for name in names] for row in rows], index=fixed, columns=names),
        pd.DataFrame(vcov, index=fixed, columns=fixed),
        variances,
        float(unit**2 * sigma2),
        float(-(deviance + constant) / 2),
        criterion.reml,
        criterion.n,
        n_units,
        *counts,
        converged,
        bool(singular),
        level,
        Fit(criterion, parameters, deviance),
        slopes,
        parameter_vcov,
    )


def _uncertainty(
    criterion: _Criterion, parameters: np.ndarray, sigma2: float, real_sigma2: float, vcov: np.ndarray, back: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return derivatives of the covariance of the fixed effects by the parameters and log sigma, and the covariance of those parameters."""
    steps = np.diag(1e-3 * np.maximum(np.abs(parameters), 0.1))
    slopes, rss_slopes = [], []
    for step in steps:
        _, rss, _, inverse = criterion.parts(parameters + np.outer([1, -1, 2, -2], step))
        weights = np.array([8, -8, -1, 1]) / (12 * np.abs(step).sum())
        slopes.append(real_sigma2 * back @ np.tensordot(weights, inverse, axes=1) @ back.T)
        rss_slopes.append(weights @ rss)
    slopes.append(2 * vcov)
    count = len(parameters)
    hessian = np.empty((count + 1, count + 1))
    hessian[:count, :count] = _hessian(lambda point: criterion.deviance(point, sigma2), parameters)
    hessian[:count, count] = hessian[count, :count] = -2 * np.array(rss_slopes) / sigma2
    hessian[count, count] = 4 * criterion.df
    values, vectors = np.linalg.eigh(hessian)
    kept = values > 1e-6 * values[-1]
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    return np.array(slopes), 2 * inverse


def _effect(vector: np.ndarray, estimate: float, vcov: np.ndarray, slopes: np.ndarray, parameter_vcov: np.ndarray, level: float) -> Effect:
    variance = float(vector @ vcov @ vector)
    gradient = np.einsum("i,kij,j->k", vector, slopes, vector)
    spread = float(gradient @ parameter_vcov @ gradient)
    df = 2 * variance**2 / spread if spread > 0 else np.inf
    error = float(np.sqrt(variance))
    margin = float(critical_value(level, df)) * error
    statistic = estimate / error if error > 0 else np.inf
    return Effect(estimate, error, df, statistic, float(two_sided_p(statistic, df)), estimate - margin, estimate + margin)


def _variances(
    criterion: _Criterion,
    parameters: np.ndarray,
    sigma2: float,
    scaled: _Scaled,
    columns: list[str],
    levels: list[str],
    random: Mapping[str, tuple[str, ...]],
) -> tuple[pd.DataFrame, list[str]]:
    """Return variances and covariances by level, and which of them lie on the edge of what is possible."""
    import pandas as pd

    records, singular = [], []
    unit = scaled.scale[-1]
    _, uncentred = _uncentred(criterion, parameters)
    for index, name in zip(reversed(range(len(levels))), levels, strict=True):
        own = uncentred[criterion.positions(index)]
        at = criterion.stages[index].random
        terms = [columns[position] for position in at]
        deviations = [np.sqrt(sigma2) * unit * own[i] / scaled.scale[position] for i, position in enumerate(at)]
        records += [(name, term, term, sd**2, sd, unit / scaled.scale[p]) for term, sd, p in zip(terms, deviations, at, strict=True)]
        zero = [term for term, deviation in zip(terms, own, strict=False) if deviation < SINGULAR]
        singular += [f"the variance of {_term(term)} over {name} is estimated as zero" for term in zero]
        if len(at) == 2:
            correlation = float(np.cos(own[2]))
            records.append((name, *terms, correlation * deviations[0] * deviations[1], correlation, np.nan))
            across = np.linalg.svd(_factor(parameters[criterion.positions(index)], criterion.stages[index].centre))[1][-1]
            if across < SINGULAR and not zero:
                singular.append(f"intercept and slope over {name} are estimated as perfectly correlated")
    residual = np.sqrt(sigma2) * unit
    records.append(("residual", INTERCEPT, INTERCEPT, residual**2, residual, unit))
    return pd.DataFrame(records, columns=["level", "term1", "term2", "variance", "sd_or_correlation", "unit"]), singular


def _term(name: str) -> str:
    return "intercepts" if name == INTERCEPT else f"the effect of {name}"


def _not_estimable(reason: str, reml: bool, n: int, n_units: dict[str, int], counts: tuple[int, int], level: float) -> MixedModel:
    import pandas as pd

    empty = pd.DataFrame()
    return MixedModel("not_estimable", reason, empty, empty, empty, None, None, reml, n, n_units, *counts, False, False, level)


def _deviation_trace(criterion: _Criterion, optimum: np.ndarray, position: int, log_sigma: float) -> Callable[[float], float]:
    """Return the least deviance as a function of one standard deviation of random effects."""
    others = np.arange(len(optimum)) != position
    bounds = [one for one, used in zip(_bounds(criterion), others, strict=True) if used]

    def trace(deviation: float) -> float:
        def function(points: np.ndarray) -> np.ndarray:
            sigma = np.exp(points[..., -1])
            parameters = np.empty((*points.shape[:-1], len(optimum)))
            parameters[..., others], parameters[..., position] = points[..., :-1], deviation / sigma
            return criterion.deviance(parameters, sigma**2)

        limits = [*bounds, (log_sigma - _LOG_SIGMA, log_sigma + _LOG_SIGMA)]
        starts = [np.append(start[others], log_sigma) for start in _turned(criterion, optimum)]
        return min(float(function(_lowest(function, start, limits))) for start in starts)

    return trace


def _turned(criterion: _Criterion, optimum: np.ndarray) -> list[np.ndarray]:
    """Return an optimum moved off its edges, and with other correlations where there is a slope: the best one may change sign."""
    starts = [np.maximum(optimum, 1e-2)]
    for index, stage in enumerate(criterion.stages):
        if len(stage.random) == 2:
            for angle in _ANGLES:
                start = starts[0].copy()
                start[criterion.positions(index).stop - 1] = angle
                starts.append(start)
    return starts


def _residual_trace(criterion: _Criterion, optimum: np.ndarray) -> Callable[[float], float]:
    """Return the least deviance as a function of the residual standard deviation."""
    bounds = _bounds(criterion)

    def trace(deviation: float) -> float:
        def function(points: np.ndarray) -> np.ndarray:
            return criterion.deviance(points, deviation**2)

        return min(float(function(_lowest(function, start, bounds))) for start in _turned(criterion, optimum))

    return trace


def _inside(trace: Callable[[float], float], estimate: float, limit: float, step: float, top: float) -> tuple[float, float]:
    """Return where a trace crosses a limit on both sides of an estimate; 0 or ``top`` where it does not."""
    from scipy.optimize import brentq

    def excess(value: float) -> float:
        return trace(value) - limit

    low = 0.0
    if estimate > 0:
        floor = 1e-6 * estimate
        if excess(floor) > 0:
            low = float(brentq(excess, floor, estimate, xtol=1e-7 * step, rtol=1e-7))
    high = min(estimate + step / 2, (estimate + top) / 2)
    for _ in range(60):
        if excess(high) > 0:
            return low, float(brentq(excess, estimate, high, xtol=1e-7 * step, rtol=1e-7))
        high = min(high + step, (high + top) / 2)
        step *= 2
    return low, top


def profiled_share(model: MixedModel, index: int, shares: np.ndarray, level: float) -> tuple[float, float]:
    """Return the profile interval of one part's share of the variance; the other shares are chosen anew at each of its values.

    Parameters
    ----------
    model : MixedModel
        With one variance a level (none over sites), estimable.
    index : int
        Part, outermost first; rows last.
    shares : ndarray
        Estimated shares of all parts.
    level : float
        Confidence level.

    Returns
    -------
    tuple of float
        Missing where the likelihood has no maximum to profile from, as without variance of what a row is.
    """
    criterion = model.fit.criterion
    limit = model.fit.deviance + float(chi_squared_quantile(level, 1))
    others = np.arange(len(shares)) != index
    # Where the search of the others starts: where it ended at the share before.
    best = _sticks(shares[others])

    def trace(share: float) -> float:
        nonlocal best

        def function(sticks: np.ndarray) -> np.ndarray:
            parts = np.empty((*sticks.shape[:-1], len(shares)))
            parts[..., index], parts[..., others] = share, (1 - share) * _broken(sticks)
            ratios = parts[..., :-1] / np.maximum(parts[..., -1:], 1e-12)
            return criterion.profiled(np.sqrt(np.maximum(ratios, 0.0))[..., ::-1])

        best, value = _lowest_inside(function, best)
        return value

    if not trace(float(shares[index])) < limit:
        return float("nan"), float("nan")
    return _inside(trace, float(shares[index]), limit, 0.1, 1.0)


def _broken(sticks: np.ndarray) -> np.ndarray:
    """Return shares that add up to one: each takes a part of what the ones before have left."""
    one = np.ones((*sticks.shape[:-1], 1))
    return np.cumprod(np.concatenate([one, 1 - sticks], axis=-1), axis=-1) * np.concatenate([sticks, one], axis=-1)


def _sticks(shares: np.ndarray) -> np.ndarray:
    """Return the inverse of :func:`_broken`."""
    left = np.cumsum(shares[::-1])[::-1]
    return np.clip(shares[:-1] / np.where(left[:-1] > 0, left[:-1], 1.0), 1e-3, 1 - 1e-3)


def _lowest_inside(function: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> tuple[np.ndarray, float]:
    """Return where a function is least over the unit cube, sought from a start, and its value there.

    Newton's method; derivatives are taken beside the edges of the cube, where the function ends, and a coordinate that presses on its edge
    stays there. Where it does not arrive, the search that needs no second derivatives.
    """
    if not len(start):
        return start, float(function(start))
    point = start
    for _ in range(_NEWTON_STEPS):
        moved = _newton_step(function, point)
        arrived = np.abs(moved - point).max() < _ARRIVED
        point = moved
        if arrived:
            break
    origin = np.zeros(len(start))
    choices = np.stack([point, start, origin])
    values = function(choices)
    if not arrived or values[0] > values[1] + _ARRIVED:
        choices[0] = _lowest(function, start, [(0.0, _BELOW_ONE)] * len(start))
        values[0] = function(choices[0])
    best = int(np.argmin(values))
    return choices[best], float(values[best])


def _newton_step(function: Callable[[np.ndarray], np.ndarray], point: np.ndarray) -> np.ndarray:
    """Return the next point of Newton's method over the unit cube."""
    count = len(point)
    middle = np.clip(point, _BESIDE, 1 - _BESIDE)
    steps = _BESIDE * np.eye(count)
    first, second = np.tril_indices(count, -1)
    here, *around = function(middle + np.concatenate([np.zeros((1, count)), steps, -steps, steps[first] + steps[second]]))
    above, below, corners = np.split(np.array(around), [count, 2 * count])
    gradient = (above - below) / (2 * _BESIDE)
    hessian = np.diag(above + below - 2 * here)
    hessian[first, second] = hessian[second, first] = corners - above[first] - above[second] + here
    hessian /= _BESIDE**2
    free = ~(((point <= 0) & (gradient > 0)) | ((point >= _BELOW_ONE) & (gradient < 0)))
    moved = point.copy()
    if free.any():
        values, vectors = np.linalg.eigh(hessian[np.ix_(free, free)])
        step = -vectors @ ((vectors.T @ gradient[free]) / np.maximum(np.abs(values), 1e-8))
        moved[free] = np.clip(middle[free] + step, 0.0, _BELOW_ONE)
    return moved


def _exact_share(criterion: _Criterion, level: float) -> tuple[float, float]:
    """Return the exact interval of the intraclass correlation of one level.

    At the true ratio of variances, the reduction of the residual sum of squares by effects of units, over what is left, has an F
    distribution; the interval holds the ratios at which it lies between the quantiles.
    """
    from scipy.optimize import brentq
    from scipy.special import fdtri

    own = list(criterion.fixed)
    stage = criterion.stages[0]
    within, _ = _absorb(criterion.products, stage.random)
    total = within.sum(axis=0)
    values, vectors = np.linalg.eigh(total[np.ix_(own, own)])
    kept = values > 1e-9 * criterion.n
    projected = (vectors.T @ total[own, -1])[kept]
    left = float(total[-1, -1] - (projected**2 / values[kept]).sum())
    units = len(criterion.products)
    df_within = criterion.n - units - int(kept.sum())
    df_between = units - (len(own) - int(kept.sum()))
    if df_within < 1 or df_between < 1 or left <= 0:
        return 0.0, 1.0

    def statistic(ratio: float) -> float:
        return (criterion.parts(np.array([np.sqrt(ratio)]))[1] - left) / df_between / (left / df_within)

    bounds = []
    for probability in ((1 + level) / 2, (1 - level) / 2):
        quantile = float(fdtri(df_between, df_within, probability))
        high = 1.0
        while statistic(high) > quantile and high < 1e8:
            high *= 4
        ratio = brentq(lambda value, q=quantile: statistic(value) - q, 0.0, high, xtol=1e-12) if statistic(0.0) > quantile else 0.0
        bounds.append(ratio / (1 + ratio))
    return bounds[0], bounds[1]


def _too_few(criterion: _Criterion, names: list[str], min_units: int) -> str:
    """Return which level has too few units with at least two members, or nothing."""
    intercept = criterion.stages[0].random[0]
    members = [criterion.products[:, intercept, intercept]]
    for stage in criterion.stages[1:]:
        members.append(np.diff(np.append(stage.starts, len(members[-1]))))
    for name, inner, sizes in zip(names[:-1], names[1:], reversed(members), strict=True):
        enough = int((sizes > MIN_MEMBERS - 0.5).sum())
        if enough < min_units:
            return f"needs at least {MIN_MEMBERS} units of {inner} in at least {min_units} units of {name}; here in {enough}"
    return ""


def _means_by_level(scores: np.ndarray, codes: list[np.ndarray], wanted: list[np.ndarray]) -> np.ndarray:
    """Return the means of everybody, then of the units of each level (outermost first) to which wanted rows belong; clients count once."""
    inner = codes[-1]
    n = np.bincount(inner)
    present = np.flatnonzero(n)
    clients = np.bincount(inner, scores)[present] / n[present]
    means = [np.full(len(wanted[0]), clients.mean())]
    for code, ask in zip(codes, wanted, strict=True):
        parent = np.zeros(len(n), dtype=int)
        parent[inner] = code
        size = int(max(code.max(), ask.max())) + 1
        count = np.bincount(parent[present], minlength=size)
        total = np.bincount(parent[present], clients, minlength=size)
        means.append(np.where(count > 0, total / np.maximum(count, 1), np.nan)[ask])
    return np.array(means)
