"""Does a factor go with the alliance alike, whichever instrument measures the alliance? (claim F7)

Within sites: two instruments from the same rater in the same sessions, on the same clients. Between sites: sites whose alliance comes from
different instruments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions import effects
from alliance.questions.alliance_outcome.contrasts import result_fields, z_scores
from alliance.questions.alliance_outcome.measures import PREFERRED
from alliance.questions.client_factors.correlations import NO_ROWS
from alliance.questions.client_factors.measures import SiteFactors, factor_keys, factors_of, windows_and_raters
from alliance.questions.client_factors.pooling import one_rater, tables_by_scale, with_bounds
from alliance.questions.contract import POOLED, WITH_NUMBERS
from alliance.questions.part import Part
from alliance.questions.score_occasions import session_scores
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife
from alliance.variables.client import Measure, measure, measured_after

NAME = "instruments"
OTHER = "(other)"
WITHIN, BETWEEN = "within_sites", "between_sites"
F, CHI2, P_VALUE = "f", "chi2", "p_value"
KEYS = (
    *("factor", "category", "reversed", "alliance_rater", "factor_rater", "same_rater", "window"),
    *("where", "pair", "alliance_instrument", "contrast", "index", "estimate_type"),
)
CONTRAST = "correlation_contrast"


def pair_name(first: str, second: str) -> str:
    """Return what two instruments and the difference of their correlations are called."""
    return f"{first} - {second}"


ANOTHER = pair_name(OTHER, PREFERRED)


def both_rated(site: SiteData, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the alliance of the main rater and window by session, one column an instrument, in order of preference.

    Index ``client_no, session``. Short forms taken from the answers to long ones are no instruments of their own.
    """
    window, rater = windows_and_raters(options)[0]
    scores = session_scores(site, window, options)
    alliance = options["alliance"]
    order = {name.partition(".")[0]: place for place, name in enumerate(alliance["instruments"])}
    known = {key for key, one in site.instruments.items() if one.construct == "alliance"} | set(order)
    wanted = [one for one in scores.columns if one.rater == rater and one.scale == alliance["scale"] and one.instrument in known]
    wanted = sorted(wanted, key=lambda one: (order.get(one.instrument, len(order)), one.instrument))
    table = scores[wanted] if wanted else pd.DataFrame(index=pd.MultiIndex.from_arrays([[], []], names=["client_no", "session"]))
    return table.set_axis([one.instrument for one in wanted], axis=1)


def estimate(site: SiteData, own: SiteFactors, options: Mapping[str, Any]) -> Part:
    """Return the correlation of every factor with two instruments of the alliance, on the same clients and sessions, and the difference.

    Every two instruments of the site, and the second in order of preference against the first, so that sites with other pairs can be
    pooled.

    Parameters
    ----------
    site : SiteData
    own : SiteFactors
    options : mapping
        Configuration.
    """
    part, (window, rater) = Part(), windows_and_raters(options)[0]
    sessions = both_rated(site, options)
    names = list(sessions.columns)
    if len(names) < 2:
        has = f"has {names[0]}" if names else "has none"
        reason = f"needs two instruments of the alliance from the {rater} in window {window}; {has}"
        _refused(part, own, rater, window, reason)
        return part
    measured = {name: _of_instrument(site, name, options) for name in names}
    for first, second in combinations(names, 2):
        # The second of the order first: how another instrument differs from the one that the study uses.
        labels = [(pair_name(second, first), second, first)]
        labels += [(ANOTHER, OTHER, PREFERRED)] if (first, second) == (names[0], names[1]) else []
        rated = sessions[[second, first]].dropna()
        means = rated.groupby(level="client_no").mean().reindex(own.clients)
        ratings = rated.groupby(level="client_no").size().reindex(own.clients).fillna(0).to_numpy(dtype=float)
        late = measured_after(list(own.found.values()), [measured[second], measured[first]], own.clients).any(axis=2)
        for position, (factor, content) in enumerate(own.factors.items()):
            x = np.where(late[:, position], np.nan, own.x[:, position])
            found = own.found[factor]
            keys = factor_keys(factor, content, rater, found.rater, window)
            rows, variances = _compared(x, means.to_numpy(dtype=float), ratings, own, options["pooling"]["min_clients"], found.reason)
            for pair, one, other in labels:
                for row, variance, (instrument, contrast) in zip(rows, variances, ((one, ""), (other, ""), ("", pair)), strict=True):
                    part.add(_named({**keys, **row}, pair, instrument, contrast), variance)
    return part


def _of_instrument(site: SiteData, instrument: str, options: Mapping[str, Any]) -> Measure:
    window, rater = windows_and_raters(options)[0]
    scale = options["alliance"]["scale"]
    return measure(site, {"construct": "alliance", "instrument": instrument, "scale": scale, "window": window, "rater": rater}, options)


def _named(row: Mapping[str, Any], pair: str, instrument: str, contrast: str) -> dict[str, Any]:
    parameter = "/".join(text for text in (row["factor"], pair, instrument or "difference") if text)
    return {
        **row,
        "parameter": parameter,
        "where": WITHIN,
        "pair": pair,
        "alliance_instrument": instrument,
        "contrast": contrast,
        "index": "",
        "estimate_type": CONTRAST if contrast else "correlation",
    }


def _refused(part: Part, own: SiteFactors, rater: str, window: str, reason: str) -> None:
    for factor, content in own.factors.items():
        keys = factor_keys(factor, content, rater, own.found[factor].rater, window)
        missing = {"method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}
        part.add(_named({**keys, **missing}, ANOTHER, "", ANOTHER))


def _compared(
    x: np.ndarray, alliance: np.ndarray, ratings: np.ndarray, own: SiteFactors, minimum: int, missing: str
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return the columns of two correlations with a factor and of their difference, and their variances."""
    data = np.column_stack([x, alliance])
    complete = np.isfinite(data).all(axis=1)

    def values(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        first, second = (partial_correlation(covariance, 0, column, []) for column in (1, 2))
        return np.stack([first, second, first - second], axis=-1)

    therapists = own.therapists
    codes = None if therapists is None else therapists[complete]
    result = jackknife(cross_products(z_scores(data[complete])), values, 3, codes, min_rows=minimum)
    fields = result_fields(result, therapists is not None)
    if missing:
        fields |= {"reason": f"not estimable: {missing}"}
    clients = len(complete)
    fields |= {"n_sessions": int(ratings[complete].sum()), "share_missing": 1 - result.n / clients if clients else None}
    return [{**fields, "estimate": value} for value in result.estimate], np.diagonal(result.vcov)


def pool(
    gathered: pd.DataFrame, main: pd.DataFrame, summaries: Sequence[SiteSummary], scale: str, options: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the table: comparisons within sites, their pooled rows, and sites with different instruments against each other.

    Parameters
    ----------
    gathered : DataFrame
        Estimates of this part.
    main : DataFrame
        Those of the headline, with ``y`` and ``v`` on the scale of pooling.
    summaries : sequence of SiteSummary
    scale : str
        Scale of pooling of correlations.
    options : mapping
        Sections ``alliance.rater``, ``pooling`` and ``questions.client_factors``.
    """
    question = options["questions"]["client_factors"]
    only = {"pair": ANOTHER, "contrast": ANOTHER}
    within = tables_by_scale(gathered, KEYS, summaries, options, NO_ROWS, **only)
    within = with_bounds(within, question["instrument_bound"], options["pooling"], (CONTRAST,))
    return effects.stack(within, between_sites(main, summaries, scale, options))


def between_sites(main: pd.DataFrame, summaries: Sequence[SiteSummary], scale: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return, of every factor, the mean over the sites with each instrument, the differences of these means, and the test that all are
    equal (meta-regression on the instrument of the site's alliance)."""
    used = {one.site: one.facts.get("alliance_instrument") or "" for one in summaries}
    window, rater = windows_and_raters(options)[0]
    rows: list[dict[str, Any]] = []
    means = []
    for factor, content in factors_of(options).items():
        keys = factor_keys(factor, content, rater, "", window) | {"where": BETWEEN, "pair": "", "index": ""}
        own = main[main["factor"].eq(factor)] if len(main) else main
        if len(own):
            own = one_rater(own)
            keys |= {name: own.iloc[0][name] for name in ("factor_rater", "same_rater")}
            own = own.assign(alliance_instrument=own["site"].map(used), **{name: keys[name] for name in ("where", "pair", "index")})
            own = own.assign(contrast="")
            own = own[own["alliance_instrument"].ne("") & own["y"].notna() & own["v"].notna()]
        keys |= {"site": POOLED, "scale": effects.LABELS[scale]}
        if len(own):
            means.append(effects.pooled_rows(own, KEYS, scale, options["pooling"]))
        rows += _differences(own, keys, options["pooling"])
    return effects.stack(*means, pd.DataFrame(rows))


def _differences(own: pd.DataFrame, keys: Mapping[str, Any], pooling: Mapping[str, Any]) -> list[dict[str, Any]]:
    from alliance.statistics.distributions import critical_value, two_sided_p
    from alliance.statistics.meta_regression import meta_regression

    names = sorted(set(own["alliance_instrument"])) if len(own) else []
    test = {**keys, "alliance_instrument": "", "contrast": "all instruments", "estimate_type": "equality_test", "method": "meta_regression"}
    refused = {"method": "none", "status": "not_estimable", "n_sites": len(own)}
    if len(names) < 2:
        reason = f"not estimable: needs sites whose alliance comes from different instruments; has {' and '.join(names) or 'none'}"
        return [{**test, "index": P_VALUE, **refused, "reason": reason}]
    fields = {name: pooling[name] for name in ("tau2", "interval", "level")}
    found = meta_regression(
        own["y"], own["v"], pd.DataFrame({"instrument": own["alliance_instrument"].astype(object).to_numpy()}), **fields
    )
    if found.status == "not_estimable":
        reason = f"not estimable: {found.reason} (instruments: {', '.join(names)})"
        return [{**test, "index": P_VALUE, **refused, "reason": reason}]
    counts = {"n_sites": found.k, **{name: own[name].sum() if own[name].notna().all() else None for name in ("n_clients", "n_therapists")}}
    heterogeneity = {"tau2": found.tau2, "tau2_low": found.tau2_low, "tau2_high": found.tau2_high}
    heterogeneity |= {"i2": None if found.i2 is None else found.i2 / 100, "q": found.qe, "q_df": found.qe_df, "q_p_value": found.qe_p}
    told = {"status": found.status, "reason": found.reason, "method": "meta_regression", **counts}
    b, vcov = found.coefficients["estimate"].to_numpy(), found.vcov
    df = float(found.coefficients["df"].iloc[0])
    rows = []
    for first, second in combinations(names, 2):
        weights = np.zeros(len(b))
        for name, sign in ((first, 1.0), (second, -1.0)):
            # The first instrument by name is what the intercept stands for.
            weights[names.index(name)] += sign if names.index(name) else 0.0
        value, error = float(weights @ b), float(np.sqrt(weights @ vcov @ weights))
        margin = float(critical_value(pooling["level"], df)) * error
        p_value = float(two_sided_p(value / error, df)) if error > 0 and found.k >= pooling["headline_sites"] else None
        row = {**keys, **told, **heterogeneity, "alliance_instrument": "", "contrast": pair_name(first, second), "pair": ""}
        row |= {"estimate_type": "slope_on_moderator", "estimate": value, "std_error": error, "p_value": p_value}
        rows.append(row | {"ci_low": value - margin, "ci_high": value + margin})
    if found.qm is None:
        return [*rows, {**test, "index": P_VALUE, **refused, "reason": "not estimable: the instruments' means have no test"}]
    statistic = CHI2 if pooling["interval"] == "z" else F
    return [
        *rows,
        *({**test, **told, "index": index, "estimate": value} for index, value in ((statistic, found.qm), (P_VALUE, found.qm_p))),
    ]


def methods(options: Mapping[str, Any], table: pd.DataFrame) -> list[Sentence]:
    """Return what was done in this run, with citation keys.

    Parameters
    ----------
    options : mapping
        Section ``questions.client_factors``.
    table : DataFrame
        ``tables/client_factors/instruments.csv``.
    """
    found = table[table["status"].isin(WITH_NUMBERS)]
    sentences = []
    within = found[found["where"].eq(WITHIN) & found["estimate_type"].eq(CONTRAST)]
    if len(within):
        bound = options["questions"]["client_factors"]["instrument_bound"]
        text = (
            "Whether correlations with the alliance hold for other instruments of it was asked at sites with several: the correlations "
            "with two instruments that the same clients filled in at the same sessions were compared as dependent correlations, each "
            f"therapist left out in turn, and their difference was tested against ±{bound:g} by two one-sided tests. "
            "Differences hold those of the instruments' reliability."
        )
        sentences.append(Sentence(text, ("steiger_1980", "schuirmann_1987")))
    if found["where"].eq(BETWEEN).any() and found["estimate_type"].eq("slope_on_moderator").any():
        text = (
            "Sites whose alliance comes from different instruments were compared by meta-regression on the instrument; sites differ in "
            "much else, so that this only describes."
        )
        sentences.append(Sentence(text, ("viechtbauer_2005",)))
    return sentences
