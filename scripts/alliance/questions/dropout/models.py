"""Hazard models of leaving treatment: which are fitted, to which person-periods, and what they say as rows of a table.

The same models are fitted at one site and, with an intercept for every site, over the rows of all sites that share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.dropout import periods as spans
from alliance.questions.dropout.periods import Course
from alliance.statistics.competing_risks import cumulative_risk, subdistribution_rows
from alliance.statistics.discrete_time_hazard import (
    MIN_CLUSTERS,
    Coefficients,
    HazardModel,
    fit_without_each,
    hazard,
    hazard_model,
    jackknife_covariance,
)

LEAVING, PLANNED, SUBDISTRIBUTION = "dropout", "planned_ending", "dropout_subdistribution"
FIRST_SESSION, TIME_VARYING, OVER_TIME, PHASE_ONE = "first_session", "time_varying", "effect_over_time", "phase_one"
COMBINATION = "combination"
FRAILTY, JACKKNIFE, INDEPENDENT = "frailty", "jackknife", "independent"
RATIO = {"cloglog": "hazard_ratio", "logit": "odds_ratio"}
FRAILTY_SD = "frailty"
MIN_JACKKNIFE = 5
# Groups of clients left out in turn where therapists are not known: enough for t with many degrees of freedom.
CLIENT_GROUPS = 50
CODED_SESSIONS = "from_session_"


@dataclass(frozen=True)
class Spec:
    """One hazard model.

    Attributes
    ----------
    model, cause, definition, link : str
        As in the keys of the table.
    predictors : tuple of str
        Predictors beside the baseline.
    pair : str
        Combination of a client's and a therapist's column.
    """

    model: str
    cause: str
    definition: str
    link: str = "cloglog"
    predictors: tuple[str, ...] = (spans.FIRST, spans.SEVERITY)
    pair: str = ""

    @property
    def name(self) -> str:
        """The model's name in the table; a combination with its own."""
        return f"{self.model}: {self.pair}" if self.pair else self.model

    @property
    def keys(self) -> dict[str, str]:
        """What tells its rows from those of other models."""
        return {"definition": self.definition, "cause": self.cause, "hazard_model": self.name, "link": self.link}


def specs(options: Mapping[str, Any]) -> list[Spec]:
    """Return every model with therapists' frailty, the headline first."""
    question, main = options["questions"]["dropout"], options["dropout"]["definition"]
    varying = (spans.FIRST, spans.CHANGE, spans.SEVERITY)
    pairs = [
        Spec(COMBINATION, LEAVING, main, predictors=(spans.CLIENT, spans.THERAPIST, spans.BOTH), pair=name)
        for name in sorted(question["combinations"])
    ]
    return [
        Spec(FIRST_SESSION, LEAVING, main),
        Spec(FIRST_SESSION, LEAVING, main, link="logit"),
        Spec(FIRST_SESSION, PLANNED, main),
        Spec(TIME_VARYING, LEAVING, main, predictors=varying),
        Spec(OVER_TIME, LEAVING, main, predictors=(spans.FIRST, spans.FIRST_BY_SESSION, spans.SEVERITY)),
        *pairs,
        Spec(PHASE_ONE, LEAVING, main, predictors=(spans.FAILED, spans.SEVERITY)),
        *(Spec(FIRST_SESSION, LEAVING, name) for name in sorted(options["dropout"]["definitions"]) if name != main),
    ]


@dataclass(frozen=True)
class Design:
    """Rows of one model, complete in its predictors.

    Attributes
    ----------
    rows : DataFrame
        Person-periods with ``site, client, therapist, session``, the event and the predictors.
    event : str
        Column of the event.
    predictors, baseline : tuple of str
        Columns of the design.
    free_baseline : bool
        Whether each session with an event has a hazard of its own, as in Cox's model.
    n_all : int
        Clients before those without all predictors were left out.
    reason, caution : str
        Why there can be no model, and what must be read with care.
    """

    rows: pd.DataFrame
    event: str
    predictors: tuple[str, ...]
    baseline: tuple[str, ...]
    free_baseline: bool
    n_all: int
    reason: str = ""
    caution: str = ""

    @property
    def names(self) -> list[str]:
        """Columns of the design, predictors first."""
        return [*self.predictors, *self.baseline]

    @property
    def n_events(self) -> int:
        """Events among the rows."""
        return int(self.rows[self.event].sum()) if len(self.rows) else 0

    @property
    def n_clients(self) -> int:
        """Clients among the rows."""
        return len(self.rows[["site", "client"]].drop_duplicates()) if len(self.rows) else 0

    @property
    def n_therapists(self) -> int | None:
        """Therapists among the rows; None where they are not all known."""
        if not len(self.rows) or self.rows["therapist"].isna().any():
            return None
        return len(self.rows[["site", "therapist"]].drop_duplicates())

    @property
    def per_parameter(self) -> float:
        """Events per coefficient, intercepts and a free baseline not counted."""
        parameters = len(self.predictors) + (0 if self.free_baseline else len(self.baseline))
        return self.n_events / parameters

    def counts(self) -> dict[str, Any]:
        """Return the counts of a row of the table."""
        return {
            "n_clients": self.n_clients,
            "n_therapists": self.n_therapists,
            "n_sessions": len(self.rows),
            "n_events": self.n_events,
            "events_per_parameter": self.per_parameter,
            "share_missing": 1 - self.n_clients / self.n_all if self.n_all else None,
        }


def design(courses: Sequence[Course], spec: Spec, options: Mapping[str, Any], *, strata: bool = False) -> Design:
    """Return the rows of a model at one site or over several; each site's scores are in its own SD.

    With ``strata`` a free baseline is left to the model's strata instead of columns of the design.
    """
    question = options["questions"]["dropout"]
    definition = options["dropout"]["definitions"][spec.definition]
    frames, reasons, unadjusted, total = [], [], [], 0
    predictors = list(spec.predictors)
    for found in courses:
        ends = spans.endings(found, definition)
        lacking = [_absence(found, name, spec.pair) for name in predictors if name != spans.SEVERITY]
        reason = ends.reason or next((one for one in lacking if one), "")
        if reason:
            reasons.append(reason)
            continue
        here = [name for name in predictors if name != spans.SEVERITY or spans.SEVERITY not in found.lacking]
        if len(here) < len(predictors):
            unadjusted.append(found.site)
        rows = spans.periods(found, ends)
        if spec.model == PHASE_ONE:
            rows = rows[rows["session"] > question["phase_one"]["sessions"][1]]
        rows = spans.with_predictors(rows, found, here, question, spec.pair)
        if len(here) < len(predictors) and len(courses) > 1:
            rows[spans.SEVERITY] = 0.0
        total += rows["client"].nunique() if spec.model == PHASE_ONE else len(found.clients)
        frames.append(rows)
    event = "other_ending" if spec.cause == PLANNED else "dropout"
    if not frames:
        return Design(
            pd.DataFrame(columns=spans.PERIODS), event, tuple(predictors), (), False, total, reasons[0] if reasons else "needs clients"
        )
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    if len(unadjusted) == len(frames):
        rows = rows.drop(columns=spans.SEVERITY, errors="ignore")
    kept = [name for name in predictors if name in rows]
    rows = rows[rows[kept].notna().all(axis=1)].reset_index(drop=True)
    caution = ""
    if unadjusted:
        where = "" if len(courses) == 1 else f" at {', '.join(unadjusted)}"
        caution = f"intake severity is not held constant{where}: it was not sent"
    free = spec.cause == PLANNED
    form = "sessions" if free else question["baseline"]
    rows, baseline = (rows, []) if free and strata else with_baseline(rows, event, form, question["steps"])
    return Design(rows, event, tuple(kept), tuple(baseline), free, total, "", caution)


def _absence(found: Course, predictor: str, pair: str) -> str:
    """Return why a site has no values of a predictor; empty where it has."""
    needed = {
        spans.FIRST: [spans.FIRST],
        spans.FIRST_BY_SESSION: [spans.FIRST],
        spans.CHANGE: [spans.FIRST],
        spans.FAILED: [spans.FIRST, spans.FAILED],
        spans.CLIENT: [f"client:{pair}"],
        spans.THERAPIST: [f"therapist:{pair}"],
        spans.BOTH: [f"client:{pair}", f"therapist:{pair}"],
    }[predictor]
    reason = next((found.lacking[name] for name in needed if name in found.lacking), "")
    return f"needs {reason}" if reason and not reason.startswith(("no ", "the ", "too ")) else reason


def with_baseline(rows: pd.DataFrame, event: str, form: str, steps: Sequence[int]) -> tuple[pd.DataFrame, list[str]]:
    """Return rows with the columns of the baseline hazard, and their names.

    ``log``: the hazard changes by the same factor with every doubling of the session; ``steps``: it is constant within steps (a step
    without an event is joined to the one before); ``sessions``: each session with events has its own, and sessions without one, whose
    hazard is zero, and sessions after which nobody came again, leave the rows.
    """
    if rows.empty:
        return rows, []
    session = rows["session"].to_numpy()
    if form == "log":
        return rows, [spans.SESSION] if len(np.unique(session)) > 1 else []
    if form == "sessions":
        happened, exposed = np.bincount(session, rows[event]), np.bincount(session)
        telling = (happened > 0) & (happened < exposed)
        rows = rows[telling[session]].reset_index(drop=True)
        starts = np.flatnonzero(telling)
    else:
        edges = np.array([1, *steps])
        step = np.searchsorted(edges, session, side="right") - 1
        happened = np.bincount(step, rows[event], len(edges)) > 0
        starts = edges[happened] if happened.any() else edges[:1]
        starts = np.concatenate([[1], starts[1:]])
    place = np.searchsorted(starts, rows["session"].to_numpy(), side="right") - 1
    names = [f"{CODED_SESSIONS}{start}" for start in starts[1:]]
    return rows.assign(**{name: (place == position + 1).astype(float) for position, name in enumerate(names)}), names


def refused(found: Design, options: Mapping[str, Any]) -> str:
    """Return why a model is not fitted, with numbers; empty where it is."""
    minimum = options["pooling"]["min_clients"]
    floor = options["questions"]["dropout"]["events_per_parameter"]["refuse"]
    if found.reason:
        return found.reason
    if found.n_clients < minimum:
        return f"needs at least {minimum} clients with all predictors; has {found.n_clients}"
    if found.per_parameter < floor:
        parameters = len(found.predictors) + (0 if found.free_baseline else len(found.baseline))
        return f"needs at least {floor * parameters:g} events ({floor:g} for each of {parameters} coefficients); has {found.n_events}"
    return ""


def cautions(found: Design, options: Mapping[str, Any]) -> list[str]:
    """Return what must be read with care about a model that is fitted."""
    low = options["questions"]["dropout"]["events_per_parameter"]["low"]
    few = f"{found.per_parameter:.1f} events per coefficient, fewer than {low:g}" if found.per_parameter < low else ""
    return [one for one in (found.caution, few) if one]


def frailty_rows(courses: Sequence[Course], spec: Spec, options: Mapping[str, Any], one_stage: bool = False) -> list[dict[str, Any]]:
    """Return the rows of one model with therapists' frailty: a ratio for each predictor, and the frailty itself.

    With fewer than five therapists, or where they are not known, clients are taken as independent, flagged.
    """
    found = design(courses, spec, options)
    common = (
        {**spec.keys, "therapists": FRAILTY, "term": "", **found.counts()} if not found.reason else {**spec.keys, "therapists": FRAILTY}
    )
    reason = refused(found, options)
    if reason:
        return _absent(common, spec, reason, options)
    rows, level = found.rows, options["pooling"]["level"]
    therapists = found.n_therapists
    together = therapists is not None and therapists >= MIN_CLUSTERS
    clusters = _labels(rows) if together else None
    model = hazard_model(
        rows[found.event],
        rows[found.names],
        found.names,
        clusters,
        rows["site"] if one_stage else None,
        link=spec.link,
        level=level,
        interval=spec.model == FIRST_SESSION and spec.link == "cloglog",
    )
    if model.status == "not_estimable":
        return _absent(common, spec, model.reason, options)
    notes = cautions(found, options)
    if not together:
        few = "therapists are not known" if therapists is None else f"fewer than {MIN_CLUSTERS} therapists ({therapists})"
        notes.append(f"{few}: clients taken as independent")
    if spec.pair and therapists is not None and therapists < 10:
        notes.append(f"{therapists} therapists tell little of what therapists are like")
    if model.strata_left_out:
        notes.append(f"without {', '.join(map(str, model.strata_left_out))}, where nobody left")
    method = "hazard_one_stage" if one_stage else "hazard_frailty" if together else "hazard_independent"
    status = {"status": "flagged" if notes else "estimated", "reason": "; ".join(notes), "method": method}
    rows = [_ratio(common, spec, term, model, status) for term in _told(found, spec)]
    if spec.model == FIRST_SESSION and spec.link == "cloglog" and together:
        rows.append(_frailty(common, model, status))
    return rows


def _told(found: Design, spec: Spec) -> list[str]:
    """Return the terms of which a row tells: predictors, and in the first model how the hazard changes over sessions."""
    return [*found.predictors, *(name for name in found.baseline if name == spans.SESSION and spec.model == FIRST_SESSION)]


def _labels(rows: pd.DataFrame) -> np.ndarray:
    return (rows["site"].astype(str) + " " + rows["therapist"].astype("int64").astype(str)).to_numpy()


def _ratio(
    common: Mapping[str, Any], spec: Spec, term: str, model: HazardModel, status: Mapping[str, Any], kind: str = ""
) -> dict[str, Any]:
    one = model.coefficients.loc[term]
    ratio = float(np.exp(one["estimate"]))
    return {
        **common,
        "term": term,
        "estimate_type": kind or RATIO[spec.link],
        "estimate": ratio,
        "variance": (ratio * float(one["std_error"])) ** 2,
        **status,
    }


def _frailty(common: Mapping[str, Any], model: HazardModel, status: Mapping[str, Any]) -> dict[str, Any]:
    low, high = model.frailty_low, model.frailty_high
    known = low is not None and high is not None
    return {
        **common,
        "term": FRAILTY_SD,
        "estimate_type": "frailty_sd",
        "estimate": model.frailty_sd,
        "ci_low": low if known else np.nan,
        "ci_high": high if known else np.nan,
        "p_boundary": model.frailty_p,
        **status,
    }


def _absent(common: Mapping[str, Any], spec: Spec, reason: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    with_session = spec.model == FIRST_SESSION and spec.cause != PLANNED and options["questions"]["dropout"]["baseline"] == "log"
    terms = [*spec.predictors, *([spans.SESSION] if with_session else [])]
    absent = {**common, "status": "not_estimable", "reason": f"not estimable: {reason}", "method": "none"}
    return [{**absent, "term": term, "estimate_type": RATIO[spec.link]} for term in terms]


@dataclass(frozen=True)
class Resampled:
    """The headline model and the one of planned endings, of all clients and without each therapist in turn.

    Attributes
    ----------
    found, planned : Design
        Their rows, the same clients.
    groups : ndarray of int, shape (clients,)
        Code of each client's therapist (or group of clients).
    clients : DataFrame
        One row a client, index ``client_no``, with the predictors.
    leaving, ending : Coefficients
        Of all clients.
    leaving_without, ending_without : ndarray, shape (groups, ...)
        Intercepts and coefficients without each group.
    by_therapist : bool
        Whether the groups are therapists.
    reason, caution : str
        Why there is nothing, and what must be read with care.
    """

    found: Design
    planned: Design
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    clients: pd.DataFrame = field(default_factory=pd.DataFrame)
    leaving: Coefficients | None = None
    ending: Coefficients | None = None
    leaving_without: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    ending_without: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    by_therapist: bool = False
    reason: str = ""
    caution: str = ""

    @property
    def n_groups(self) -> int:
        """Number of groups left out in turn."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0

    @property
    def fields(self) -> dict[str, Any]:
        """Method, status and reason of rows whose error comes from leaving out groups."""
        return {
            "method": "cluster_jackknife" if self.by_therapist else "client_jackknife",
            "status": "flagged" if self.caution else "estimated",
            "reason": self.caution,
        }


def resampled(found: Course, options: Mapping[str, Any]) -> Resampled:
    """Return the models without frailty of one site, with each therapist left out in turn.

    With fewer than five therapists, or where they are not known, groups of clients take their place, flagged.
    """
    main = options["dropout"]["definition"]
    leaving = design([found], Spec(FIRST_SESSION, LEAVING, main), options)
    planned = design([found], Spec(FIRST_SESSION, PLANNED, main), options, strata=True)
    reason = refused(leaving, options)
    if reason:
        return Resampled(leaving, planned, reason=reason)
    clients = leaving.rows.drop_duplicates("client").set_index("client")[["therapist", *leaving.predictors]]
    groups, by_therapist, few = groups_of(clients["therapist"])
    of = pd.Series(groups, index=clients.index)
    rows = leaving.rows
    own = fit_without_each(rows[leaving.event], rows[leaving.names], leaving.names, of.loc[rows["client"]].to_numpy())
    if not own[0].found:
        model = hazard_model(rows[leaving.event], rows[leaving.names], leaving.names)
        return Resampled(leaving, planned, reason=model.reason or "the likelihood has no maximum that could be found")
    caution = "; ".join([*cautions(leaving, options), *([few] if few else [])])
    made = Resampled(leaving, planned, groups, clients, own[0], None, own[1], by_therapist=by_therapist, caution=caution)
    if not np.isfinite(own[1]).all():
        return replace(made, reason="without one of the therapists there is no estimate")
    if planned.n_events == 0 or not len(planned.rows):
        # Nobody ended otherwise within the definition's reach: there is nothing that competes.
        return made
    rows = planned.rows
    of_rows = of.loc[rows["client"]].to_numpy()
    whole, without = fit_without_each(rows[planned.event], rows[planned.names], planned.names, of_rows, rows["session"])
    return replace(made, ending=whole if whole.found else None, ending_without=without)


def groups_of(therapists: pd.Series) -> tuple[np.ndarray, bool, str]:
    """Return the groups left out in turn, whether they are therapists, and why not."""
    known = therapists.notna().all()
    count = int(therapists.nunique())
    if known and count >= MIN_JACKKNIFE:
        return pd.factorize(therapists.to_numpy())[0], True, ""
    few = f"fewer than {MIN_JACKKNIFE} therapists ({count})" if known else "therapists are not known"
    return np.arange(len(therapists)) % CLIENT_GROUPS, False, f"{few}: clients taken as independent"


def jackknife_rows(found: Resampled, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the ratios of the headline model without frailty, with errors from leaving out each therapist."""
    spec = Spec(FIRST_SESSION, LEAVING, options["dropout"]["definition"])
    common = {**spec.keys, "therapists": JACKKNIFE, **(found.found.counts() if len(found.found.rows) else {})}
    if found.reason or found.leaving is None:
        return _absent(common, spec, found.reason, options)
    return _jackknifed(common, spec, found.found, found.leaving, found.leaving_without, found.fields)


def _jackknifed(
    common: Mapping[str, Any], spec: Spec, of: Design, whole: Coefficients, without: np.ndarray, fields: Mapping[str, Any]
) -> list[dict[str, Any]]:
    variances = np.diagonal(jackknife_covariance(without))
    rows = []
    for term in _told(of, spec):
        position = of.names.index(term)
        ratio = float(np.exp(whole.slopes[position]))
        numbers = {"estimate": ratio, "variance": ratio**2 * float(variances[1 + position])}
        rows.append({**common, "term": term, "estimate_type": "hazard_ratio", **numbers, **fields})
    return rows


def subdistribution(found: Course, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the ratios of the discrete subdistribution hazard: clients who ended as planned stay at risk, weighted for censoring."""
    main = options["dropout"]["definition"]
    spec = Spec(FIRST_SESSION, SUBDISTRIBUTION, main)
    own = design([found], replace(spec, cause=LEAVING), options)
    common = {**spec.keys, "therapists": JACKKNIFE}
    reason = refused(own, options)
    if reason:
        return _absent({**common, **(own.counts() if len(own.rows) else {})}, spec, reason, options)
    ends = spans.endings(found, options["dropout"]["definitions"][main])
    last, ending = spans.at_risk_until(found, ends)
    kept = found.clients[list(own.predictors)].notna().all(axis=1).to_numpy() & (ends.status != spans.NOT_JUDGED)
    clients = found.clients[kept]
    who, session, event, weight = subdistribution_rows(last[kept], ending[kept], int(last[kept].max(initial=0)))
    rows = pd.DataFrame({"client": clients.index.to_numpy()[who], "session": session, "dropout": event, "weight": weight})
    rows = rows.assign(site=found.site, therapist=clients["therapist"].to_numpy()[who])
    rows = spans.with_predictors(rows, found, own.predictors, options["questions"]["dropout"])
    question = options["questions"]["dropout"]
    rows, baseline = with_baseline(rows, "dropout", question["baseline"], question["steps"])
    model = replace(own, rows=rows, baseline=tuple(baseline))
    groups, by_therapist, few = groups_of(clients["therapist"])
    whole, without = fit_without_each(
        rows["dropout"],
        rows[model.names],
        model.names,
        groups[clients.index.get_indexer(rows["client"])],
        weights=rows["weight"],
    )
    common |= model.counts() | {"n_sessions": len(own.rows)}
    if not whole.found or not np.isfinite(without).all():
        reason = "the likelihood has no maximum (separation)" if not whole.found else "without one of the therapists there is no estimate"
        return _absent(common, spec, reason, options)
    notes = "; ".join([*cautions(own, options), *([few] if few else [])])
    fields = {
        "method": "cluster_jackknife" if by_therapist else "client_jackknife",
        "status": "flagged" if notes else "estimated",
        "reason": notes,
    }
    return _jackknifed(common, spec, model, whole, without, fields)


def risk_of_clients(made: Resampled, leaving: np.ndarray, ending: np.ndarray | None, values: np.ndarray, sessions: int) -> np.ndarray:
    """Return each client's risk of dropout up to each session.

    Parameters
    ----------
    made : Resampled
    leaving, ending : ndarray
        Intercepts and coefficients of leaving and of planned endings (None: nothing competes).
    values : ndarray, shape (clients, predictors)
        Predictors of the clients.
    sessions : int
        Sessions told about.

    Returns
    -------
    ndarray, shape (clients, sessions)
    """
    at = np.arange(1, sessions + 1)
    p = values.shape[1]
    columns = np.zeros((len(at), len(made.found.baseline)))
    starts = [1, *(int(name.removeprefix(CODED_SESSIONS)) for name in made.found.baseline if name.startswith(CODED_SESSIONS))]
    for position, name in enumerate(made.found.baseline):
        columns[:, position] = np.log2(at) if name == spans.SESSION else np.searchsorted(starts, at, side="right") - 1 == position + 1
    own = hazard((leaving[0] + values @ leaving[1 : 1 + p])[:, None] + columns @ leaving[1 + p :])
    if ending is None:
        return cumulative_risk(own, np.zeros_like(own))
    seen = np.sort(made.planned.rows["session"].unique())
    by_session = np.full(len(at), -np.inf)
    here = np.isin(seen, at)
    by_session[seen[here] - 1] = ending[: len(seen)][here]
    return cumulative_risk(own, hazard((values @ ending[len(seen) :])[:, None] + by_session))


def risk_rows(made: Resampled, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the risk of dropout by the sessions of the configuration at a strong and a weak first-session alliance, and its difference.

    Every client's alliance is set to the same value, all else stays; risks are averaged over clients (standardisation). They follow from
    the hazards of leaving and of planned endings, without frailty, so that they are those of the clients on average. Errors by leaving out
    each therapist in turn, on the scale of the difference.
    """
    question = options["questions"]["dropout"]
    spec = Spec(FIRST_SESSION, LEAVING, options["dropout"]["definition"])
    half = question["contrast"] / 2
    levels = {f"{spans.FIRST} +{half:g} SD": half, f"{spans.FIRST} -{half:g} SD": -half}
    difference = " minus ".join(levels)
    common = {**spec.keys, "therapists": JACKKNIFE, **(made.found.counts() if len(made.found.rows) else {})}
    kinds = [*((name, "cumulative_risk") for name in levels), (difference, "risk_difference")]
    reason = made.reason or (
        "the hazard of planned endings has no maximum (separation), and risks need both"
        if made.planned.n_events and (made.ending is None or np.isnan(made.ending_without).any())
        else ""
    )
    rows = []
    last = int(made.found.rows["session"].max()) if len(made.found.rows) else 0
    horizon = max(question["horizons"])
    numbers = None if reason else _standardised_risks(made, list(levels.values()), horizon)
    for session in sorted(question["horizons"]):
        key = {**common, "session": str(session)}
        lacks = reason or (f"needs clients who came to session {session}; the last was {last}" if session > last else "")
        if lacks or numbers is None:
            absent = {"status": "not_estimable", "reason": f"not estimable: {lacks}", "method": "none"}
            rows += [{**key, "term": term, "estimate_type": kind, **absent} for term, kind in kinds]
            continue
        whole, without = numbers[0][session - 1], numbers[1][:, session - 1]
        at_risk = int((made.found.rows["session"] == session).sum())
        fields = dict(made.fields)
        if at_risk < 10:
            told = f"{at_risk} clients came to session {session}"
            fields |= {"status": "flagged", "reason": "; ".join(part for part in (fields["reason"], told) if part)}
        for position, (term, kind) in enumerate(kinds):
            value = whole[position] if position < 2 else whole[0] - whole[1]
            spread = without[:, position] if position < 2 else without[:, 0] - without[:, 1]
            variance = float(jackknife_covariance(spread[:, None])[0, 0])
            rows.append({**key, "term": term, "estimate_type": kind, "estimate": float(value), "variance": variance, **fields})
    return rows


def _standardised_risks(made: Resampled, levels: Sequence[float], sessions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return risks averaged over clients, shape (sessions, levels), and the same without each group, shape (groups, sessions, levels)."""
    values = made.clients[list(made.found.predictors)].to_numpy(dtype=float)
    place = made.found.predictors.index(spans.FIRST)

    def averaged(coefficients: np.ndarray, other: np.ndarray | None, kept: np.ndarray) -> np.ndarray:
        told = []
        for level in levels:
            set_to = values[kept].copy()
            set_to[:, place] = level
            told.append(risk_of_clients(made, coefficients, other, set_to, sessions).mean(axis=0))
        return np.stack(told, axis=-1)

    whole = made.leaving.both
    other = None if made.ending is None else made.ending.both
    everyone = np.ones(len(values), dtype=bool)
    without = [
        averaged(made.leaving_without[group], None if other is None else made.ending_without[group], made.groups != group)
        for group in range(made.n_groups)
    ]
    return averaged(whole, other, everyone), np.array(without)


def all_frailty_rows(courses: Iterable[Course], options: Mapping[str, Any], one_stage: bool = False) -> list[dict[str, Any]]:
    """Return the rows of every model with frailty."""
    courses = list(courses)
    return [row for spec in specs(options) for row in frailty_rows(courses, spec, options, one_stage)]
