"""Do the measures of the alliance predict the outcome equally? Instruments and raters against each other on the same clients (claim A9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from alliance.questions.alliance_outcome.contrasts import RATER_PAIRS, common_rows, term
from alliance.questions.alliance_outcome.measures import (
    FORMS,
    PREFERRED,
    AllianceKey,
    OutcomeKey,
    SiteMeasures,
    measures,
    outcome_instruments,
    outcome_scale,
)
from alliance.questions.contract import WITH_NUMBERS
from alliance.questions.convergent_validity.pairs import INSTRUMENTS, RATERS, is_alliance
from alliance.questions.correlations import published_correlations, published_matrix
from alliance.questions.site_data import SiteData
from alliance.statistics.covariance import partial_correlation
from alliance.statistics.jackknife import covariance_of_sums, cross_products
from alliance.statistics.overlap import normal_theory_variance, williams_test
from alliance.variables.client import RATERS as ALL_RATERS

PREDICTION = "prediction"
CONTRAST = "correlation_contrast"
PREDICTION_FORMS = ("zero_order", "ancova")
NEEDS_TWO = "needs two alliance measures and an outcome of the same clients"


def prediction_rows(site: SiteData, options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[float]]:
    """Return the contrasts of every two alliance measures with every outcome of the configuration, and the correlations behind them.

    Two instruments rated by one person, and one instrument rated by two persons, on the clients who have both and the outcome;
    ``zero_order`` and ``ancova`` (given the intake level). Derived short forms are no measures of their own.

    Parameters
    ----------
    site : SiteData
    options : mapping
        Sections ``alliance``, ``outcome`` and ``pooling.min_clients``.
    """
    if site.published is not None:
        return _from_published(site, options)
    chosen = {**options, "questions": {"alliance_outcome": {"windows": []}}}
    found = measures(site, chosen)
    outcome = options["outcome"]
    rows: list[dict[str, Any]] = []
    spread: list[float] = []
    for instrument in outcome_instruments(options):
        scale = outcome_scale(instrument, options)
        for rater in ALL_RATERS:
            key = OutcomeKey(instrument, scale, rater, outcome["timepoint"])
            if key not in found.outcomes:
                continue
            for kind, first, second in _compared(found, options["alliance"]["scale"]):
                for form in PREDICTION_FORMS:
                    more, variances = _contrast(found, kind, first, second, key, form, options)
                    rows += more
                    spread += variances
    return rows, spread


def _compared(found: SiteMeasures, scale: str) -> Iterator[tuple[str, AllianceKey, AllianceKey]]:
    """Yield two alliance measures and how they are compared, the preferred ones of every two raters last."""
    own = sorted(key for key in found.alliance if key.instrument != PREFERRED and key.scale == scale)
    for first, second in combinations(own, 2):
        if first.rater == second.rater:
            yield INSTRUMENTS, first, second
        elif first.instrument == second.instrument:
            yield RATERS, *((first, second) if (first.rater, second.rater) in RATER_PAIRS else (second, first))
    preferred = {key.rater: key for key in found.alliance if key.instrument == PREFERRED}
    for pair in RATER_PAIRS:
        if all(rater in preferred for rater in pair):
            yield RATERS, preferred[pair[0]], preferred[pair[1]]


def _keys(kind: str, first: AllianceKey, second: AllianceKey, outcome: OutcomeKey, form: str) -> dict[str, Any]:
    return {
        "model": PREDICTION,
        "level": "client",
        "comparison": kind,
        "instrument1": first.instrument,
        "rater1": first.rater,
        "instrument2": second.instrument,
        "rater2": second.rater,
        "alliance_scale": first.scale,
        "window": first.window,
        "outcome_instrument": outcome.instrument,
        "outcome_scale": outcome.scale,
        "outcome_rater": outcome.rater,
        "timepoint": outcome.timepoint,
        "form": form,
    }


def _contrast(
    found: SiteMeasures,
    kind: str,
    first: AllianceKey,
    second: AllianceKey,
    outcome: OutcomeKey,
    form: str,
    options: Mapping[str, Any],
) -> tuple[list[dict[str, Any]], list[float]]:
    keys = _keys(kind, first, second, outcome, form)
    terms = [term(found, one, outcome, str(position)) for position, one in enumerate((first, second), start=1)]
    minimum = options["pooling"]["min_clients"]
    values = found.outcomes[outcome]
    rows, vcov = common_rows(terms, {"first - second": (1, -1)}, found.therapists, form, minimum, keys)
    if form == "ancova" and values.no_intake:
        rows = [{**row, "reason": f"not estimable: {values.no_intake}"} for row in rows]
    columns = [terms[0].alliance, terms[1].alliance, values.post, *([values.intake] if form == "ancova" else [])]
    data = np.column_stack(columns)
    data = data[np.isfinite(data).all(axis=1)]
    rows[2] |= _independent(data, rows[2])
    note = _other_instruments(found, first, second)
    if note and rows[2]["status"] in WITH_NUMBERS:
        rows[2] |= {"status": "flagged", "reason": "; ".join(text for text in (rows[2]["reason"], note) if text)}
    return _named(rows), list(np.diag(vcov))


def _other_instruments(found: SiteMeasures, first: AllianceKey, second: AllianceKey) -> str:
    """Return in words that two raters' preferred measures are different instruments; empty where they are one or named in the keys."""
    if PREFERRED not in (first.instrument, second.instrument):
        return ""
    names = [found.sources.get(key.name, "").partition(".")[0] for key in (first, second)]
    return "" if names[0] == names[1] else f"the raters used different instruments ({names[0]} and {names[1]})"


def _independent(data: np.ndarray, row: Mapping[str, Any]) -> dict[str, float]:
    """Return Williams' test of two alliance measures (columns 0 and 1) with the outcome (column 2) given the rest."""
    if row["status"] == "not_estimable":
        return {}
    spread = data.std(axis=0)
    sums = cross_products((data - data.mean(axis=0)) / np.where(spread > 0, spread, 1)).sum(axis=0)
    return _williams(covariance_of_sums(sums), len(data))


def _williams(covariance: np.ndarray, n: float) -> dict[str, float]:
    held = list(range(3, len(covariance)))
    r = [float(partial_correlation(covariance, i, j, held)) for i, j in ((0, 2), (1, 2), (0, 1))]
    found = williams_test(*r, n - len(held))
    if not np.isfinite(found.p_value):
        return {}
    return {"t_independent": found.statistic, "p_independent": found.p_value}


def _named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of both correlations and of their contrast with their names and which of the two they are."""
    named = []
    for row, which in zip(rows, ("first", "second", "first - second")):
        keys = ("comparison", "instrument1", "rater1", "instrument2", "rater2", "alliance_scale", "window")
        keys += ("outcome_instrument", "outcome_scale", "outcome_rater", "timepoint", "form")
        named.append({**row, "contrast": which, "parameter": "; ".join([*(str(row[key]) for key in keys), which])})
    return named


def _from_published(site: SiteData, options: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[float]]:
    """Return contrasts from a published matrix: variables ``<instrument>.<scale>.<rater>`` with ``outcome`` and ``intake``."""
    alliance, outcome = options["alliance"], options["outcome"]
    matrix = {frozenset((row.var1, row.var2)): (row.r, row.n) for row in published_correlations(site.published).itertuples(index=False)}
    names = sorted({name for pair in matrix for name in pair})
    own = []
    for name in names:
        parts = name.split(".")
        if len(parts) == 3 and parts[1] == alliance["scale"] and is_alliance(site, parts[0], alliance.get("instruments") or ()):
            own.append((AllianceKey(parts[0], parts[1], parts[2], alliance["window"]), name))
    # What a site publishes as outcome is the study's: which of its instruments stands behind it is not known.
    key = OutcomeKey(PREFERRED, outcome["scale"], outcome["rater"], outcome["timepoint"])
    rows: list[dict[str, Any]] = []
    spread: list[float] = []
    for (first, name1), (second, name2) in combinations(own, 2):
        kind = INSTRUMENTS if first.rater == second.rater else RATERS if first.instrument == second.instrument else ""
        if not kind or "outcome" not in names:
            continue
        if kind == RATERS and (first.rater, second.rater) not in RATER_PAIRS:
            first, second, name1, name2 = second, first, name2, name1
        for form in PREDICTION_FORMS:
            variables = [name1, name2, "outcome", *(["intake"] if form == "ancova" else [])]
            more, variances = _published_contrast(_keys(kind, first, second, key, form), variables, matrix, options)
            rows += more
            spread += variances
    return rows, spread


def _published_contrast(
    keys: Mapping[str, Any], names: list[str], matrix: Mapping[frozenset[str], tuple[float, Any]], options: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[float]]:
    types = [FORMS[keys["form"]], FORMS[keys["form"]], CONTRAST]
    r, n, reason = published_matrix(names, matrix, options["pooling"]["min_clients"])
    if reason:
        row = {**keys, "n_clients": n, "method": "none", "status": "not_estimable", "reason": f"not estimable: {reason}"}
        return _named([{**row, "estimate_type": kind} for kind in types]), [np.nan] * 3
    held = list(range(3, len(names)))

    def value(stack: np.ndarray, which: int) -> np.ndarray:
        both = [partial_correlation(stack, i, 2, held) for i in (0, 1)]
        return both[which] if which < 2 else both[0] - both[1]

    rows, spread = [], []
    for which, kind in enumerate(types):
        rows.append(
            {
                **keys,
                "estimate_type": kind,
                "estimate": float(value(r[None], which)[0]),
                "n_clients": n,
                "method": "normal_theory",
                "status": "estimated",
                "reason": "",
            }
        )
        spread.append(normal_theory_variance(lambda stack, which=which: value(stack, which), r, n))
    rows[2] |= _williams(r, n)
    return _named(rows), spread
