"""Events and the next session's alliance within clients with few coded sessions, and attention to clients who begin low.

The alliance of a session follows that of the one before (.3) and the event (.2), all in SD within clients; where they feed back, the event
follows the alliance of its own session (.3), so that the next event follows the alliance by .09, else not at all. Deviations from the
mean of all sessions hold what came later, among it the alliance that events have changed; those from earlier sessions do not. For clients
who begin low the true initial level is hidden by noise as large as it in every initial session, and attention goes to clients who begin
low.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from alliance.simulations.clients import therapists_of_clients
from alliance.simulations.framework import LEVEL, SINGLE_SITE, Condition, Intervals
from alliance.statistics.initial_level import EFFECTS, attention_by_initial_level
from alliance.statistics.session_effects import ALL, PRIOR, within_slopes

RUNS = 1000
EVENT, CARRIED, FEEDBACK = 0.2, 0.3, 0.3
WITHIN_CLIENTS, BEGIN_LOW = "within_clients", "begin_low"
WORDS = {
    ALL: "slopes of the next alliance on events within clients, from all sessions",
    PRIOR: "the same slopes from earlier sessions only",
}
BACK = {
    ALL: "slopes of the next event on the alliance within clients, from all sessions",
    PRIOR: "slopes of the next event on the alliance, from earlier sessions only",
}
# Later level on true initial level, attention and their product; attention on the true level.
LATER, SELECTION = (0.6, 0.1, -0.3), -0.4
REST = 0.6
INITIAL = 2


def conditions() -> list[Condition]:
    """Return clients, coded sessions and whether the alliance feeds back on events; and clients of whom some begin low."""
    found = [
        Condition(
            f"within_n{n}_sessions{sessions}_feedback{feedback:g}",
            {"kind": WITHIN_CLIENTS, "n_clients": n, "n_therapists": therapists, "sessions": sessions, "feedback": feedback},
        )
        for (n, therapists), sessions, feedback in product(((30, 10), (100, 20)), (4, 8), (0.0, FEEDBACK))
    ]
    return found + [
        Condition(f"low_n{n}", {"kind": BEGIN_LOW, "n_clients": n, "n_therapists": therapists, "sessions": INITIAL, "feedback": 0.0})
        for n, therapists in ((60, 12), (200, 40))
    ]


def simulate(condition: Condition, random: np.random.Generator, runs: int) -> list[Intervals]:
    """Return slopes within clients by both ways of comparing sessions, or effects of attention by initial level."""
    sizes = condition.parameters
    therapists = therapists_of_clients(int(sizes["n_clients"]), int(sizes["n_therapists"]))
    if sizes["kind"] == BEGIN_LOW:
        return _begin_low(therapists, random, runs)
    sessions, feedback = int(sizes["sessions"]), float(sizes["feedback"])
    found: dict[tuple[bool, str], list[tuple[float, ...]]] = {(back, one): [] for back in (False, True) for one in (ALL, PRIOR)}
    for _ in range(runs):
        event, now, later = _course(len(therapists), sessions, feedback, random)
        for (back, centring), rows in found.items():
            series = (now[:, :-1], event[:, 1:], event[:, :-1]) if back else (event, later, now)
            rows.append(_slope(*series, therapists, centring))
    results = []
    for (back, centring), rows in found.items():
        estimate, low, high, error = np.array(rows).T
        numbers = (CARRIED * feedback if back else EVENT, estimate, low, high, (estimate, error), SINGLE_SITE)
        kind = "slope_standardised" if centring == ALL and not back else ""
        name, words = f"slope{' back' if back else ''}, {centring}", (BACK if back else WORDS)[centring]
        results.append(Intervals(name, words, kind, "cluster_jackknife", "jackknife", *numbers))
    return results


def _slope(cause: np.ndarray, outcome: np.ndarray, own: np.ndarray, therapists: np.ndarray, centring: str) -> tuple[float, ...]:
    """Return slope, limits and error; arrays of shape (clients, sessions), ``own`` the outcome's level in the session of the cause."""
    n, sessions = cause.shape
    client = np.repeat(np.arange(n), sessions)
    held = np.column_stack([own.ravel(), np.tile(np.arange(sessions), n)])
    one = within_slopes(cause.reshape(-1, 1), outcome.ravel(), client, therapists[client], held=held, centring=centring, standardised=False)
    low, high = one.interval(LEVEL)
    return float(one.estimate[0]), float(low[0]), float(high[0]), float(one.std_error[0])


def _course(n: int, sessions: int, feedback: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return event, alliance and next alliance, shape (clients, sessions)."""
    level, rate = random.standard_normal((2, n))
    alliance = random.standard_normal(n)
    # The event's part and what is carried over correlate where they feed back.
    rest = np.sqrt(1 - CARRIED**2 - EVENT**2 - 2 * CARRIED * EVENT * feedback)
    events, values = [], [alliance + level]
    for _ in range(sessions):
        event = feedback * alliance + np.sqrt(1 - feedback**2) * random.standard_normal(n)
        alliance = CARRIED * alliance + EVENT * event + rest * random.standard_normal(n)
        events.append(event + rate)
        values.append(alliance + level)
    whole = np.array(values).T
    return np.array(events).T, whole[:, :-1], whole[:, 1:]


def _begin_low(therapists: np.ndarray, random: np.random.Generator, runs: int) -> list[Intervals]:
    n = len(therapists)
    on_level, on_attention, on_product = LATER
    variance = on_level**2 + on_attention**2 + 2 * on_level * on_attention * SELECTION + REST**2
    # The product of two standard normal variables with correlation r has variance 1 + r².
    spread = np.sqrt(variance + on_product**2 * (1 + SELECTION**2))
    truth = on_product / spread
    wanted = {"interaction": EFFECTS.index("interaction"), "interaction_uncorrected": EFFECTS.index("interaction_uncorrected")}
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in wanted}
    for _ in range(runs):
        level = random.standard_normal(n)
        attention = SELECTION * level + np.sqrt(1 - SELECTION**2) * random.standard_normal(n)
        rated = level[:, None] + random.standard_normal((n, INITIAL))
        later = on_level * level + on_attention * attention + on_product * level * attention + REST * random.standard_normal(n)
        made = attention_by_initial_level(
            rated.mean(axis=1), np.full(n, INITIAL), rated.var(axis=1, ddof=1), attention, later, therapists
        ).found
        for name, place in wanted.items():
            if made is None:
                found[name].append((np.nan,) * 4)
                continue
            low, high = made.interval(LEVEL)
            found[name].append((made.estimate[place], low[place], high[place], made.std_error[place]))
    words = {
        "interaction": "products of attention and true initial level",
        "interaction_uncorrected": "the same products with the observed level taken for the true one",
    }
    results = []
    for name, rows in found.items():
        estimate, low, high, error = np.array(rows).T
        numbers = (truth, estimate, low, high, (estimate, error), SINGLE_SITE)
        kind = "interaction_standardised" if name == "interaction" else ""
        results.append(Intervals(name, words[name], kind, "cluster_jackknife", "jackknife", *numbers))
    return results
