"""From the latent course to what raters tick: items, scale scores, coded events and the other tables of a study."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd

from alliance.demo.simulate import (
    ADMINISTRATIVE,
    CLIENT_OUTCOME_ERROR,
    CONTENTS,
    INFLUENCES,
    ONGOING,
    PLANNED,
    TARGETS,
    UNILATERAL,
    Course,
    stream,
)
from alliance.demo.truth import Parameters

REASONS = {PLANNED: "planned", UNILATERAL: "unilateral", ADMINISTRATIVE: "administrative", ONGOING: "ongoing"}
SKIPPED = -1
FIRST_DAY = np.datetime64("2024-01-08")
INTAKE_SPAN_DAYS = 420
# Variance of a rater's error-free view with the default effects; it sets the size of the error of items.
VIEW_VARIANCE = {"client": 1.1, "therapist": 0.75, "observer": 1.0}


@dataclass(frozen=True)
class Form:
    """How a latent rating becomes item answers or scale scores.

    Parameters
    ----------
    scales : dict of str to list of int
        Item numbers by scale; an empty list where only scale scores are sent.
    low, high : float
        Range of an item, or of a sent scale score.
    centre, spread : float
        Item mean, and units of the form per unit of the latent rating.
    reverse : tuple of int
        Items worded the other way.
    decimals : int
        Decimals of sent scale scores; -1: whole tens.
    unit : str
        Unit of sent scale scores: ``mean`` or ``sum``.
    """

    scales: dict[str, list[int]]
    low: float
    high: float
    centre: float
    spread: float
    reverse: tuple[int, ...] = ()
    decimals: int = 2
    unit: str = "mean"

    @property
    def n_items(self) -> int:
        """Number of items; 0 where only scale scores are sent."""
        return sum(len(items) for items in self.scales.values())


FORMS = {
    "wai_36": Form(
        {
            "task": [2, 4, 7, 11, 13, 15, 16, 18, 24, 31, 33, 35],
            "bond": [1, 5, 8, 17, 19, 20, 21, 23, 26, 28, 29, 36],
            "goal": [3, 6, 9, 10, 12, 14, 22, 25, 27, 30, 32, 34],
        },
        *(1, 7, 4.9, 0.7),
        reverse=(1, 3, 7, 9, 10, 11, 12, 15, 20, 27, 29, 31, 33, 34),
    ),
    "wai_s": Form({"task": [1, 2, 8, 12], "bond": [3, 5, 7, 9], "goal": [4, 6, 10, 11]}, 1, 7, 4.9, 0.85, reverse=(4, 10)),
    "wai_sr": Form({"task": [1, 2, 10, 12], "bond": [3, 5, 7, 9], "goal": [4, 6, 8, 11]}, 1, 5, 3.4, 0.65),
    "haq_2": Form({"bond": list(range(1, 20))}, 1, 6, 4.3, 0.7, reverse=(4, 8, 11, 16, 19)),
    "care": Form({"empathy": list(range(1, 11))}, 1, 5, 3.5, 0.7),
    "core_10": Form({"symptoms": list(range(1, 11))}, 0, 4, 1.9, 0.65, reverse=(2, 3)),
    "vtas": Form({"therapist_contribution": [], "patient_contribution": [], "interaction": []}, 0, 5, 3.1, 0.7),
    "calpas_p": Form(
        {"patient_commitment": [], "patient_working_capacity": [], "therapist_understanding": [], "working_strategy_consensus": []},
        *(1, 7, 5.0, 0.75),
    ),
    "tas_marziali": Form({"client_positive": [], "therapist_positive": [], "total": []}, 0, 5, 3.2, 0.7),
    "blri_empathy16": Form({"total": []}, -48, 48, 16, 12, decimals=0, unit="sum"),
    "blri_os64": Form({"regard": [], "unconditionality": [], "congruence": []}, -48, 48, 18, 12, decimals=0, unit="sum"),
    "crf_s": Form({name: [] for name in INFLUENCES}, 4, 28, 21, 3.5, decimals=0, unit="sum"),
    "homework_adherence": Form({"total": []}, 0, 100, 62, 24, decimals=-1),
    "target_complaints": Form({"severity": []}, 1, 13, 8.2, 2.1),
    "scl_90_r": Form({"gsi": []}, 0, 4, 1.25, 0.5),
}
SUBSCALE_OF = {
    "patient_commitment": "goal",
    "patient_working_capacity": "task",
    "therapist_understanding": "bond",
    "working_strategy_consensus": "goal",
    "therapist_contribution": "bond",
    "patient_contribution": "task",
    "interaction": "goal",
    "client_positive": "task",
    "therapist_positive": "bond",
}
ALLIANCE = ("wai_36", "wai_s", "wai_sr", "haq_2", "vtas", "calpas_p", "tas_marziali")
OUTCOME_OF = {"core_10": "general", "target_complaints": "tailored", "scl_90_r": "broad"}


@dataclass(frozen=True)
class Collected:
    """One instrument as a site collects it.

    Parameters
    ----------
    instrument, rater : str
        What and who.
    sessions : tuple of int, optional
        Session numbers; empty: every session, unless it is an outcome measured at ``timepoints`` only.
    timepoints : tuple of str
        ``intake``, ``post``, ``follow_up``.
    raters : int
        Number of raters of a session (observers).
    """

    instrument: str
    rater: str
    sessions: tuple[int, ...] | None = None
    timepoints: tuple[str, ...] = ()
    raters: int = 1

    @property
    def name(self) -> str:
        """Return what names the table."""
        return f"{self.instrument}_{self.rater}"


@dataclass
class Tables:
    """The tables of a study or of one site, with raw ids; rows are sorted by client.

    ``responses`` are further coded events of some sites.
    ``ratings`` is keyed by ``Collected.name`` and holds ``client_id, therapist_id, timepoint, session, date, rater_no`` and the items
    ``i1..`` (nullable) or the scales.
    """

    clients: pd.DataFrame
    therapists: pd.DataFrame
    sessions: pd.DataFrame
    ratings: dict[str, pd.DataFrame]
    events: pd.DataFrame
    termination: pd.DataFrame
    collected: dict[str, Collected] = field(default_factory=dict)
    responses: pd.DataFrame = field(default_factory=pd.DataFrame)


def measure(course: Course, parameters: Parameters, seed: int, collected: list[Collected], prefixes: list[str]) -> list[Tables]:
    """Return what the raters of every site write down.

    Parameters
    ----------
    course : Course
        Latent course of the study.
    parameters : Parameters
        The effects.
    seed : int
        Seed of the study.
    collected : list of Collected
        Instruments; every site gets all of them and sends what it likes.
    prefixes : list of str
        Prefix of the ids by site.

    Returns
    -------
    list of Tables
        One a site.
    """
    return _by_site(measure_study(course, parameters, seed, collected, prefixes), course, len(prefixes))


def measure_study(course: Course, parameters: Parameters, seed: int, collected: list[Collected], prefixes: list[str]) -> Tables:
    """Return the tables of all sites together, with a further column ``client``: the client's position in the course."""
    client_ids, therapist_ids = _ids(course, prefixes, seed)
    who = _Who(client_ids, therapist_ids, _session_days(course, seed))
    return Tables(
        clients=_clients(course, who, seed),
        therapists=_therapists(course, therapist_ids),
        sessions=_session_table(course, who),
        ratings={c.name: _ratings(course, parameters, seed, c, who) for c in collected},
        events=_events(course, who),
        termination=_termination(course, who),
        collected={c.name: c for c in collected},
    )


@dataclass(frozen=True)
class _Who:
    client_ids: np.ndarray
    therapist_ids: np.ndarray
    days: np.ndarray


def _ids(course: Course, prefixes: list[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    def numbered(site: np.ndarray, mark: str, name: str) -> np.ndarray:
        rng = stream(seed, name)
        ids = np.empty(len(site), dtype=object)
        bounds = np.searchsorted(site, np.arange(len(prefixes) + 1))
        for index, prefix in enumerate(prefixes):
            first, last = bounds[index], bounds[index + 1]
            width = max(3, len(str(last - first)))
            ids[first:last] = [f"{prefix}{mark}{number:0{width}d}" for number in rng.permutation(last - first) + 1]
        return ids

    return numbered(course.site, "", "client ids"), numbered(course.therapist_site, "T", "therapist ids")


def _session_days(course: Course, seed: int) -> np.ndarray:
    rng = stream(seed, "dates")
    n, sessions = course.attended.shape
    start = FIRST_DAY + rng.integers(0, INTAKE_SPAN_DAYS, n)
    return start[:, None] + 7 * np.arange(1, sessions + 1)[None, :] + rng.integers(0, 3, (n, sessions))


def _start_days(who: _Who) -> np.ndarray:
    return who.days[:, 0] - 9


def _therapist_at(course: Course, client: np.ndarray, session: np.ndarray) -> np.ndarray:
    moved = (course.transfer_session[client] > 0) & (session > course.transfer_session[client])
    return np.where(moved, course.therapist_after[client], course.therapist[client])


def _clients(course: Course, who: _Who, seed: int) -> pd.DataFrame:
    rng = stream(seed, "client facts")
    n = len(course.site)
    f, traits = course.factors, course.client_traits
    return pd.DataFrame(
        {
            "client": np.arange(n),
            "client_id": who.client_ids,
            "therapist_id": who.therapist_ids[course.therapist],
            "age": np.clip(np.rint(39 + 12 * rng.standard_normal(n)), 18, 79).astype(int),
            "gender": np.array(["female", "male", "other"], dtype=object)[np.searchsorted([0.62, 0.985], rng.random(n))],
            "treatment": np.array(["cognitive", "psychodynamic"], dtype=object)[course.treatment],
            "planned_sessions": course.planned,
            "start_date": _start_days(who),
            "social_relations": _scaled(f["social_relations"], 5.5, 1.8, 0, 10),
            "family_relations": _scaled(f["family_relations"], 5.2, 2.0, 0, 10),
            "life_events": np.clip(np.rint(4.5 + 2 * f["life_events"]), 0, 14).astype(int),
            "motivation": _scaled(f["motivation"], 4.9, 1.1, 1, 7),
            "psychological_mindedness": _scaled(f["psychological_mindedness"], 4.8, 1.5, 1, 9),
            "object_relations": _scaled(f["object_relations"], 4.7, 1.0, 1, 9),
            "intake_severity": _scaled(f["intake_severity"], 4.3, 0.9, 1, 7),
            "prognosis": _scaled(f["prognosis"], 4.1, 1.0, 1, 7),
            "expectancy": _scaled(f["expectancy"], 6.0, 1.8, 0, 10),
            "affiliation": traits["affiliation"],
            "dominance": traits["dominance"],
            "attachment_anxiety": _scaled(traits["attachment_anxiety"], 3.4, 1.1, 1, 7),
            "attachment_avoidance": _scaled(traits["attachment_avoidance"], 3.2, 1.1, 1, 7),
        }
    )


def _scaled(values: np.ndarray, centre: float, spread: float, low: float, high: float, decimals: int = 1) -> np.ndarray:
    return np.round(np.clip(centre + spread * values, low, high), decimals)


def _therapists(course: Course, ids: np.ndarray) -> pd.DataFrame:
    traits = course.therapist_traits
    return pd.DataFrame(
        {
            "therapist_id": ids,
            "training": traits["training"],
            "years": traits["years"],
            "cases": traits["cases"],
            "attachment_anxiety": _scaled(traits["attachment_anxiety"], 2.9, 0.9, 1, 7),
            "attachment_avoidance": _scaled(traits["attachment_avoidance"], 2.7, 0.9, 1, 7),
            "affiliation": traits["affiliation"],
            "dominance": traits["dominance"],
            "introject": _scaled(traits["introject"], 6.2, 1.2, 1, 9),
            "alliance_training": traits["alliance_training"],
        }
    )


def _session_table(course: Course, who: _Who) -> pd.DataFrame:
    took_place = np.arange(course.attended.shape[1])[None, :] < course.n_sessions[:, None]
    client, t = np.nonzero(took_place)
    return pd.DataFrame(
        {
            "client": client,
            "client_id": who.client_ids[client],
            "therapist_id": who.therapist_ids[_therapist_at(course, client, t + 1)],
            "session": t + 1,
            "date": who.days[client, t],
            "attended": course.attended[client, t].astype(int),
        }
    )


def _ratings(course: Course, p: Parameters, seed: int, c: Collected, who: _Who) -> pd.DataFrame:
    rng = stream(seed, c.name)
    form = FORMS[c.instrument]
    client, t, timepoint, rater_no = _occasions(course, p, c, rng)
    latent = _latent(course, p, c, form, client, t, timepoint, rng)
    session = np.where(timepoint == "session", t + 1, 0)
    frame = pd.DataFrame(
        {
            "client": client,
            "client_id": who.client_ids[client],
            "therapist_id": who.therapist_ids[_therapist_at(course, client, np.minimum(t + 1, course.n_sessions[client]))],
            "timepoint": timepoint,
            "session": session,
            "date": _occasion_days(course, who, client, t, timepoint),
            "rater_no": rater_no,
        }
    )
    answers = _items(form, p, c.rater, latent, rng) if form.n_items else _scores(form, latent)
    return pd.concat([frame, pd.DataFrame(answers)], axis=1)


def _occasions(
    course: Course, p: Parameters, c: Collected, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return client, session index, timepoint and number of the rater of every form filled in, sorted by client and time."""
    n, sessions = course.attended.shape
    parts = []
    if "intake" in c.timepoints:
        parts.append((np.arange(n), np.full(n, -1), "intake"))
    if c.sessions is None or c.sessions:
        asked = np.ones(sessions, bool) if c.sessions is None else np.isin(np.arange(1, sessions + 1), c.sessions)
        client, t = np.nonzero(course.held & asked[None, :] & (rng.random((n, sessions)) >= p.skipped_forms))
        parts.append((client, t, "session"))
    for timepoint in ("post", "follow_up"):
        if timepoint in c.timepoints:
            missing = np.where(course.reason == PLANNED, p.post_missing, p.post_missing_dropout)
            missing = np.where(course.reason == ONGOING, 1.0, missing + (timepoint == "follow_up") * (1 - missing) * 0.25)
            there = np.nonzero(rng.random(n) >= missing)[0]
            parts.append((there, course.n_sessions[there] - 1, timepoint))
    client = np.concatenate([part[0] for part in parts])
    t = np.concatenate([part[1] for part in parts])
    order_of = np.concatenate([np.full(len(part[0]), number) for number, part in enumerate(parts)])
    names = np.array([part[2] for part in parts], dtype=object)
    order = np.lexsort((t, order_of, client))
    order = np.repeat(order, c.raters)
    rater_no = np.tile(np.arange(1, c.raters + 1), len(order) // c.raters)
    return client[order], t[order], names[order_of[order]], rater_no


def _occasion_days(course: Course, who: _Who, client: np.ndarray, t: np.ndarray, timepoint: np.ndarray) -> np.ndarray:
    day = who.days[client, np.maximum(t, 0)]
    last = who.days[client, course.n_sessions[client] - 1]
    day = np.where(timepoint == "intake", _start_days(who)[client], day)
    day = np.where(timepoint == "post", last + 7, day)
    return np.where(timepoint == "follow_up", last + 180, day)


def _latent(
    course: Course,
    p: Parameters,
    c: Collected,
    form: Form,
    client: np.ndarray,
    t: np.ndarray,
    timepoint: np.ndarray,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Return the error-free rating on every scale of a form."""
    if c.instrument in ALLIANCE:
        view = _alliance_view(course, p, c, client, t, rng)
        return {
            scale: view if c.instrument == "haq_2" or scale == "total" else view + course.subscale[SUBSCALE_OF.get(scale, scale)][client]
            for scale in form.scales
        }
    if c.instrument in OUTCOME_OF:
        return {scale: _outcome_view(course, p, c, client, t, timepoint, rng) for scale in form.scales}
    if c.instrument == "homework_adherence":
        error = 0.3 * rng.standard_normal(len(client))
        return {"total": course.adherence[client, np.maximum(t, 0)] + p.halo * course.leniency[c.rater][client] + error}
    if c.instrument == "crf_s":
        return _influence_views(course, p, c, client, t, rng)
    return _condition_views(course, p, c, form, client, t, rng)


def _alliance_view(course: Course, p: Parameters, c: Collected, client: np.ndarray, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    n = len(course.site)
    alliance, level = course.alliance[client, t], course.level[client]
    level_sd = float(np.round(course.level.std(), 6)) or 1.0
    leniency = p.halo * course.leniency[c.rater][client]
    own = rng.standard_normal(n)[client]
    if c.rater == "client":
        view = alliance + leniency
        if not c.instrument.startswith("wai"):
            overlap = p.instrument_overlap
            view = math.sqrt(overlap) * view + math.sqrt(1 - overlap) * 1.1 * own
        return view
    if c.rater == "therapist":
        accuracy = p.therapist_level_accuracy
        therapist = _therapist_at(course, client, t + 1)
        return (
            p.therapist_bias
            + accuracy * level
            + math.sqrt(1 - accuracy**2) * level_sd * own
            + p.therapist_tracking * (alliance - level)
            + p.avoidance_bias * course.therapist_traits["attachment_avoidance"][therapist]
            + leniency
        )
    accuracy = p.observer_level_accuracy
    if c.instrument != "vtas":
        accuracy *= math.sqrt(p.observer_overlap)
    error = math.sqrt((1 - p.observer_reliability) / p.observer_reliability)
    seen = np.sqrt(1 - accuracy**2) * 0.9 * rng.standard_normal(len(course.site) * course.attended.shape[1])
    return accuracy * alliance + seen[client * course.attended.shape[1] + t] + leniency + error * rng.standard_normal(len(client))


def _outcome_view(
    course: Course, p: Parameters, c: Collected, client: np.ndarray, t: np.ndarray, timepoint: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    outcome = OUTCOME_OF[c.instrument]
    drift = 0.5 * rng.standard_normal(len(course.site))
    level = np.where(timepoint == "intake", course.intake[outcome][client], course.post[outcome][client])
    level = np.where(timepoint == "follow_up", level + drift[client], level)
    if outcome == "general":
        level = np.where(timepoint == "session", course.symptoms[client, np.maximum(t, 0)], level)
    error = {"client": CLIENT_OUTCOME_ERROR, "therapist": p.outcome_therapist_error, "observer": p.outcome_observer_error}[c.rater]
    return level - p.halo * course.leniency[c.rater][client] * (timepoint != "intake") + error * rng.standard_normal(len(client))


def _condition_views(
    course: Course, p: Parameters, c: Collected, form: Form, client: np.ndarray, t: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    n, sessions = course.attended.shape
    views = {}
    within = course.alliance[client, t] - course.level[client]
    for scale in form.scales:
        own = rng.standard_normal(n)[client]
        if c.rater == "observer":
            tie = p.empathy_observer_validity
        elif scale in ("total", "empathy"):
            tie = 1 - p.empathy_fading * t / max(1, sessions - 1)
        else:
            tie = p.condition_loading * (1 - p.empathy_fading * t / max(1, sessions - 1))
        views[scale] = (
            tie * course.empathy[client]
            + np.sqrt(np.maximum(0, 1 - tie**2)) * own
            + 0.25 * within
            + p.halo * course.leniency[c.rater][client]
            + 0.3 * rng.standard_normal(len(client))
        )
    return views


def _influence_views(
    course: Course, p: Parameters, c: Collected, client: np.ndarray, t: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    within = course.alliance[client, t] - course.level[client]
    return {
        name: course.influence[name][client]
        + 0.2 * within
        + p.halo * course.leniency[c.rater][client]
        + 0.4 * rng.standard_normal(len(client))
        for name in INFLUENCES
    }


def _items(form: Form, p: Parameters, rater: str, latent: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, pd.array]:
    """Return ``i1..ik``; the error of an item follows from the wanted reliability of the total (Spearman-Brown)."""
    reliability = {"client": p.client_reliability, "therapist": p.therapist_reliability, "observer": 0.93}[rater]
    error = math.sqrt(form.n_items * VIEW_VARIANCE[rater] * (1 - reliability) / reliability)
    scale_of = {item: scale for scale, items in form.scales.items() for item in items}
    answers = {}
    for item in range(1, form.n_items + 1):
        value = latent[scale_of[item]] + error * rng.standard_normal(len(latent[scale_of[item]]))
        raw = np.clip(np.rint(form.centre + form.spread * value), form.low, form.high).astype(np.int8)
        if item in form.reverse:
            raw = (form.low + form.high - raw).astype(np.int8)
        skipped = rng.random(len(raw)) < p.skipped_items
        answers[f"i{item}"] = pd.arrays.IntegerArray(raw, skipped)
    return answers


def _scores(form: Form, latent: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {scale: _scaled(value, form.centre, form.spread, form.low, form.high, form.decimals) for scale, value in latent.items()}


def _events(course: Course, who: _Who) -> pd.DataFrame:
    """Return the coded events of every second client: counts, 0 included, of ruptures, challenges and interpretations."""
    client, t = np.nonzero(course.held & (np.arange(len(course.site)) % 2 == 0)[:, None])
    e = {name: value[client, t] for name, value in course.events.items() if value.ndim == 2}
    nothing = np.full(len(client), np.nan)
    content = np.array([f"interpretation_{name}" for name in CONTENTS], dtype=object)[e["content"]]
    target = np.array(TARGETS, dtype=object)[e["target"]]
    depth = np.clip(np.rint(1 + 1.6 * e["depth"]), 1, 5)
    accuracy = np.round(np.clip(4 + 1.2 * e["accuracy"], 1, 7), 1)
    kinds = [
        ("rupture", e["begins"], np.where(e["begins"] > 0, depth, np.nan), None, e["begins"] >= 0),
        ("repair", e["repairs"], nothing, None, e["repairs"] > 0),
        ("challenge", e["challenges"], nothing, None, e["challenges"] >= 0),
        ("involvement", e["involvement"], nothing, None, e["challenges"] > 0),
        ("interpretation", e["interpretations"], np.where(e["interpretations"] > 0, accuracy, np.nan), target, e["interpretations"] >= 0),
    ]
    parts = []
    for order, (code, count, intensity, about, rows) in enumerate(kinds):
        parts.append(
            pd.DataFrame(
                {
                    "order": order,
                    "client": client[rows],
                    "client_id": who.client_ids[client[rows]],
                    "session": t[rows] + 1,
                    "code": content[rows] if code == "interpretation" else code,
                    "count": count[rows].astype(int),
                    "intensity": intensity[rows],
                    "target": np.where(count[rows] > 0, about[rows], "") if about is not None else "",
                    "exposure": 50,
                }
            )
        )
    table = pd.concat(parts, ignore_index=True).sort_values(["client", "session", "order"], kind="stable", ignore_index=True)
    return table.drop(columns="order")


def _termination(course: Course, who: _Who) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "client": np.arange(len(course.site)),
            "client_id": who.client_ids,
            "last_session": course.n_sessions,
            "reason": np.array([REASONS[code] for code in sorted(REASONS)], dtype=object)[course.reason],
            "judged_by": "therapist",
        }
    )


def _by_site(whole: Tables, course: Course, n_sites: int) -> list[Tables]:
    therapist_bounds = np.searchsorted(course.therapist_site, np.arange(n_sites + 1))

    def split(frame: pd.DataFrame) -> list[pd.DataFrame]:
        bounds = np.searchsorted(course.site[frame.pop("client").to_numpy()], np.arange(n_sites + 1))
        return [frame.iloc[first:last].reset_index(drop=True) for first, last in pairwise(bounds)]

    clients, sessions, events, termination = map(split, (whole.clients, whole.sessions, whole.events, whole.termination))
    ratings = {name: split(frame) for name, frame in whole.ratings.items()}
    return [
        Tables(
            clients=clients[site],
            therapists=whole.therapists.iloc[therapist_bounds[site] : therapist_bounds[site + 1]].reset_index(drop=True),
            sessions=sessions[site],
            ratings={name: parts[site] for name, parts in ratings.items()},
            events=events[site],
            termination=termination[site],
            collected=whole.collected,
        )
        for site in range(n_sites)
    ]
