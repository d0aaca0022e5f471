"""Contrasts of the alliance-outcome correlation within one site, on the same clients: raters, phases, kinds of outcome, moderators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.measures import (
    FORMS,
    PREFERRED,
    AllianceKey,
    OutcomeKey,
    SiteMeasures,
    outcome_instruments,
    outcome_scale,
)
from alliance.questions.site_data import SiteData
from alliance.statistics.covariance import part_correlation, partial_correlation, regression
from alliance.statistics.jackknife import Jackknifed, covariance_of_sums, cross_products, jackknife
from alliance.variables.client import RATERS, measure

CONTRAST = "correlation_contrast"
RATER_PAIRS = (("client", "therapist"), ("client", "observer"), ("observer", "therapist"))


@dataclass(frozen=True)
class Term:
    """One correlation of a contrast: an alliance measure with an outcome.

    Attributes
    ----------
    label : str
        What it is called in contrasts.
    alliance, post, intake : ndarray, shape (clients,)
        Values, NaN where missing.
    sessions : ndarray, shape (clients,)
        Ratings behind the alliance value.
    keys : dict
        Columns of its row.
    """

    label: str
    alliance: np.ndarray
    post: np.ndarray
    intake: np.ndarray
    sessions: np.ndarray
    keys: dict[str, str]


def term(found: SiteMeasures, alliance: AllianceKey, outcome: OutcomeKey, label: str, **keys: str) -> Term | None:
    """Return a correlation of the site's measures as a term; None where it lacks one of them."""
    if alliance not in found.alliance or outcome not in found.outcomes:
        return None
    values = found.outcomes[outcome]
    return Term(label, found.of(alliance, outcome), values.post, values.intake, found.sessions[alliance], keys)


def common_rows(
    terms: Sequence[Term],
    contrasts: Mapping[str, Sequence[float]],
    therapists: np.ndarray | None,
    form: str,
    min_clients: int,
    common: Mapping[str, Any],
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return the rows of several correlations and of their contrasts on the clients who have all of them, and their covariance.

    Parameters
    ----------
    terms : sequence of Term
    contrasts : mapping of str to weights
        One weight a term.
    therapists : ndarray or None
        Therapist of each client.
    form : str
        Form of the outcome, as in :func:`alliance.questions.alliance_outcome.measures.effects_of`.
    min_clients : int
        Fewer clients: not estimable.
    common : mapping
        Columns of every row.

    Returns
    -------
    rows : list of dict
        Terms first, then contrasts.
    vcov : ndarray, shape (rows, rows)
    """
    columns: list[np.ndarray] = []

    def place(values: np.ndarray) -> int:
        for position, known in enumerate(columns):
            if known is values:
                return position
        columns.append(values)
        return len(columns) - 1

    changes = {id(one.post): one.post - one.intake for one in terms} if form == "change" else {}
    held = form in ("ancova", "residual_gain")
    triples = [(place(one.alliance), place(changes.get(id(one.post), one.post)), [place(one.intake)] if held else []) for one in terms]
    data = np.column_stack(columns)
    complete = np.isfinite(data).all(axis=1)
    weights = np.array([list(contrast) for contrast in contrasts.values()], dtype=float).reshape(len(contrasts), len(terms))
    of = part_correlation if form == "residual_gain" else partial_correlation

    def correlations_and_contrasts(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        r = np.stack([of(covariance, *triple) for triple in triples], axis=-1)
        return np.concatenate([r, r @ weights.T], axis=-1)

    result = jackknife(
        cross_products(z_scores(data[complete])),
        correlations_and_contrasts,
        len(terms) + len(contrasts),
        None if therapists is None else therapists[complete],
        min_rows=min_clients,
    )
    rows = []
    for one in terms:
        sessions = int(one.sessions[complete].sum())
        rows.append({**common, **one.keys, "contrast": "", "estimate_type": FORMS[form], "n_sessions": sessions})
    sessions = int(sum(np.maximum.reduce([one.sessions for one in terms])[complete]))
    rows += [{**common, "contrast": name, "estimate_type": CONTRAST, "n_sessions": sessions} for name in contrasts]
    fields = result_fields(result, therapists is not None)
    clients = len(complete)
    for position, row in enumerate(rows):
        row |= fields | {"estimate": result.estimate[position], "share_missing": 1 - result.n / clients if clients else None}
    return rows, result.vcov


def result_fields(result: Jackknifed, therapists_known: bool) -> dict[str, Any]:
    """Return counts, method, status and reason of jackknifed estimates as columns of ``estimates.csv``."""
    return {
        "n_clients": result.n,
        "n_therapists": result.n_clusters if therapists_known else None,
        "method": result.method,
        "status": "not_estimable" if result.reason else "flagged" if result.caution else "estimated",
        "reason": f"not estimable: {result.reason}" if result.reason else result.caution,
    }


def z_scores(data: np.ndarray) -> np.ndarray:
    """Return columns as z scores, so that products of large numbers keep their digits; constant columns become zero."""
    centred = data - data.mean(axis=0) if len(data) else data
    spread = centred.std(axis=0) if len(data) else np.ones(data.shape[1])
    return centred / np.where(spread > 1e-12 * np.abs(data).max(axis=0, initial=0.0), spread, np.inf)


def preferred(found: SiteMeasures, rater: str, window: str, options: Mapping[str, Any]) -> AllianceKey:
    """Return the key of a rater's preferred alliance measure in a window."""
    return AllianceKey(PREFERRED, options["alliance"]["scale"], rater, window)


def main_outcome(options: Mapping[str, Any]) -> OutcomeKey:
    """Return the outcome of the headline."""
    outcome = options["outcome"]
    return OutcomeKey(PREFERRED, outcome["scale"], outcome["rater"], outcome["timepoint"])


def _same_rater(options: Mapping[str, Any]) -> str:
    return "yes" if options["alliance"]["rater"] == options["outcome"]["rater"] else "no"


Rows = list[tuple[list[dict[str, Any]], np.ndarray]]


def rater_blocks(found: SiteMeasures, options: Mapping[str, Any]) -> Rows:
    """Return who rated what: every rater of the alliance with every rater of one outcome instrument, and the contrasts of raters.

    For each outcome instrument with several raters, and each pair of raters who both rated alliance and outcome: the advantage of the
    same rater over crossed raters. For each rated outcome and each pair of alliance raters: the difference of their correlations, and what
    each adds to the other (partial r given the other's alliance).
    """
    form, window = options["outcome"]["form"], options["alliance"]["window"]
    minimum, timepoint = options["pooling"]["min_clients"], options["outcome"]["timepoint"]
    blocks: Rows = []
    for instrument in outcome_instruments(options):
        scale = outcome_scale(instrument, options)
        outcomes = {rater: OutcomeKey(instrument, scale, rater, timepoint) for rater in RATERS}
        outcomes = {rater: key for rater, key in outcomes.items() if key in found.outcomes}
        common = {"outcome_instrument": instrument, "outcome_scale": scale, "timepoint": timepoint, "window": window, "form": form}
        for rated, outcome in outcomes.items():
            for pair in RATER_PAIRS:
                terms = [_rater_term(found, rater, rated, outcome, options) for rater in pair]
                if None in terms:
                    continue
                contrast = {f"{pair[0]} - {pair[1]} alliance": (1, -1)}
                blocks.append(
                    _numbered(common_rows(terms, contrast, found.therapists, form, minimum, {**common, "pair": " and ".join(pair)}), rated)
                )
                blocks.append(_joint(terms, found, form, minimum, {**common, "pair": " and ".join(pair), "outcome_rater": rated}))
        for pair in RATER_PAIRS:
            if not all(rater in outcomes for rater in pair):
                continue
            terms = [_rater_term(found, alliance, rated, outcomes[rated], options) for alliance in pair for rated in pair]
            if None not in terms:
                contrast = {f"same rater - crossed raters ({' and '.join(pair)})": (0.5, -0.5, -0.5, 0.5)}
                block = common_rows(terms, contrast, found.therapists, form, minimum, {**common, "pair": " x ".join(pair)})
                blocks.append(block)
    return blocks


def _numbered(block: tuple[list[dict[str, Any]], np.ndarray], rated: str) -> tuple[list[dict[str, Any]], np.ndarray]:
    return [{**row, "outcome_rater": rated} for row in block[0]], block[1]


def _rater_term(found: SiteMeasures, rater: str, rated: str, outcome: OutcomeKey, options: Mapping[str, Any]) -> Term | None:
    key = preferred(found, rater, options["alliance"]["window"], options)
    same = "yes" if rater == rated else "no"
    return term(found, key, outcome, rater, alliance_rater=rater, outcome_rater=rated, same_rater=same)


def _joint(
    terms: Sequence[Term], found: SiteMeasures, form: str, minimum: int, common: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return the partial r of each of two raters' alliance given the other's (and the intake level, as the form has it)."""
    first, second = terms
    post = first.post - first.intake if form == "change" else first.post
    held = [] if form in ("change", "zero_order") else [3]
    data = np.column_stack([first.alliance, second.alliance, post, first.intake][: 4 if held else 3])
    complete = np.isfinite(data).all(axis=1)

    def partials(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        return np.stack([partial_correlation(covariance, i, 2, [1 - i, *held]) for i in (0, 1)], axis=-1)

    therapists = None if found.therapists is None else found.therapists[complete]
    result = jackknife(cross_products(z_scores(data[complete])), partials, 2, therapists, min_rows=minimum)
    fields = result_fields(result, found.therapists is not None)
    rows = [
        {
            **common,
            **one.keys,
            "contrast": f"{one.label} alliance given {other.label} alliance",
            "estimate_type": "partial_correlation",
            "estimate": result.estimate[position],
            "n_sessions": int(one.sessions[complete].sum()),
            "share_missing": 1 - result.n / len(complete) if len(complete) else None,
            **fields,
        }
        for position, (one, other) in enumerate(((first, second), (second, first)))
    ]
    return rows, result.vcov


def kind_block(found: SiteMeasures, options: Mapping[str, Any]) -> Rows:
    """Return the tailored against the broad outcome with the same alliance on the same clients (claim B4)."""
    outcome = options["outcome"]
    if not (outcome.get("tailored") and outcome.get("broad")):
        return []
    alliance = preferred(found, options["alliance"]["rater"], options["alliance"]["window"], options)
    terms = []
    for kind in ("tailored", "broad"):
        key = OutcomeKey(outcome[kind]["instrument"], outcome[kind]["scale"], outcome["rater"], outcome["timepoint"])
        terms.append(term(found, alliance, key, kind, group=kind))
    if None in terms:
        return []
    form = outcome["form"]
    common = {"moderator": "kind_of_outcome", "where": "within_clients", "form": form, "same_rater": _same_rater(options)}
    contrasts = {"tailored - broad": (1, -1)}
    return [common_rows(terms, contrasts, found.therapists, form, options["pooling"]["min_clients"], common)]


def timing_blocks(site: SiteData, found: SiteMeasures, options: Mapping[str, Any]) -> Rows:
    """Return early, middle, late and averaged alliance with the same outcome on the same clients (claims C4, C5).

    ``as_rated`` averages all ratings of a window; ``equalised`` the same number of ratings in every window, spread evenly over it, since an
    average of more sessions is more reliable.
    """
    question = options["questions"]["alliance_outcome"]
    phases = {phase: name for phase, name in question["phases"].items() if name}
    rater, outcome, form = options["alliance"]["rater"], main_outcome(options), options["outcome"]["form"]
    if outcome not in found.outcomes:
        return []
    values = found.outcomes[outcome]
    blocks: Rows = []
    for sessions in ("as_rated", "equalised"):
        terms = []
        for phase, window in phases.items():
            definition = {"construct": "alliance", "rater": rater, "window": window}
            if sessions == "equalised":
                definition["equal_sessions"] = question["equal_sessions"]
            one = measure(site, definition, options)
            if one.reason:
                continue
            alliance = one.values.drop(_after(one, values.found), errors="ignore").reindex(found.clients).to_numpy(dtype=float)
            rated = one.times["n_sessions"].reindex(found.clients).fillna(0).to_numpy(dtype=float)
            terms.append(Term(phase, alliance, values.post, values.intake, rated, {"phase": phase, "window": window}))
        contrasts = _phase_contrasts([one.label for one in terms])
        if terms:
            common = {"alliance_rater": rater, "outcome_rater": outcome.rater, "sessions": sessions, "form": form}
            common["same_rater"] = _same_rater(options)
            blocks.append(common_rows(terms, contrasts, found.therapists, form, options["pooling"]["min_clients"], common))
    return blocks


def _after(earlier: Any, later: Any) -> pd.Index:
    from alliance.variables.client import order_violations

    return order_violations(earlier, later)


def _phase_contrasts(phases: Sequence[str]) -> dict[str, list[float]]:
    wanted = {
        "early - middle": {"early": 1, "middle": -1},
        "early - late": {"early": 1, "late": -1},
        "late - middle": {"late": 1, "middle": -1},
        "early - averaged": {"early": 1, "averaged": -1},
        "early and late - middle": {"early": 0.5, "late": 0.5, "middle": -1},
    }
    return {name: [weights.get(phase, 0) for phase in phases] for name, weights in wanted.items() if set(weights) <= set(phases)}


def moderator_blocks(site: SiteData, found: SiteMeasures, options: Mapping[str, Any]) -> Rows:
    """Return how the headline correlation differs within the site with what clients bring or get: treatment, planned length, ..."""
    alliance, outcome = preferred(found, options["alliance"]["rater"], options["alliance"]["window"], options), main_outcome(options)
    one = term(found, alliance, outcome, "alliance")
    if one is None:
        return []
    blocks: Rows = []
    for name, content in options["questions"]["alliance_outcome"]["moderators"].items():
        column = content["variable"]
        common = {"moderator": name, "where": "within_sites", "form": options["outcome"]["form"], "same_rater": _same_rater(options)}
        if column not in site.clients:
            blocks.append(_no_moderator(common, content["kind"], f"needs the column {column} of the clients table"))
            continue
        values = site.clients.drop_duplicates("client_no").set_index("client_no")[column].reindex(found.clients)
        if content["kind"] == "category":
            compared = group_blocks(one, values, found, options, common)
            minimum = options["pooling"]["min_clients"]
            few = f"needs two groups of {column} with at least {minimum} clients each"
            blocks += compared or [_no_moderator(common, content["kind"], few)]
        else:
            numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
            with np.errstate(divide="ignore", invalid="ignore"):
                numbers = np.where(numbers > 0, np.log(numbers), np.nan) if content["kind"] == "log" else numbers
            blocks.append(_interaction(one, numbers, found, options, {**common, "group": f"{content['kind']} {column}"}))
    return blocks


def _no_moderator(common: Mapping[str, Any], kind: str, reason: str) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return the row that says why a moderator could not be looked at."""
    estimate_type = CONTRAST if kind == "category" else "interaction_standardised"
    row = {**common, "contrast": "", "estimate_type": estimate_type, "method": "none", "status": "not_estimable"}
    return [{**row, "reason": f"not estimable: {reason}"}], np.full((1, 1), np.nan)


def outcome_columns(one: Term, form: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the outcome of a term in a form, and what is held constant in it."""
    if form == "change":
        return one.post - one.intake, []
    return one.post, [one.intake] if form in ("ancova", "residual_gain") else []


def group_blocks(one: Term, values: pd.Series, found: SiteMeasures, options: Mapping[str, Any], common: Mapping[str, Any]) -> Rows:
    """Return the correlation in every pair of groups and its difference, and the difference of the groups' outcomes."""
    form, minimum = options["outcome"]["form"], options["pooling"]["min_clients"]
    outcome, controls = outcome_columns(one, form)
    data = np.column_stack([one.alliance, outcome, *controls])
    present = np.isfinite(data).all(axis=1) & values.notna().to_numpy()
    labels = values.astype("str").to_numpy()
    sizes = {label: int((present & (labels == label)).sum()) for label in sorted(set(labels[present]))}
    groups = [label for label, size in sizes.items() if size >= minimum]
    held = list(range(2, data.shape[1]))
    of = part_correlation if form == "residual_gain" else partial_correlation
    blocks: Rows = []
    for pair in combinations(groups, 2):
        chosen = present & np.isin(labels, pair)
        scored = z_scores(data[chosen])
        member = np.stack([labels[chosen] == label for label in pair], axis=1)
        sums = cross_products(scored)[:, None] * member[:, :, None, None]

        def differences(stack: np.ndarray) -> np.ndarray:
            covariance = covariance_of_sums(stack)
            r = of(covariance, 0, 1, held)
            n, means = stack[:, :, 0, 0], stack[:, :, 0, 1:] / stack[:, :, :1, 0]
            within = (covariance * n[:, :, None, None]).sum(axis=1)
            # Groups compared at the same intake level, in SD of the outcome given it within groups.
            slopes = regression(within, 1, held) if held else np.zeros((len(stack), 0))
            gap = means[:, 0] - means[:, 1]
            left = (within[:, 1, 1] - (within[:, 1, held] * slopes).sum(axis=-1)) / (n.sum(axis=1) - 2 - len(held))
            effect = (gap[:, 1] - (gap[:, held] * slopes).sum(axis=-1)) / np.sqrt(left)
            return np.stack([r[:, 0], r[:, 1], r[:, 0] - r[:, 1], effect], axis=-1)

        codes = None if found.therapists is None else found.therapists[chosen]
        result = jackknife(sums, differences, 4, codes, min_rows=2 * minimum)
        fields = result_fields(result, codes is not None)
        name = f"{pair[0]} - {pair[1]}"
        kinds = [
            {"group": pair[0], "contrast": "", "pair": name, "estimate_type": FORMS[form]},
            {"group": pair[1], "contrast": "", "pair": name, "estimate_type": FORMS[form]},
            {"contrast": name, "pair": name, "estimate_type": CONTRAST},
            {"contrast": f"{name} (outcome)", "pair": name, "estimate_type": "standardised_mean_difference"},
        ]
        rows = []
        for position, kind in enumerate(kinds):
            counted = fields | ({"n_clients": sizes[pair[position]]} if position < 2 else {})
            share = 1 - counted["n_clients"] / len(labels)
            sessions = int(one.sessions[chosen & (labels == pair[position])].sum()) if position < 2 else int(one.sessions[chosen].sum())
            rows.append(
                {**common, **kind, **counted, "estimate": result.estimate[position], "n_sessions": sessions, "share_missing": share}
            )
        blocks.append((rows, result.vcov))
    return blocks


def _interaction(
    one: Term, moderator: np.ndarray, found: SiteMeasures, options: Mapping[str, Any], common: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Return how the standardised slope of the outcome on the alliance changes per SD of a moderator.

    Regression of the outcome on intake level, alliance, moderator and their product; alliance and moderator are centred and scaled in the
    site, so that differences between sites do not enter.
    """
    outcome, controls = outcome_columns(one, options["outcome"]["form"])
    data = np.column_stack([one.alliance, moderator, outcome, *controls])
    complete = np.isfinite(data).all(axis=1)
    scored = z_scores(data[complete])
    with_product = np.column_stack([scored, scored[:, 0] * scored[:, 1]]) if len(scored) else np.empty((0, data.shape[1] + 1))
    last = with_product.shape[1] - 1
    predictors = [last, 0, 1, *range(3, last)]

    def slope(sums: np.ndarray) -> np.ndarray:
        return regression(covariance_of_sums(sums), 2, predictors)[:, :1]

    codes = None if found.therapists is None else found.therapists[complete]
    result = jackknife(cross_products(with_product), slope, 1, codes, min_rows=options["pooling"]["min_clients"])
    row = {
        **common,
        "contrast": "alliance x moderator",
        "estimate_type": "interaction_standardised",
        "estimate": result.estimate[0],
        "n_sessions": int(one.sessions[complete].sum()),
        "share_missing": 1 - result.n / len(complete) if len(complete) else None,
        **result_fields(result, codes is not None),
    }
    return [row], result.vcov
