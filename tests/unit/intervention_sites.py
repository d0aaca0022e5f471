"""Sites with coded sessions: interpretations, challenges and answers, ruptures, and an alliance that follows from them."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
from alliance.questions.interventions import question as interventions
from unit.simulated_site import OPTIONS, score_rows, site_of

CODES = ("interpretation_wish_response_of_other", "interpretation_response_of_self")

POSITIONS = ("client_affiliation", "client_dominance", "therapist_affiliation", "therapist_dominance")


def options(**changes):
    """Return the configuration with changes of the question's section."""
    chosen = copy.deepcopy(OPTIONS)
    chosen["questions"]["interventions"] |= changes
    return chosen


def rows(clients=90, therapists=12, sessions=10, seed=1, curve=-0.06, challenge=-0.2, involvement=0.8, accuracy=0.3, circle=None):
    """Return ``sessions``, ``events`` and ``clients`` of a site.

    The alliance after a session falls by ``curve`` for the squared distance of interpretations from 3, moves by ``challenge`` for each
    challenge and by ``accuracy`` for accurate interpretations of the first kind; the log odds of involvement rise by ``involvement`` for
    each SD of the alliance before. With ``circle``, positions of both people on the interpersonal circle are coded, and the alliance
    falls by ``circle`` for each unit of complementarity where the client is hostile, and rises as much where friendly.
    """
    random, positions = np.random.default_rng(seed), np.random.default_rng(1000 + seed)
    level, rate = random.standard_normal(clients), np.exp(0.3 * random.standard_normal(clients))
    alliance = random.standard_normal(clients)
    frames, coded, change = [], [], np.zeros(clients)
    for session in range(1, sessions + 1):
        client = np.arange(1, clients + 1)
        interpretations, challenges = random.poisson(3 * rate), random.poisson(1.0, clients)
        kind, about = random.integers(0, 2, clients), random.integers(0, 2, clients)
        accurate = random.standard_normal(clients)
        answered = random.binomial(challenges, 1 / (1 + np.exp(-involvement * (level + alliance))))
        avoided = random.binomial(challenges - answered, 0.7)
        torn = random.random(clients) < 0.12
        alliance = 0.3 * alliance + change + 0.8 * random.standard_normal(clients) - 1.5 * torn
        change = curve * ((interpretations - 3.0) ** 2 - 3) + challenge * (challenges - 1)
        change += accuracy * accurate * (kind == 0) * (interpretations > 0)
        places = positions.standard_normal((4, clients))
        if circle is not None:
            change += circle * np.sign(places[0]) * (2 - np.hypot(places[0] - places[2], places[1] + places[3]))
        frames.append(
            pd.DataFrame({"client": client, "session": session, "alliance": level + alliance, "symptoms": random.standard_normal(clients)})
        )
        base = {"client": client, "session": session, "exposure": 50.0, "target": "", "intensity": np.nan}
        intensity = np.where(interpretations > 0, 4 + accurate, np.nan)
        target = np.where(interpretations > 0, np.array(["here_and_now", "outside"], dtype=object)[about], "")
        parts = (
            ("challenge", challenges, {}),
            ("involvement", answered, {}),
            ("avoidance", avoided, {}),
            ("rupture", (torn | (random.random(clients) < 0.03)).astype(int), {}),
            (np.array(CODES, dtype=object)[kind], interpretations, {"intensity": intensity, "target": target}),
        )
        if circle is not None:
            parts += tuple((code, 1, {"intensity": place}) for code, place in zip(POSITIONS, places, strict=True))
        coded += [pd.DataFrame({**base, "code": code, "count": count, **further}) for code, count, further in parts]
    table = pd.concat(frames, ignore_index=True)
    # One session in ten is not rated, and the last client is not coded.
    table = table[random.random(len(table)) > 0.1]
    events = pd.concat(coded, ignore_index=True)
    of_clients = pd.DataFrame({"client": np.arange(1, clients + 1)})
    of_clients["therapist"] = (of_clients["client"] - 1) % therapists + 1
    of_clients["treatment"] = np.where(of_clients["client"] % 2 == 0, "cognitive", "psychodynamic")
    return {
        "sessions": table.merge(of_clients[["client", "therapist"]], on="client").sort_values(["client", "session"], ignore_index=True),
        "events": events[events["client"] < clients].sort_values(["client", "session", "code"], ignore_index=True),
        "clients": of_clients,
    }


def site_from(data, site="a"):
    """Return the site that holds these rows."""
    sessions, events = data["sessions"], data["events"]
    common = {"session": sessions["session"].to_numpy(), "therapist_no": sessions["therapist"].to_numpy()}
    client = sessions["client"].to_numpy()
    scores = [
        score_rows(client, sessions["alliance"].to_numpy(), instrument="wai_36", **common),
        score_rows(client, 20 - sessions["symptoms"].to_numpy(), instrument="core_10", **common),
    ]
    coded = events.rename(columns={"client": "client_no"}).assign(rater="observer")
    clients = data["clients"].rename(columns={"client": "client_no", "therapist": "therapist_no"})
    return site_of(
        scores,
        site,
        events=coded.astype({"client_no": "Int64", "session": "Int64"}),
        clients=clients.astype({"client_no": "Int64", "therapist_no": "Int64"}),
    )


def tables_of(sites, chosen=None):
    """Return the tables of several sites that share their rows."""
    chosen = chosen or options()
    summaries = [interventions.estimate(site, chosen, {}) for site in sites]
    whole = interventions.one_stage(sites, [site.site for site in sites], chosen)
    return interventions.pool(summaries, chosen, {"one_stage": whole})
