"""Simulated clients of the reference test of path models: four sites unlike each other, and a published matrix with holes.

``python tests/reference/path_rows.py`` computes the stored values again (needs Rscript; some minutes).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals

# Site, clients, therapists, share of values missing, effect of the alliance on the outcome.
SITES = (("a", 150, 12, 0.2, 0.35), ("b", 100, 9, 0.0, 0.3), ("c", 80, 3, 0.2, 0.4), ("d", 120, 15, 0.15, -0.1))
ITEMS = ("x1", "x2", "x3", "y1", "y2", "y3")
MODELS = {
    "main": "alliance ~ a*empathy + intake_level\noutcome ~ b*alliance + c*empathy + intake_level\nindirect := a*b\ntotal := c + a*b",
    "no_direct": "alliance ~ a*empathy + intake_level\noutcome ~ b*alliance + intake_level\nempathy ~~ intake_level\nindirect := a*b",
    "equal": "alliance ~ a*empathy + intake_level\noutcome ~ b*alliance + c*empathy + intake_level\na == b",
    "two": "f =~ x1 + x2 + x3\ng =~ y1 + y2 + y3\nf ~~ g",
    "two_equal": "f =~ x1 + l*x2 + l*x3\ng =~ y1 + m*y2 + m*y3\nf ~~ g",
    "one": "h =~ x1 + x2 + x3 + y1 + y2 + y3",
}
COMPARISONS = {"mediation": ("main", "no_direct", "equal"), "factors": ("two", "two_equal", "one")}
NESTED = (("no_direct", "main"), ("equal", "main"), ("two_equal", "two"), ("one", "two"))
# Pairs of variables with clients and correlation; empathy with the outcome and intake was not published.
PUBLISHED = (
    ("empathy", "alliance", 90, 0.41),
    ("alliance", "outcome", 90, 0.25),
    ("alliance", "intake_level", 84, 0.12),
    ("outcome", "intake_level", 84, 0.45),
)


def rows() -> dict[str, pd.DataFrame]:
    """Return what the sites sent.

    Returns
    -------
    dict
        ``scores`` (``site, client, instrument, timepoint, session, score``; more symptoms are worse) and ``clients`` (``site, client,
        therapist, x1, ..., y3``).
    """
    scores, clients = [], []
    for place, (site, n, therapists, missing, effect) in enumerate(SITES):
        seed = 5000 + 50 * place
        random = np.random.Generator(np.random.PCG64(seed))
        client = np.arange(1, n + 1)
        therapist = np.where(random.random(n) < 0.3, client % max(therapists // 2, 1), client % therapists) + 1
        shared = 0.45 * _normals(seed + 1, therapists, 4)[therapist - 1]
        noise = _normals(seed + 2, n, 16)
        empathy = 0.9 * noise[:, 0] + shared[:, 0]
        intake = noise[:, 1]
        sessions = 3 + 0.4 * empathy + 0.1 * intake + 0.8 * noise[:, 2] + shared[:, 1]
        better = effect * sessions + 0.15 * empathy + 0.5 * intake + 0.8 * noise[:, 3] + shared[:, 2]
        factors = _normals(seed + 3, n, 2) @ np.array([[1.0, 0.6], [0.0, 0.8]]) + shared[:, [3, 3]]
        items = factors[:, [0, 0, 0, 1, 1, 1]] * (1, 0.8, 0.7, 1, 0.9, 0.6) + 0.7 * noise[:, 4:10]
        # Clients who were worse at intake, all of whom were seen, are lost more often.
        lost = missing * 2 / (1 + np.exp(1.2 * intake))
        gone = random.random((n, 9)) < lost[:, None] * (1.2, 1.2, 1.2, 1, 1, 1, 1, 1, 1)
        items[gone[:, 3:]] = np.nan
        everyone = np.ones(n, dtype=bool)
        sent = [("core_10", "intake", np.nan, 2 - intake, everyone), ("care", "session", 1, 4 + empathy, ~gone[:, 0])]
        for session in (2, 3, 5):
            rated = random.random(n) < 0.7 if session != 3 else everyone
            sent.append(("wai_36", "session", session, sessions + 0.5 * noise[:, 10 + session], rated & ~gone[:, 1]))
        sent.append(("core_10", "post", np.nan, 3 - better, ~gone[:, 2]))
        for instrument, timepoint, session, score, keep in sent:
            about = {"site": site, "instrument": instrument, "timepoint": timepoint, "session": session}
            scores.append(pd.DataFrame({**about, "client": client, "score": score.round(4)})[keep])
        own = pd.DataFrame({"site": site, "client": client, "therapist": therapist})
        clients.append(pd.concat([own, pd.DataFrame(items.round(4), columns=list(ITEMS))], axis=1))
    return {"scores": pd.concat(scores, ignore_index=True), "clients": pd.concat(clients, ignore_index=True)}


def computed(sites: Sequence[str] = tuple(site[0] for site in SITES), models: Sequence[str] = tuple(MODELS), *, slow: bool = False) -> dict:
    """Return what R gives now; ``slow``: with the refits without each therapist, those of resamples, and the comparisons of models."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for table, frame in rows().items():
            frame.to_csv(folder / f"{table}.csv", index=False, na_rep="NA")
        settings = {"models": {name: MODELS[name] for name in models}, "nested": NESTED, "slow": slow, "sites": sites}
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        return r_script.values("path_tables.R", folder)


if __name__ == "__main__":
    text = json.dumps(computed(slow=True), indent=0, sort_keys=True)
    (HERE / "path_tables.json").write_text(text + "\n", encoding="utf-8")
