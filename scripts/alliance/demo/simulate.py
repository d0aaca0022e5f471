"""The latent course of treatment: clients in therapists in sites, session by session, all clients at once."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from alliance.demo import traits
from alliance.demo.truth import CATEGORIES, EARLY_SESSIONS, Parameters

PLANNED, UNILATERAL, ADMINISTRATIVE, ONGOING = range(4)
CONTENTS = ("wish_response_of_other", "response_of_self")
TARGETS = ("here_and_now", "outside")
LATE_FROM = 0.67
SUBSCALES = ("task", "bond", "goal")
CLIENT_OUTCOME_ERROR = 0.15
SMALLEST_GAIN_CORRELATION = 0.02
INFLUENCES = ("expertness", "trustworthiness", "attractiveness")


@dataclass(frozen=True)
class Size:
    """How many sites, therapists and clients, and the most sessions a treatment may have."""

    sites: int
    therapists: int
    clients_per_therapist: int
    sessions: int
    vary: bool = True


@dataclass
class Course:
    """Latent values of a study. First axis: clients (or therapists); second axis: session 1, 2, ... where there is one.

    ``alliance`` is the client's view of the alliance (total variance about 1), ``symptoms`` the symptom level (SD 1 at intake, higher
    is worse), ``within`` and ``deviation`` their parts within clients, ``gain`` the residual gain by outcome, ``residual`` the part of
    it that no named effect explains, ``client_traits`` attachment and circumplex of the client, ``influence`` how the therapist seems,
    ``adherence`` the homework done before a session, ``begins``, ``repaired``, ``challenges``, ``interpretations``, ``accuracy``,
    ``content``, ``target`` the events, ``attended`` whether the client came; sessions after ``n_sessions`` did not take place.
    """

    site: np.ndarray
    therapist: np.ndarray
    therapist_after: np.ndarray
    transfer_session: np.ndarray
    therapist_site: np.ndarray
    therapist_traits: dict[str, np.ndarray]
    factors: dict[str, np.ndarray]
    severity: np.ndarray
    treatment: np.ndarray
    planned: np.ndarray
    client_alliance: np.ndarray
    level: np.ndarray
    subscale: dict[str, np.ndarray]
    empathy: np.ndarray
    gain: dict[str, np.ndarray]
    intake: dict[str, np.ndarray]
    post: dict[str, np.ndarray]
    leniency: dict[str, np.ndarray]
    alliance: np.ndarray
    symptoms: np.ndarray
    attended: np.ndarray
    n_sessions: np.ndarray
    reason: np.ndarray
    residual: np.ndarray
    within: np.ndarray
    deviation: np.ndarray
    events: dict[str, np.ndarray] = field(default_factory=dict)
    client_traits: dict[str, np.ndarray] = field(default_factory=dict)
    influence: dict[str, np.ndarray] = field(default_factory=dict)
    adherence: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    @property
    def held(self) -> np.ndarray:
        """Sessions that took place with the client present."""
        return self.attended & (np.arange(self.attended.shape[1])[None, :] < self.n_sessions[:, None])


def stream(seed: int, name: str) -> np.random.Generator:
    """Return a generator of its own for a named part, so that one more part changes no other."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(name.encode()),)))


@dataclass(frozen=True)
class Calibration:
    """What turns named correlations with the early alliance into latent effects.

    Parameters
    ----------
    client : float
        Correlation of the client-level alliance with the client-rated alliance of sessions 1-5, within sites.
    gain : float
        Correlation of that rating with gain on the general outcome.
    explained : float
        Variance of gain that the named effects explain.
    shared : float
        Covariance of the standardised rating with what an outcome holds besides gain: dose and the client's leniency.
    spread : float
        SD of residual gain as a client rates it.
    """

    client: float = 1.0
    gain: float = 1.0
    explained: float = 0.0
    shared: float = 0.0
    spread: float = 1.0


@lru_cache(maxsize=8)
def calibrate(parameters: Parameters) -> Calibration:
    """Find the calibration of a set of parameters from one large simulated study without it."""
    course = simulate(parameters, Size(sites=40, therapists=100, clients_per_therapist=10, sessions=16, vary=False), 0, Calibration())
    p = parameters
    seen = course.held[:, :EARLY_SESSIONS]
    early = (course.alliance[:, :EARLY_SESSIONS] * seen).sum(axis=1) / seen.sum(axis=1) + p.halo * course.leniency["client"]
    error = (1 - p.client_reliability) / p.client_reliability / seen.sum(axis=1)
    early += np.sqrt(error) * stream(0, "calibration").standard_normal(len(early))
    early -= (np.bincount(course.site, early) / np.bincount(course.site))[course.site]
    early /= early.std()
    beside = p.mean_gain * _dose(course) + p.halo * course.leniency["client"]
    gain = math.sqrt(1 - p.outcome_stability**2) * course.gain["general"] + beside
    return Calibration(
        client=round(float(np.mean(early * course.client_alliance)), 4),
        gain=round(float(np.mean(early * course.gain["explained"])), 4),
        explained=round(float(course.gain["explained"].var()), 4),
        shared=round(float(np.mean(early * beside)), 4),
        spread=round(math.sqrt(float(gain.var()) + CLIENT_OUTCOME_ERROR**2), 4),
    )


def factor_correlations(parameters: Parameters, seen: float) -> dict[str, float]:
    """Return the correlations of the client factors with the client-level alliance.

    Parameters
    ----------
    parameters : Parameters
        The observed correlations wanted.
    seen : float
        ``Calibration.client``: what share of a correlation remains visible in the early alliance.
    """
    p = parameters
    wanted = {"interpersonal": p.interpersonal_factors, "intrapersonal": p.intrapersonal_factors}
    single = {"intake_severity": p.severity_alliance, "prognosis": p.prognosis_alliance}
    return {name: (single[name] if name in single else wanted[category]) / seen for name, category in CATEGORIES.items()}


def simulate(parameters: Parameters, size: Size, seed: int, calibration: Calibration | None = None) -> Course:
    """Simulate the latent course of a whole study.

    Parameters
    ----------
    parameters : Parameters
        The effects.
    size : Size
        Sites, therapists a site, clients a therapist, sessions a client at most.
    seed : int
        Equal seeds give equal studies.
    calibration : Calibration, optional
        Default: that of the parameters.

    Returns
    -------
    Course
        Clients in the order of site and therapist.
    """
    p = parameters
    calibration = calibration or calibrate(parameters)
    site_of_therapist, therapist = _nesting(size, stream(seed, "nesting"))
    site = site_of_therapist[therapist]
    seen_traits = _therapist_traits(len(site_of_therapist), stream(seed, "therapists"))
    therapist_effect = stream(seed, "therapist effect").standard_normal(len(site_of_therapist))
    rng = stream(seed, "clients")
    n = len(therapist)
    factors, severity, latent = _client_factors(p, n, rng)
    warmth = stream(seed, "therapist warmth").standard_normal(len(site_of_therapist))
    empathy = math.sqrt(p.empathy_therapist_variance) * warmth[therapist] + math.sqrt(
        1 - p.empathy_therapist_variance
    ) * rng.standard_normal(n)
    client, predicted = _client_alliance(p, factor_correlations(p, calibration.client), factors, empathy, rng)
    reactivity = p.therapist_reactivity_sd * stream(seed, "reactivity").standard_normal(len(site_of_therapist))
    site_effect = stream(seed, "site effect").standard_normal(size.sites)
    level = (
        math.sqrt(p.alliance_site_variance) * site_effect[site]
        + math.sqrt(p.alliance_therapist_variance) * therapist_effect[therapist]
        + math.sqrt(p.alliance_client_variance) * client
        + reactivity[therapist] * severity
    )
    subscale = _subscales(p, seen_traits, therapist, rng)
    treatment = rng.integers(0, 2, n)
    planned = np.maximum(1, np.rint(np.array([0.5, 0.75, 1.0])[rng.integers(0, 3, n)] * size.sessions)).astype(int)
    phases = rng.standard_normal((3, n))
    slope = p.slope_sd * rng.standard_normal(n)
    coasting = rng.random(n) < p.coasting_share
    site_slope = p.alliance_outcome_site_sd * stream(seed, "site slope").standard_normal(size.sites)
    length = (planned - planned.mean()) / max(planned.std(), 1e-9)
    due_to_alliance = (
        p.alliance_outcome_therapist * therapist_effect[therapist]
        + (p.alliance_outcome_client + site_slope[site] + p.treatment_moderation * (treatment - 0.5) + p.length_moderation * length)
        * client
        + p.early_effect * phases[0]
        + p.middle_effect * phases[1]
        + p.late_effect * phases[2]
        + p.empathy_outcome * empathy
        + p.object_relations_outcome * latent["object_relations"]
    )
    other_effects = (
        p.task_goal_outcome * (subscale["task"] + subscale["goal"]) / (2 * max(p.subscale_sd, 1e-9))
        + p.treatment_effect * (treatment - 0.5)
        + p.slope_outcome * slope / max(p.slope_sd, 1e-9)
        + p.coasting_outcome * coasting
    )
    leniency = {rater: rng.standard_normal(n) for rater in ("client", "therapist", "observer")}
    residual = rng.standard_normal(n)
    course = Course(
        site=site,
        therapist=therapist,
        therapist_after=therapist.copy(),
        transfer_session=np.zeros(n, int),
        therapist_site=site_of_therapist,
        therapist_traits=seen_traits,
        factors=factors,
        severity=severity,
        treatment=treatment,
        planned=planned,
        client_alliance=client,
        level=level,
        subscale=subscale,
        empathy=empathy,
        gain={},
        intake={},
        post={},
        leniency=leniency,
        alliance=np.zeros((n, size.sessions)),
        symptoms=np.zeros((n, size.sessions)),
        attended=np.ones((n, size.sessions), bool),
        n_sessions=planned.copy(),
        reason=np.zeros(n, int),
        residual=residual,
        within=np.zeros((n, size.sessions)),
        deviation=np.zeros((n, size.sessions)),
    )
    _transfers(p, course, stream(seed, "transfers"))
    early = _early_gain(p, client, residual, rng)
    expected = _expected_change(p, due_to_alliance + other_effects, residual, severity)
    _sessions(p, course, phases, slope, predicted, coasting, early, expected, stream(seed, "sessions"))
    _outcomes(p, course, calibration, due_to_alliance + other_effects, residual, stream(seed, "outcomes"))
    course.influence = _influence(p, course, calibration, stream(seed, "social influence"))
    course.adherence = _adherence(p, course, calibration, stream(seed, "adherence"))
    _drawn_traits(p, course, therapist_effect, seed)
    return course


def _nesting(size: Size, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    per_site = np.full(size.sites, size.therapists)
    if size.vary:
        per_site = np.clip(per_site + rng.integers(-2, 3, size.sites), 1, None)
    site_of_therapist = np.repeat(np.arange(size.sites), per_site)
    per_therapist = np.full(len(site_of_therapist), size.clients_per_therapist)
    if size.vary:
        per_therapist = np.clip(per_therapist + rng.integers(-1, 3, len(site_of_therapist)), 1, None)
    return site_of_therapist, np.repeat(np.arange(len(site_of_therapist)), per_therapist)


def _therapist_traits(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    training = rng.integers(1, 4, n)
    years = np.rint(np.clip(2.0 + 5.0 * (training - 1) + 4.0 * rng.standard_normal(n), 0, 40)).astype(int)
    return {
        "training": training,
        "years": years,
        "cases": np.rint(10 + years * 12 + 10 * rng.random(n)).astype(int),
        "attachment_anxiety": rng.standard_normal(n),
        "attachment_avoidance": rng.standard_normal(n),
    }


def _client_factors(p: Parameters, n: int, rng: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Return the factors as a clinic records them (life events: higher is worse), severity, and the factors turned towards better."""
    shared = rng.standard_normal(n)
    turned = {}
    for name, category in CATEGORIES.items():
        own = rng.standard_normal(n)
        if category != "diagnostic":
            own = math.sqrt(p.factor_intercorrelation) * shared + math.sqrt(1 - p.factor_intercorrelation) * own
        turned[name] = own
    turned["expectancy"] = rng.standard_normal(n)
    severity = turned["intake_severity"]
    sent = dict(turned)
    sent["life_events"] = -turned["life_events"]
    return sent, severity, turned


def _client_alliance(
    p: Parameters, wanted: dict[str, float], factors: dict[str, np.ndarray], empathy: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the client-level alliance (variance 1) and the part of it that the relational factors predict."""
    relational = [name for name, category in CATEGORIES.items() if category != "diagnostic"]
    c = p.factor_intercorrelation
    total = sum(wanted[name] for name in relational)
    weights = {name: (wanted[name] - c * total / (1 + (len(relational) - 1) * c)) / (1 - c) for name in relational}
    predicted = sum(weights[name] * (-factors[name] if name == "life_events" else factors[name]) for name in relational)
    explained = sum(weights[name] * wanted[name] for name in relational)
    known = (
        p.empathy_alliance * empathy
        + wanted["intake_severity"] * factors["intake_severity"]
        + wanted["prognosis"] * factors["prognosis"]
        + p.expectancy_alliance * factors["expectancy"]
    )
    explained += p.empathy_alliance**2 + wanted["intake_severity"] ** 2 + wanted["prognosis"] ** 2 + p.expectancy_alliance**2
    if explained > 1:
        raise ValueError(
            f"the client factors and empathy together explain {explained:.2f} of the client-level alliance, more than all of it;"
            " lower empathy_alliance, interpersonal_factors, intrapersonal_factors or expectancy_alliance"
        )
    return predicted + known + math.sqrt(1 - explained) * rng.standard_normal(len(empathy)), predicted


def _subscales(p: Parameters, traits: dict[str, np.ndarray], therapist: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    between = math.sqrt(p.alliance_therapist_variance)
    training = (traits["training"] - 2.0) / math.sqrt(2 / 3)
    shifts = {
        "task": p.training_task_goal * training,
        "goal": p.training_task_goal * training,
        "bond": p.training_bond * training + p.attachment_bond * traits["attachment_anxiety"],
    }
    return {name: between * shifts[name][therapist] + p.subscale_sd * rng.standard_normal(len(therapist)) for name in SUBSCALES}


def _transfers(p: Parameters, course: Course, rng: np.random.Generator) -> None:
    moves = rng.random(len(course.site)) < p.transfers
    session = 4 + rng.integers(0, 4, len(course.site))
    following = course.therapist + 1
    same_site = (following < len(course.therapist_site)) & (
        course.therapist_site[np.minimum(following, len(course.therapist_site) - 1)] == course.site
    )
    moves &= same_site & (session < course.planned)
    course.therapist_after[moves] = following[moves]
    course.transfer_session[moves] = session[moves]


def _early_gain(p: Parameters, client: np.ndarray, residual: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    own = math.sqrt(max(0.0, 1 - p.early_gain_outcome**2 - p.early_gain_alliance**2))
    return p.early_gain_mean + p.early_gain_sd * (
        p.early_gain_outcome * residual + p.early_gain_alliance * client + own * rng.standard_normal(len(client))
    )


def _expected_change(p: Parameters, effects: np.ndarray, residual: np.ndarray, severity: np.ndarray) -> np.ndarray:
    """Return the drop from intake to the end of the general symptom level that the course heads for."""
    spread = math.sqrt(1 - p.outcome_stability**2)
    own = math.sqrt(p.outcome_common_variance)
    return p.mean_gain + (1 - p.outcome_stability) * severity + spread * (effects + own * residual)


def _sessions(
    p: Parameters,
    course: Course,
    phases: np.ndarray,
    slope: np.ndarray,
    predicted: np.ndarray,
    coasting: np.ndarray,
    early: np.ndarray,
    change: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Fill in alliance, symptoms, attendance, events and endings, session by session."""
    n, sessions = course.alliance.shape
    planned = course.planned
    within_sd = math.sqrt(p.alliance_within_variance)
    innovation_sd = within_sd * math.sqrt(1 - p.alliance_autoregression**2)
    phase_sd = math.sqrt(p.alliance_phase_variance)
    factor_sd = math.sqrt(p.alliance_client_variance)
    within = within_sd * rng.standard_normal(n)
    deviation = p.symptom_within_sd * rng.standard_normal(n)
    dip = np.zeros(n)
    in_dip = np.zeros(n, int)
    unrepaired = np.zeros(n, bool)
    active = np.ones(n, bool)
    first = np.zeros(n)
    shape = (n, sessions)
    names = ("begins", "repairs", "challenges", "interpretations", "relation_focus", "involvement")
    events = {name: np.zeros(shape, np.int16) for name in names} | {
        "accuracy": np.zeros(shape),
        "content": np.zeros(shape, np.int16),
        "target": np.zeros(shape, np.int16),
        "depth": np.zeros(shape),
        "any_repaired": np.zeros(n, bool),
        "any_unrepaired": unrepaired,
    }
    ongoing = rng.random(n) < p.ongoing_share
    stop_ongoing = 2 + rng.integers(0, max(1, sessions - 1), n)
    for t in range(sessions):
        position = t / max(1, sessions - 1)
        challenges = rng.poisson(p.challenge_rate * (1.0 if t + 1 >= EARLY_SESSIONS else 0.2), n)
        interpretations = rng.poisson(p.interpretation_rate, n)
        accuracy = rng.standard_normal(n)
        content = rng.integers(0, len(CONTENTS), n)
        target = rng.integers(0, len(TARGETS), n)
        relation_now = (interpretations > 0) & (target == 0)
        starting = (in_dip == 0) & (t > 0)
        starting &= rng.random(n) < p.rupture_rate * (1 + p.challenge_rupture * (challenges > 0))
        dip = np.where(starting, -p.rupture_depth * np.abs(1 + 0.3 * rng.standard_normal(n)), dip)
        chance = p.repair_rate / 2 + p.here_and_now_repair / 2 * relation_now
        repairs = (in_dip > 0) & (in_dip <= 2) & (rng.random(n) < chance)
        lost = (in_dip == 2) & ~repairs & (t + 1 <= planned)
        dip = np.where(repairs, 0.0, np.where((in_dip > 2) & ~starting, 0.8 * dip, dip))
        unrepaired |= lost & active
        events["any_repaired"] |= repairs & active
        in_dip = np.where(starting, 1, np.where(repairs | (in_dip == 0) | (in_dip > 6), 0, in_dip + 1))
        dip = np.where(in_dip == 0, 0.0, dip)
        phase = np.where(t < EARLY_SESSIONS, phases[0], np.where((t + 1) / planned > LATE_FROM, phases[2], phases[1]))
        course.within[:, t], course.deviation[:, t] = within, deviation
        course.alliance[:, t] = (
            course.level
            - p.factor_fading * position * factor_sd * predicted
            + _mean_course(p, t + 1, sessions)
            + slope * position
            + phase_sd * phase
            + within
            + dip
        )
        course.alliance[:, t] = np.where(coasting, 1.5 + 0.1 * within, course.alliance[:, t])
        reached = np.clip((t + 1 - 3) / np.maximum(planned - 3, 1), 0, 1)
        course.symptoms[:, t] = course.severity - early * min(t + 1, 3) / 3 - (change - early) * reached + deviation
        if t == 0:
            first = course.alliance[:, 0] - course.alliance[:, 0].mean()
        odds = np.log(p.dropout_rate / (1 - p.dropout_rate)) if 0 < p.dropout_rate < 1 else -np.inf
        hazard = 1 / (1 + np.exp(-(odds + p.dropout_alliance * first + p.dropout_rupture * (in_dip > 2))))
        leaves = active & (t + 1 < planned) & (rng.random(n) < hazard)
        ends = active & ~leaves & (t + 1 < planned) & (rng.random(n) < p.administrative_rate)
        exported = active & ~leaves & ~ends & ongoing & (t + 1 == stop_ongoing) & (t + 1 < planned)
        for what, reason in ((leaves, UNILATERAL), (ends, ADMINISTRATIVE), (exported, ONGOING)):
            course.reason[what] = reason
            course.n_sessions[what] = t + 1
            active &= ~what
        missed = rng.random(n) < p.missed_sessions
        course.attended[:, t] = ~(missed & (t > 0) & (t + 1 != course.n_sessions))
        involvement = 1 / (1 + np.exp(-p.involvement_alliance * course.alliance[:, t]))
        for name, value in (
            ("begins", starting),
            ("repairs", repairs),
            ("challenges", challenges),
            ("interpretations", interpretations),
            ("relation_focus", relation_now),
            ("involvement", rng.binomial(challenges, involvement)),
            ("accuracy", accuracy),
            ("content", content),
            ("target", target),
            ("depth", -dip * starting),
        ):
            events[name][:, t] = value
        quadratic = (interpretations - p.interpretation_rate) ** 2 - p.interpretation_rate
        said = (interpretations > 0) * accuracy
        after_events = (
            p.interpretation_linear * (interpretations - p.interpretation_rate)
            + p.interpretation_quadratic * quadratic
            + np.where(content == 0, p.accuracy_wish_response, p.accuracy_other) * said
        )
        following = (
            p.alliance_autoregression * within
            - p.symptom_alliance_within * within_sd * deviation
            + after_events
            + innovation_sd * rng.standard_normal(n)
        )
        deviation = (
            p.symptom_autoregression * deviation
            - p.alliance_outcome_within * within / within_sd
            + p.symptom_within_sd * rng.standard_normal(n)
        )
        within = following
    course.events = events


def _mean_course(p: Parameters, session: int, sessions: int) -> float:
    if session <= p.peak_session:
        return p.peak_height * (session - p.peak_session) / max(p.peak_session - 1, 1e-9)
    later = session - p.peak_session
    return p.growth_after_peak * later / max(sessions - p.peak_session, 1) - p.settling * min(later, 2) / 2


def _outcomes(
    p: Parameters, course: Course, calibration: Calibration, effects: np.ndarray, residual: np.ndarray, rng: np.random.Generator
) -> None:
    """Fill in residual gain (variance 1) and intake and post level for a general, a tailored and a broad outcome.

    All named effects on the tailored and the broad outcome are those on the general one, times a factor that gives the two named
    correlations.
    """
    n = len(course.site)
    unrepaired, repaired = course.events["any_unrepaired"], course.events["any_repaired"]
    explained = effects + np.where(unrepaired, p.unrepaired_outcome, np.where(repaired, p.repair_outcome, 0.0))
    course.gain["explained"] = explained
    dose = _dose(course)
    factors = {
        "general": 1.0,
        "tailored": _factor(p, calibration, p.tailored_correlation),
        "broad": _factor(p, calibration, p.broad_correlation),
    }
    for name, factor in factors.items():
        own = rng.standard_normal(n)
        rest = math.sqrt(p.outcome_common_variance) * residual + math.sqrt(1 - p.outcome_common_variance) * own
        gain = factor * explained + math.sqrt(max(0.05, 1 - factor**2 * calibration.explained)) * rest
        other = rng.standard_normal(n)
        level = course.severity if name == "general" else 0.8 * course.severity + 0.6 * other
        course.gain[name] = gain
        course.intake[name] = level
        course.post[name] = p.outcome_stability * level - p.mean_gain * dose - math.sqrt(1 - p.outcome_stability**2) * gain


def _residual_weight(p: Parameters, calibration: Calibration, path: float, unexplained: float, names: tuple[str, str]) -> float:
    """Return the correlation with the residual of gain that gives a variable of variance 1 a path to gain beside the alliance.

    A mediator that is drawn after the outcome, given what the alliance leaves unexplained in both, cannot be told from one that
    came before it, and leaves the outcome and the whole effect of the alliance as they are.

    Parameters
    ----------
    path : float
        Wanted path to gain on the general outcome.
    unexplained : float
        Variance of the variable that the client-level alliance does not explain.
    names : tuple of str
        The parameters of the path and of the alliance, for the message.

    Raises
    ------
    ValueError
        Where the path is larger than what gain holds besides the named effects.
    """
    spread = math.sqrt(p.outcome_common_variance * max(0.05, 1 - calibration.explained))
    weight = path * math.sqrt(max(0.0, unexplained)) / max(spread, 1e-9)
    if abs(weight) > 1 or unexplained < 0:
        raise ValueError(f"the effects on gain leave no room for {names[0]}; lower it or {names[1]}, or raise outcome_common_variance")
    return weight


def _influence(p: Parameters, course: Course, calibration: Calibration, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return expertness, trustworthiness and attractiveness as a client perceives them, variance 1."""
    n = len(course.site)
    beside = 1 - p.influence_alliance**2
    common = rng.standard_normal(n)
    found = {}
    for name in INFLUENCES:
        parameter = f"{name}_outcome"
        weight = _residual_weight(p, calibration, getattr(p, parameter), beside, (parameter, "influence_alliance"))
        own = math.sqrt(p.influence_common) * common + math.sqrt(1 - p.influence_common) * rng.standard_normal(n)
        rest = weight * course.residual + math.sqrt(1 - weight**2) * own
        found[name] = p.influence_alliance * course.client_alliance + math.sqrt(beside) * rest
    return found


def _adherence(p: Parameters, course: Course, calibration: Calibration, rng: np.random.Generator) -> np.ndarray:
    """Return the homework done before every session, total variance 1; column 0 has no session before it."""
    n, sessions = course.within.shape
    names = ("adherence_outcome", "alliance_adherence")
    beside = 1 - p.alliance_adherence**2
    weight = _residual_weight(p, calibration, p.adherence_outcome, beside, names)
    rest = weight * course.residual + math.sqrt(1 - weight**2) * rng.standard_normal(n)
    level = p.alliance_adherence * course.client_alliance + math.sqrt(beside) * rest
    within = rng.standard_normal((n, sessions))
    if sessions > 1:
        before = course.within[:, :-1] / math.sqrt(max(p.alliance_within_variance, 1e-9))
        expected = p.symptom_autoregression * course.deviation[:, :-1] - p.alliance_outcome_within * before
        shock = (course.deviation[:, 1:] - expected) / max(p.symptom_within_sd, 1e-9)
        relief = p.adherence_symptoms_within * (1 - p.alliance_adherence_within**2) / max(p.symptom_within_sd, 1e-9)
        own = 1 - p.alliance_adherence_within**2 - relief**2
        if own < 0:
            raise ValueError("symptom_within_sd leaves no room for adherence_symptoms_within; lower it or alliance_adherence_within")
        within[:, 1:] = p.alliance_adherence_within * before - relief * shock + math.sqrt(own) * within[:, 1:]
    share = p.adherence_client_variance
    return math.sqrt(share) * level[:, None] + math.sqrt(1 - share) * within


def _drawn_traits(p: Parameters, course: Course, therapist_effect: np.ndarray, seed: int) -> None:
    """Fill in the traits that are drawn given the alliance."""
    client = course.client_alliance
    own, theirs = traits.circumplex(p, client, course.therapist, len(therapist_effect), stream(seed, "circumplex"))
    course.client_traits = own | traits.client_attachment(p, client, stream(seed, "client attachment"))
    course.therapist_traits |= theirs | traits.therapist_traits(p, therapist_effect, stream(seed, "introject"))


def _dose(course: Course) -> np.ndarray:
    """Return the share of the mean gain that a client reaches; all of it after 8 sessions."""
    return np.clip(course.n_sessions / 8, 0.4, 1)


def _factor(p: Parameters, calibration: Calibration, wanted: float) -> float:
    """Return by what the named effects on gain are multiplied so that the early alliance has the wanted correlation with it.

    Without an effect there is nothing to multiply; and gain cannot hold more than all of its variance.
    """
    if abs(calibration.gain) < SMALLEST_GAIN_CORRELATION:
        return 0.0
    factor = (wanted * calibration.spread - calibration.shared) / (math.sqrt(1 - p.outcome_stability**2) * calibration.gain)
    most = math.sqrt(0.95 / max(calibration.explained, 0.01))
    return min(most, max(-most, factor))
