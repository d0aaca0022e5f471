"""Whose alliance matters: coefficients of its parts by level, contextual effects, and therapists' shares of variance.

Outcomes of clients follow from the true mean alliance of each therapist and each client's distance from it. The models see observed means:
of the 5 clients of a therapist. The coefficient of these is what the models estimate (see :func:`observed_between`); how far it is from the
coefficient of true means is told apart. Symptoms of sessions follow from the observed parts themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.multilevel import Effect, MixedModel, decompose, mixed_model, variance_shares

RUNS = 500
# An optimiser stops where it stops.
TOLERANCE = 1e-5
CLIENTS, SESSIONS = 5, 8
INTAKE = 0.5
OF_CLIENTS = {"between_client": 0.25, "between_therapist": 0.4}
OF_SESSIONS = {"within_client": 0.15, "between_client": 0.25, "between_therapist": 0.4}
# Shares of the variance of a session's alliance and symptoms that lie between clients of a therapist.
ALLIANCE_OF_CLIENTS, SYMPTOMS_OF_CLIENTS, SYMPTOMS_OF_SESSIONS = 0.4, 0.3, 0.4
COEFFICIENT, CONTRAST = "coefficients of parts of the alliance", "contextual effects of the alliance"

Numbers = tuple[float, float, float, float]


def conditions() -> list[Condition]:
    """Return numbers of therapists and shares of the variance (of alliance and outcome) that lie between them."""
    return [
        Condition(
            f"therapists{therapists}_icc{icc:g}",
            {"n_therapists": therapists, "clients_of_each": CLIENTS, "sessions_of_each": SESSIONS, "icc": icc},
        )
        for therapists, icc in product((10, 20, 40), (0.0, 0.05, 0.2))
    ]


def observed_between(icc: float) -> float:
    """Return the coefficient of observed means of therapists: the true ones weigh by the reliability of the means (Lüdtke et al., 2008)."""
    reliability = icc / (icc + (1 - icc) / CLIENTS)
    return reliability * OF_CLIENTS["between_therapist"] + (1 - reliability) * OF_CLIENTS["between_client"]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return coefficients, contextual effects and shares of variance of the clients' and the sessions' models."""
    therapists, icc = int(condition.parameters["n_therapists"]), float(condition.parameters["icc"])
    by_client = [_client_run(client_data(therapists, icc, random)) for _ in range(runs)]
    by_session = [_session_run(session_data(therapists, icc, random)) for _ in range(runs)]
    observed = {**OF_CLIENTS, "between_therapist": observed_between(icc)}
    results = [*_coefficients(by_client, "clients", observed), *_coefficients(by_session, "sessions", session_truths(therapists, icc))]
    if icc > 0:
        what = "coefficients of therapists' true mean alliance, with observed means in their place"
        part, truth = "between_therapist", OF_CLIENTS["between_therapist"]
        results.append(_intervals(by_client, part, f"{part}, true means", what, "slope_standardised", "satterthwaite", truth))
    for variable in ("alliance", "outcome given intake"):
        what = "shares of the variance of clients between therapists"
        results.append(_intervals(by_client, variable, f"ICC, {variable}", what, "variance_share", "exact", icc))
    return results


def client_data(therapists: int, icc: float, random: np.random.Generator) -> pd.DataFrame:
    """Return one row a client: all variables have variance 1, and alliance and outcome given intake the same share between therapists."""
    of = np.repeat(np.arange(therapists), CLIENTS)
    n = len(of)
    between, own = OF_CLIENTS["between_therapist"], OF_CLIENTS["between_client"]
    shared = np.sqrt(icc) * random.standard_normal(therapists)[of]
    apart = np.sqrt(1 - icc) * random.standard_normal(n)
    left = 1 - INTAKE**2
    therapist = np.sqrt(icc * (left - between**2)) * random.standard_normal(therapists)[of]
    client = np.sqrt((1 - icc) * (left - own**2)) * random.standard_normal(n)
    intake = random.standard_normal(n)
    outcome = INTAKE * intake + between * shared + own * apart + therapist + client
    frame = pd.DataFrame({"therapist": of, "client": np.arange(n), "outcome": outcome, "intake": intake, "alliance": shared + apart})
    return _standardised(frame, ("outcome", "intake", "alliance"))


def session_data(therapists: int, icc: float, random: np.random.Generator) -> pd.DataFrame:
    """Return one row a client and session with the alliance, its parts from earlier sessions, and the symptoms of the next session."""
    clients = therapists * CLIENTS
    client = np.repeat(np.arange(clients), SESSIONS)
    therapist, session = client // CLIENTS, np.tile(np.arange(1, SESSIONS + 1), clients)
    deviations = np.sqrt([icc, ALLIANCE_OF_CLIENTS, 1 - ALLIANCE_OF_CLIENTS - icc])
    alliance = _nested(deviations, therapist, client, random)
    parts = decompose(alliance, client, therapist, session=session, prior=True)[list(OF_SESSIONS)]
    explained = parts.fillna(0.0).to_numpy() @ np.array(list(OF_SESSIONS.values()))
    symptoms = explained + _nested(_symptom_deviations(icc), therapist, client, random)
    frame = pd.DataFrame({"therapist": therapist, "client": client, "session": session, "alliance": alliance, "symptoms": symptoms})
    frame = _standardised(frame, ("alliance", "symptoms"))
    parts = decompose(frame["alliance"], client, therapist, session=session, prior=True)
    return frame.assign(**{name: parts[name].to_numpy() for name in OF_SESSIONS})


def session_truths(therapists: int, icc: float) -> dict[str, float]:
    """Return the coefficients of the parts in standard deviations of alliance (1) and of symptoms over all sessions.

    The variance that the parts explain follows from that of means over the sessions before each session; at the first there are no parts.
    """
    within, own, between = OF_SESSIONS.values()
    session = 1 - ALLIANCE_OF_CLIENTS - icc
    apart = 1 - 1 / CLIENTS
    others = 1 - 1 / therapists
    explained = [0.0]
    for earlier in range(1, SESSIONS):
        mean = ALLIANCE_OF_CLIENTS + session / earlier
        shared = session / earlier
        explained.append(
            within**2 * session * (1 + 1 / earlier)
            + own**2 * mean * apart
            + between**2 * (icc + mean / CLIENTS) * others
            - 2 * within * own * shared * apart
            - 2 * within * between * shared / CLIENTS * others
        )
    spread = np.sqrt(np.mean(explained) + (_symptom_deviations(icc) ** 2).sum())
    return {name: float(value / spread) for name, value in OF_SESSIONS.items()}


def _symptom_deviations(icc: float) -> np.ndarray:
    return np.sqrt([icc, SYMPTOMS_OF_CLIENTS, SYMPTOMS_OF_SESSIONS])


def _nested(deviations: np.ndarray, therapist: np.ndarray, client: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return normal values of sessions with standard deviations between therapists, clients and sessions."""
    values = [random.standard_normal(int(codes.max()) + 1)[codes] for codes in (therapist, client)]
    return deviations @ np.array([*values, random.standard_normal(len(client))])


def _standardised(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    return frame.assign(**{name: (frame[name] - frame[name].mean()) / frame[name].std() for name in columns})


def _client_run(frame: pd.DataFrame) -> dict[str, Numbers]:
    parts = decompose(frame["alliance"], frame["client"], frame["therapist"])
    frame = frame.assign(**{name: parts[name].to_numpy() for name in OF_CLIENTS})
    found = _effects(mixed_model(frame, "outcome", ["1", "intake", *OF_CLIENTS], ["therapist"], level=LEVEL), list(OF_CLIENTS))
    for variable, column, fixed in (("alliance", "alliance", ["1"]), ("outcome given intake", "outcome", ["1", "intake"])):
        share = variance_shares(frame, column, ["therapist"], residual="client", fixed=fixed, level=LEVEL).iloc[0]
        found[variable] = (share["share"], share["ci_low"], share["ci_high"], np.nan)
    return found


def _session_run(frame: pd.DataFrame) -> dict[str, Numbers]:
    used = frame[frame[list(OF_SESSIONS)].notna().all(axis=1)]
    model = mixed_model(used, "symptoms", ["1", "session", *OF_SESSIONS], ["therapist", "client"], level=LEVEL)
    return _effects(model, list(OF_SESSIONS))


def _effects(model: MixedModel, parts: Sequence[str]) -> dict[str, Numbers]:
    """Return each part's coefficient and each part minus the one inside it; NaN where the model has no numbers."""
    weights = {part: {part: 1.0} for part in parts}
    weights |= {f"{outer} - {inner}": {outer: 1.0, inner: -1.0} for outer, inner in zip(parts[1:], parts[:-1], strict=True)}
    if model.fit is None:
        return dict.fromkeys(weights, (np.nan,) * 4)
    return {name: _numbers(model.combination(one)) for name, one in weights.items()}


def _numbers(effect: Effect) -> Numbers:
    return effect.estimate, effect.ci_low, effect.ci_high, effect.std_error


def _coefficients(found: Sequence[dict[str, Numbers]], model: str, true: dict[str, float]) -> list[Intervals]:
    parts = list(true)
    results = [
        _intervals(found, part, f"{part}, {model}", f"{COEFFICIENT} ({model})", "slope_standardised", "satterthwaite", true[part])
        for part in parts
    ]
    for outer, inner in zip(parts[1:], parts[:-1], strict=True):
        name, truth = f"{outer} - {inner}", true[outer] - true[inner]
        results.append(_intervals(found, name, f"{name}, {model}", f"{CONTRAST} ({model})", "slope_contrast", "satterthwaite", truth))
    return results


def _intervals(
    found: Sequence[dict[str, Numbers]], key: str, estimand: str, what: str, estimate_type: str, interval: str, truth: float
) -> Intervals:
    estimate, low, high, error = np.array([one[key] for one in found], dtype=float).T
    given = (truth, estimate, low, high, (estimate, error), SINGLE_SITE)
    return Intervals(estimand, what, estimate_type, "mixed_model", interval, *given)
