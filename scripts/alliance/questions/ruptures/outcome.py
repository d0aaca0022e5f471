"""How treatments end: outcome and dropout after repaired, unrepaired and no ruptures, and with a flat, very high alliance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.alliance_outcome.contrasts import result_fields, z_scores
from alliance.questions.dropout import periods as spans
from alliance.questions.ruptures.criteria import ONLY_REPAIRED, Row, absent, coasting_clients
from alliance.questions.ruptures.sample import NONE, REPAIRED, UNREPAIRED, Sample, Seen
from alliance.questions.site_data import SiteData
from alliance.statistics.covariance import regression
from alliance.statistics.jackknife import covariance_of_sums, cross_products, jackknife
from alliance.variables.client import attended_sessions

OUTCOME, DROPOUT = "outcome", "dropout"
PATTERN, DAMAGE, SEVERITY, NUMBER, COASTING = "pattern", "damage_time", "severity", "number", "coasting"
INTAKE, WITH_GAIN = "intake", "intake and early symptoms"
HELD = {INTAKE: ["intake"], WITH_GAIN: ["intake", "early"]}
PATTERNS = ("repaired - none", "unrepaired - none", "repaired - unrepaired")
TIMES = ("early rupture", "late rupture", "early - late")
DEEP, LONG = "depth of the deepest", "length of the longest"
REPAIRS, FAILURES = "repaired ruptures", "unrepaired ruptures"
LEVEL, VARIABILITY = "level", "variability"
CURVES = (LEVEL, "level squared", VARIABILITY, "variability squared", "level x variability")
FLAT_AND_HIGH = "very high: flat - of usual variability"
COASTS = "coasting - others"
LINES = ("level below the bend", "level above the bend")
IN_RUPTURE, AFTER_REPAIR = "in an unrepaired rupture", "after repaired ruptures"
STATES = (f"{IN_RUPTURE} - no rupture so far", f"{AFTER_REPAIR} - no rupture so far", f"{IN_RUPTURE} - {AFTER_REPAIR}")
OF_TIMES = (f"{IN_RUPTURE}, early sessions", f"{IN_RUPTURE}, late sessions", "early sessions - late sessions")
CLIENTS_PER_TERM = 4
MIN_THERAPISTS = 5
LEAST_EVENTS = 2
STATE_NAMES = {
    "in_rupture": IN_RUPTURE,
    "after_repair": AFTER_REPAIR,
    "early_sessions": f"{IN_RUPTURE}, early",
    "late_sessions": f"{IN_RUPTURE}, late",
}
DIFFERENCE, SLOPE, RATIO = "standardised_mean_difference", "slope_standardised", "hazard_ratio"


def outcome_rows(site: SiteData, found: Sample, options: Mapping[str, Any]) -> list[Row]:
    """Return how repaired and unrepaired ruptures, their time, depth and length go with outcome and dropout, by every criterion."""
    risk = leaving(site, options)
    rows = []
    for one in found.criteria:
        rows += _of_outcome(found, one, options)
        rows += _of_dropout(found, one, risk, options)
    return rows + list(_of_level(found, options))


def _identity(one: Seen | None, outcome: str, topic: str, term: str, covariates: str, kind: str, same_rater: str) -> Row:
    return {
        "criterion": one.name if one else "",
        "rule": one.rule if one else "",
        "outcome": outcome,
        "topic": topic,
        "term": term,
        "covariates": covariates,
        "same_rater": same_rater,
        "estimate_type": kind,
    }


def _rated_alike(rater: str, options: Mapping[str, Any]) -> str:
    return "yes" if rater == options["outcome"]["rater"] else "no"


@dataclass(frozen=True)
class Terms:
    """Predictors of the outcome with what is told of them.

    Attributes
    ----------
    values : ndarray, shape (clients, predictors)
    told : mapping of str to weights
        Linear combinations of the coefficients, one weight a predictor.
    scaled : bool
        Whether predictors are in SD over the clients; else they are 0 or 1.
    residual : bool
        Whether differences are in SD of the outcome given everything; else in SD of the outcome.
    """

    values: np.ndarray
    told: Mapping[str, Sequence[float]]
    scaled: bool
    residual: bool


def adjusted(outcome: np.ndarray, held: np.ndarray, terms: Terms, codes: np.ndarray | None) -> Any:
    """Return combinations of the coefficients of an outcome on terms and covariates, each therapist left out in turn.

    Parameters
    ----------
    outcome : ndarray, shape (n,)
    held : ndarray, shape (n, q)
        Covariates.
    terms : Terms
    codes : ndarray or None
        Therapist of each client.

    Returns
    -------
    Jackknifed
    """
    count = terms.values.shape[1]
    weights = np.array(list(terms.told.values()), dtype=float)
    values = z_scores(terms.values) if terms.scaled else terms.values
    data = np.column_stack([z_scores(np.column_stack([outcome, held])), values])
    q = held.shape[1]
    places = [*range(1 + q, 1 + q + count), *range(1, 1 + q)]

    def combined(sums: np.ndarray) -> np.ndarray:
        covariance = covariance_of_sums(sums)
        slopes = regression(covariance, 0, places)
        n = sums[:, 0, 0]
        left = covariance[:, 0, 0]
        if terms.residual:
            left = (left - (covariance[:, 0, places] * slopes).sum(axis=-1)) * n / (n - 1 - len(places))
        return slopes[:, :count] @ weights.T / np.sqrt(left)[:, None]

    return jackknife(cross_products(data), combined, len(weights), codes, min_rows=len(places) + 3)


def _fitted(
    found: Sample, who: pd.Index, terms: Terms, covariates: str, identities: Sequence[Row], options: Mapping[str, Any], least: int
) -> Iterator[Row]:
    """Yield the rows of one model of the outcome; ``who`` are the clients of the rows of ``terms.values``."""
    held = HELD[covariates]
    lacking = next((found.lacking[name] for name in ("outcome", *held) if name in found.lacking), "")
    if lacking:
        yield from (absent(identity, f"needs outcome, intake level and early symptoms: {lacking}") for identity in identities)
        return
    own = found.columns.reindex(who)
    data = own[["outcome", *held]].to_numpy(dtype=float)
    complete = np.isfinite(data).all(axis=1) & np.isfinite(terms.values).all(axis=1)
    n = int(complete.sum())
    least = max(least, options["pooling"]["min_clients"])
    if n < least:
        yield from (absent(identity, f"needs at least {least} clients with all scores; has {n}") for identity in identities)
        return
    chosen = Terms(terms.values[complete], terms.told, terms.scaled, terms.residual)
    codes = found.codes(who[complete])
    result = adjusted(data[complete, 0], data[complete, 1:], chosen, codes)
    fields = result_fields(result, codes is not None)
    for position, identity in enumerate(identities):
        yield {
            **identity,
            **fields,
            "share_missing": 1 - n / len(found.clients),
            "estimate": result.estimate[position],
            "variance": result.vcov[position, position],
        }


def pattern_terms(pattern: pd.Series, present: np.ndarray, least: int) -> tuple[pd.Series, Terms, dict[str, str]]:
    """Return the clients whose pattern is compared, dummies of it, and what is lacking for each contrast.

    Parameters
    ----------
    pattern : Series
        From :meth:`alliance.questions.ruptures.sample.Seen.pattern`.
    present : ndarray of bool
        Clients with all scores.
    least : int
        A group with fewer such clients is not compared.
    """
    sizes = {name: int((pattern.eq(name).to_numpy() & present).sum()) for name in (NONE, REPAIRED, UNREPAIRED)}
    small = {name: size for name, size in sizes.items() if size < least}
    kept = pattern[~pattern.isin(small)]
    groups = [name for name in (NONE, REPAIRED, UNREPAIRED) if name not in small]
    lacking = {}
    told: dict[str, list[float]] = {}
    for contrast in PATTERNS:
        first, second = contrast.split(" - ")
        few = [name for name in (first, second) if name in small]
        if few:
            named = " and ".join(f"{small[name]} with pattern '{name}'" for name in few)
            lacking[contrast] = f"needs at least {least} clients of either pattern with all scores; has {named}"
            continue
        told[contrast] = [float(name == first) - float(name == second) for name in groups[1:]]
    values = np.column_stack([kept.eq(name).to_numpy(dtype=float) for name in groups[1:]]) if len(groups) > 1 else np.empty((len(kept), 0))
    return kept, Terms(values, told, scaled=False, residual=True), lacking


def pattern_rows(found: Sample, one: Seen, covariates: str, options: Mapping[str, Any]) -> list[Row]:
    """Return the contrasts of the outcome after repaired, unrepaired and no ruptures by one criterion."""
    question = options["questions"]["ruptures"]
    same = _rated_alike(one.rater, options)
    identities = {term: _identity(one, OUTCOME, PATTERN, term, covariates, DIFFERENCE, same) for term in PATTERNS}
    if one.reason:
        return [absent(identity, one.reason) for identity in identities.values()]
    pattern = one.pattern(question["at_the_end"])
    present = found.columns.reindex(pattern.index)[["outcome", *HELD[covariates]]].notna().all(axis=1).to_numpy()
    kept, terms, lacking = pattern_terms(pattern, present, question["min_group"])
    if one.rule == "v_shape":
        lacking |= {term: ONLY_REPAIRED for term in identities if UNREPAIRED in term}
    told = Terms(terms.values, {term: weights for term, weights in terms.told.items() if term not in lacking}, terms.scaled, terms.residual)
    absences = [absent(identities[term], reason) for term, reason in lacking.items()]
    if not told.told:
        lacked = next((found.lacking[name] for name in ("outcome", *HELD[covariates]) if name in found.lacking), "")
        return [row | ({"reason": f"not estimable: needs {lacked}"} if lacked else {}) for row in absences]
    own = [identities[term] for term in told.told]
    return [*_fitted(found, kept.index, told, covariates, own, options, 0), *absences]


def _of_outcome(found: Sample, one: Seen, options: Mapping[str, Any]) -> Iterator[Row]:
    question = options["questions"]["ruptures"]
    same, least = _rated_alike(one.rater, options), question["min_group"]
    rows = one.sessions
    seen = rows[rows["rupture"]]
    for covariates in HELD:
        yield from pattern_rows(found, one, covariates, options)
        times = [_identity(one, OUTCOME, DAMAGE, term, covariates, DIFFERENCE, same) for term in TIMES]
        severity = [_identity(one, OUTCOME, SEVERITY, term, covariates, SLOPE, same) for term in (DEEP, LONG)]
        numbers = [_identity(one, OUTCOME, NUMBER, term, covariates, SLOPE, same) for term in (REPAIRS, FAILURES)]
        if one.reason:
            yield from (absent(identity, one.reason) for identity in (*times, *severity, *numbers))
            continue
        yield from _times(found, one, covariates, times, options)
        worst = seen.groupby("client")[["depth", "length"]].max()
        spread = worst.std().to_numpy() > 0
        if one.rule == "self_report" or not worst["depth"].notna().any() or not spread.all():
            yield from (absent(identity, "needs ruptures that differ in depth and length") for identity in severity)
        else:
            told = {DEEP: [1.0, 0.0], LONG: [0.0, 1.0]}
            terms = Terms(worst.to_numpy(dtype=float), told, scaled=True, residual=False)
            who = pd.Index(worst.index)
            yield from _fitted(found, who, terms, covariates, severity, options, CLIENTS_PER_TERM * (2 + len(HELD[covariates])))
        judged = rows.groupby("client").size()
        counts = [
            seen[chosen].groupby("client").size().reindex(judged.index).fillna(0) / judged * 10
            for chosen in (seen["repaired"], ~seen["repaired"])
        ]
        known = [float(one_kind.gt(0).sum()) >= least for one_kind in counts]
        if one.rule == "v_shape" or not all(known):
            few = f"needs at least {least} clients each with repaired and with unrepaired ruptures"
            yield from (absent(identity, few) for identity in numbers)
            continue
        told = {REPAIRS: [1.0, 0.0], FAILURES: [0.0, 1.0]}
        terms = Terms(np.column_stack(counts).astype(float), told, scaled=True, residual=False)
        yield from _fitted(found, pd.Index(judged.index), terms, covariates, numbers, options, 0)


def _times(found: Sample, one: Seen, covariates: str, identities: Sequence[Row], options: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the two damage times: outcome after an early and after a late rupture, of clients judged in both times."""
    question = options["questions"]["ruptures"]
    rows, least = one.sessions, question["min_group"]
    early = rows["session"] <= question["early_until"]
    who = pd.Index(sorted(set(rows.loc[early, "client"]) & set(rows.loc[~early, "client"])), dtype="int64")
    seen = [who.isin(rows.loc[rows["rupture"] & chosen, "client"]) for chosen in (early, ~early)]
    present = found.columns.reindex(who)[["outcome", *HELD[covariates]]].notna().all(axis=1).to_numpy()
    sizes = [int((flags & present).sum()) for flags in seen] + [int((~flags & present).sum()) for flags in seen]
    if min(sizes) < least and not any(name in found.lacking for name in ("outcome", *HELD[covariates])):
        reason = f"needs at least {least} clients each with and without early and late ruptures; has {sizes[0]} and {sizes[1]} with"
        yield from (absent(identity, reason) for identity in identities)
        return
    told = dict(zip(TIMES, ([1.0, 0.0], [0.0, 1.0], [1.0, -1.0])))
    terms = Terms(np.column_stack(seen).astype(float), told, scaled=False, residual=True)
    yield from _fitted(found, who, terms, covariates, identities, options, 0)


def _of_level(found: Sample, options: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the curved effects of level and variability of the alliance on the outcome, and the outcome of clients who coast."""
    from alliance.statistics import ruptures as rules

    question, packed = options["questions"]["ruptures"], found.series
    same = _rated_alike(options["alliance"]["rater"], options)
    enough = packed.counts >= question["min_sessions"]
    who = pd.Index(packed.clients[enough])
    for covariates in HELD:
        curves = [_identity(None, OUTCOME, COASTING, term, covariates, SLOPE, same) for term in CURVES]
        curves.append(_identity(None, OUTCOME, COASTING, FLAT_AND_HIGH, covariates, "predicted_difference", same))
        lines = [_identity(None, OUTCOME, COASTING, term, covariates, SLOPE, same) for term in LINES]
        group = [_identity(None, OUTCOME, COASTING, COASTS, covariates, DIFFERENCE, same)]
        if not len(who):
            alliance = options["alliance"]
            reason = f"needs {alliance['rater']}-rated alliance in at least {question['min_sessions']} sessions of a client"
            yield from (absent(identity, reason) for identity in (*curves, *lines, *group))
            continue
        mean, squares = rules.mean_and_squares(packed.values, packed.rated)
        spread = np.sqrt(squares / np.maximum(packed.counts - 1, 1))
        level, variability = z_scores(np.column_stack([mean, spread])[enough]).T
        values = np.column_stack([level, level**2, variability, variability**2, level * variability])
        told = {term: [float(place == own) for own in range(5)] for place, term in enumerate(CURVES)}
        # At one SD above the mean level: variability one SD below its mean against the mean.
        told[FLAT_AND_HIGH] = [0.0, 0.0, -1.0, 1.0, -1.0]
        least = CLIENTS_PER_TERM * (len(CURVES) + len(HELD[covariates]))
        yield from _fitted(found, who, Terms(values, told, scaled=False, residual=False), covariates, curves, options, least)
        yield from _two_lines_of_level(found, who, mean[enough], covariates, lines, options)
        coasts = coasting_clients(found, options)
        present = found.columns.reindex(coasts.index)[["outcome", *HELD[covariates]]].notna().all(axis=1).to_numpy()
        size = int((coasts.to_numpy(dtype=bool) & present).sum())
        if size < question["min_group"]:
            yield absent(group[0], f"needs at least {question['min_group']} clients who coast with all scores; has {size}")
            continue
        terms = Terms(coasts.to_numpy(dtype=float)[:, None], {COASTS: [1.0]}, scaled=False, residual=True)
        yield from _fitted(found, coasts.index, terms, covariates, group, options, 0)


def _two_lines_of_level(
    found: Sample, who: pd.Index, level: np.ndarray, covariates: str, identities: Sequence[Row], options: Mapping[str, Any]
) -> Iterator[Row]:
    """Yield the slopes of the outcome on the mean alliance below and above a bend (two-lines test), covariates held constant."""
    from alliance.statistics.two_lines import BETWEEN, two_lines

    lacking = next((found.lacking[name] for name in ("outcome", *HELD[covariates]) if name in found.lacking), "")
    if lacking:
        yield from (absent(identity, f"needs outcome, intake level and early symptoms: {lacking}") for identity in identities)
        return
    data = found.columns.reindex(who)[["outcome", *HELD[covariates]]].to_numpy(dtype=float)
    complete = np.isfinite(data).all(axis=1)
    n, minimum = int(complete.sum()), options["pooling"]["min_clients"]
    if n < minimum:
        yield from (absent(identity, f"needs at least {minimum} clients with all scores; has {n}") for identity in identities)
        return
    codes, clients = found.codes(who[complete]), who[complete].to_numpy()
    told = two_lines(level[complete], data[complete, 0], clients, codes, held=data[complete, 1:], level=BETWEEN, min_clients=minimum)
    if told.reason or told.found is None:
        yield from (absent(identity, told.reason) for identity in identities)
        return
    fields = result_fields(told.found, codes is not None)
    for position, identity in enumerate(identities):
        yield {
            **identity,
            **fields,
            "share_missing": 1 - n / len(found.clients),
            "estimate": told.found.estimate[position],
            "variance": told.found.vcov[position, position],
        }


@dataclass(frozen=True)
class Leaving:
    """Sessions after which clients could have left.

    Attributes
    ----------
    periods : DataFrame
        ``client, therapist, session`` (its number), ``position`` (attended), ``dropout``, ``intake`` and ``early`` in SD.
    same_rater : str
        Whether the person who rated the alliance judged the ending.
    reason : str
        Why nobody can be judged.
    """

    periods: pd.DataFrame
    same_rater: str
    reason: str


def leaving(site: SiteData, options: Mapping[str, Any]) -> Leaving:
    """Return the sessions at risk of one site under the definition of dropout of the configuration."""
    unused = {"window": "(first)", "combinations": {}}
    unused["phase_one"] = {"sessions": [1, 1], "rule": "lowest_third", "amount": None}
    raw = {
        **options,
        "alliance": {**options["alliance"], "windows": {"(first)": {"sessions": [1, 1]}}},
        "outcome": {**options["outcome"], "form": "ancova"},
        "questions": {**options["questions"], "dropout": unused},
    }
    course = spans.course(site, raw)
    definition = options["dropout"]["definitions"][options["dropout"]["definition"]]
    same = spans.same_rater(course, definition, options["alliance"]["rater"])
    ends = spans.endings(course, definition)
    if ends.reason:
        return Leaving(pd.DataFrame(), same, ends.reason)
    periods = spans.periods(course, ends).rename(columns={"session": "position"})
    attended = attended_sessions(site).rename(columns={"client_no": "client"})[["client", "position", "session"]]
    return Leaving(periods.merge(attended, on=["client", "position"], how="left"), same, "" if len(periods) else "needs clients at risk")


def states(one: Seen, periods: pd.DataFrame) -> pd.DataFrame:
    """Return for sessions at risk whether the client is in a rupture that is not repaired so far, or had only repaired ones.

    What is known after a session decides: a rupture that is repaired later counts as open until then.

    Parameters
    ----------
    one : Seen
    periods : DataFrame
        ``client`` and ``session``.

    Returns
    -------
    DataFrame
        ``in_rupture, after_repair`` (0 or 1), index of ``periods``.
    """
    seen = one.sessions.loc[one.sessions["rupture"], ["client", "session", "repaired", "repairs_at"]]
    joined = periods[["client", "session"]].reset_index().merge(seen, on="client", suffixes=("", "_of_rupture"))
    joined = joined[joined["session_of_rupture"] <= joined["session"]]
    is_open = ~(joined["repaired"] & (joined["repairs_at"] <= joined["session"]))
    by_period = is_open.groupby(joined["index"]).any().reindex(periods.index)
    return pd.DataFrame({"in_rupture": by_period.eq(True).astype(float), "after_repair": by_period.eq(False).astype(float)})


def _of_dropout(found: Sample, one: Seen, risk: Leaving, options: Mapping[str, Any]) -> Iterator[Row]:
    for covariates in HELD:
        identities = [_identity(one, DROPOUT, PATTERN, term, covariates, RATIO, risk.same_rater) for term in STATES]
        times = [_identity(one, DROPOUT, DAMAGE, term, covariates, RATIO, risk.same_rater) for term in OF_TIMES]
        reason = one.reason or risk.reason or next((found.lacking[name] for name in HELD[covariates] if name in found.lacking), "")
        if reason:
            yield from (absent(identity, reason) for identity in (*identities, *times))
            continue
        rows = _at_risk(found, one, risk, covariates, options)
        late = rows["session"].to_numpy() > options["questions"]["ruptures"]["early_until"]
        held = HELD[covariates]
        yield from _hazard(found, rows, {"in_rupture": identities[0], "after_repair": identities[1]}, identities[2], held, options)
        if covariates == WITH_GAIN and options["early_gain"]["window"][1] >= options["questions"]["ruptures"]["early_until"]:
            yield from (absent(identity, "needs early sessions after the early-gain window") for identity in times)
            continue
        split = rows.assign(early_sessions=rows["in_rupture"] * ~late, late_sessions=rows["in_rupture"] * late)
        told = {"early_sessions": times[0], "late_sessions": times[1]}
        yield from _hazard(found, split, told, times[2], ["after_repair", *held], options)


def _at_risk(found: Sample, one: Seen, risk: Leaving, covariates: str, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the sessions at risk of judged clients with states and covariates; where early symptoms are held, after these were told."""
    periods = risk.periods[risk.periods["client"].isin(one.sessions["client"])]
    if "early" in HELD[covariates]:
        periods = periods[periods["session"] > options["early_gain"]["window"][1]]
    periods = periods.reset_index(drop=True)
    columns = found.columns[["intake", "early"]]
    scored = ((columns - columns.mean()) / columns.std()).reindex(periods["client"]).reset_index(drop=True)
    rows = pd.concat([periods, states(one, periods), scored], axis=1)
    rows["position_doubled"] = np.log2(rows["position"].astype(float))
    return rows[rows[HELD[covariates]].notna().all(axis=1)].reset_index(drop=True)


def _hazard(
    found: Sample, rows: pd.DataFrame, told: Mapping[str, Row], contrast: Row, held: Sequence[str], options: Mapping[str, Any]
) -> Iterator[Row]:
    """Yield hazard ratios of two states and of the first against the second.

    A state after which fewer than two clients left, or came again, has no ratio: its sessions are left out.

    Parameters
    ----------
    found : Sample
    rows : DataFrame
        Sessions at risk.
    told : mapping of str to dict
        Column (0 or 1) of each of the two states, with what tells its row.
    contrast : dict
        The same of their ratio.
    held : sequence of str
        Columns held constant, states among them.
    options : mapping
    """
    from alliance.statistics.discrete_time_hazard import hazard_model

    empty = {}
    for state in [*told, *held]:
        inside = rows[state].eq(1)
        if state in told or state == "after_repair":
            left, n = int(rows.loc[inside, "dropout"].sum()), int(inside.sum())
            if min(left, n - left) < LEAST_EVENTS:
                empty[state] = f"needs at least {LEAST_EVENTS} sessions '{STATE_NAMES[state]}' after which clients left; has {left} of {n}"
                rows = rows[~inside]
    kept = [state for state in told if state not in empty]
    columns = [*kept, *(name for name in held if name not in empty), "position_doubled"]
    for state, reason in empty.items():
        if state in told:
            yield absent(told[state], reason)
    if len(kept) < 2:
        yield absent(contrast, "; ".join(dict.fromkeys(empty[state] for state in told if state in empty)))
    if not kept:
        return
    weights = {told[state]["term"]: (told[state], [float(state == column) for column in columns]) for state in kept}
    if len(kept) == 2:
        weights[contrast["term"]] = contrast, [1.0, -1.0, *([0.0] * (len(columns) - 2))]
    events = int(rows["dropout"].sum())
    n, limits = rows["client"].nunique(), options["questions"]["dropout"]["events_per_parameter"]
    counts = {"n_clients": n, "n_sessions": len(rows), "n_events": events, "share_missing": 1 - n / len(found.clients)}
    per_term, minimum = events / len(columns), options["pooling"]["min_clients"]
    if n < minimum or per_term < limits["refuse"]:
        reason = f"needs at least {minimum} clients and {limits['refuse']:g} dropouts per coefficient; has {n} and {events}"
        yield from (absent({**identity, "n_clients": n, "n_events": events}, reason) for identity, _ in weights.values())
        return
    known = found.therapists is not None and rows["therapist"].notna().all()
    therapists = rows["therapist"].nunique() if known else 0
    together = therapists >= MIN_THERAPISTS
    clusters = rows["therapist"].to_numpy() if together else None
    model = hazard_model(rows["dropout"], rows[columns], columns, clusters, level=options["pooling"]["level"], interval=False)
    if model.status == "not_estimable":
        yield from (absent({**identity, **counts}, model.reason) for identity, _ in weights.values())
        return
    notes = [] if together else ["therapists few or not known: clients taken as independent"]
    if per_term < limits["low"]:
        notes.append(f"{per_term:.1f} events per coefficient, fewer than {limits['low']:g}")
    slopes = model.coefficients["estimate"].to_numpy()
    for identity, weight in weights.values():
        ratio = float(np.exp(np.array(weight) @ slopes))
        yield {
            **identity,
            **counts,
            "n_therapists": therapists if known else None,
            "estimate": ratio,
            "variance": float(np.array(weight) @ model.vcov @ np.array(weight)) * ratio**2,
            "method": "hazard_frailty" if together else "hazard_independent",
            "status": "flagged" if notes else "estimated",
            "reason": "; ".join(notes),
        }
