"""What a very large study with the same effects would show, from simulated scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from alliance.demo.measures import FORMS, Collected, measure_study
from alliance.demo.simulate import INFLUENCES, Calibration, Course, Size, simulate
from alliance.demo.traits import LIKENESS
from alliance.demo.truth import CATEGORIES, EARLY_SESSIONS, Parameters

SIZE = Size(sites=40, therapists=100, clients_per_therapist=10, sessions=16, vary=False)
EARLY = tuple(range(1, EARLY_SESSIONS + 1))
LATER = tuple(range(EARLY_SESSIONS + 1, SIZE.sessions + 1))
TRAITS = ("attachment_anxiety", "attachment_avoidance")
OF_THERAPISTS = ("introject", "alliance_training")
BESIDE = ("empathy_observer", *INFLUENCES, "adherence")
RATERS = ("client", "therapist", "observer")


def correlations(parameters: Parameters, calibration: Calibration) -> dict[str, Any]:
    """Return correlations within sites, rounded to two decimals (their standard error is .005).

    Parameters
    ----------
    parameters : Parameters
        The effects.
    calibration : Calibration
        Of these parameters.
    """
    course = simulate(parameters, SIZE, 0, calibration)
    collected = [
        Collected("wai_36", "client", EARLY),
        Collected("haq_2", "client", (3,)),
        Collected("blri_empathy16", "client", (1,)),
        Collected("blri_empathy16", "observer", (3,), raters=2),
        Collected("crf_s", "client", (3,)),
        Collected("homework_adherence", "therapist", LATER),
        Collected("core_10", "client", (), ("intake", "post")),
        *(Collected("target_complaints", rater, (), ("intake", "post")) for rater in RATERS),
        *(Collected("scl_90_r", rater, (), ("intake", "post")) for rater in RATERS),
    ]
    tables = measure_study(course, parameters, 0, collected, [f"{number:02d}" for number in range(SIZE.sites)])
    scores = _client_scores(tables.ratings).join(tables.clients.set_index("client")[[*CATEGORIES, *TRAITS]])
    scores -= scores.groupby(course.site[scores.index]).transform("mean")
    outcomes = {"core_10": "core_10", "target_complaints": "severity", "scl_90_r": "gsi"}
    found: dict[str, Any] = {"n_clients": len(scores), "early_alliance_with": {}, "early_alliance_with_outcome": {}}
    for name in ("empathy", *BESIDE, *CATEGORIES, *TRAITS):
        found["early_alliance_with"][name] = _r(scores["alliance"], scores[name])
    for outcome in outcomes:
        for rater in RATERS if outcome != "core_10" else ("client",):
            intake, post = scores[f"{outcome}_{rater}_intake"], scores[f"{outcome}_{rater}_post"]
            found["early_alliance_with_outcome"][f"{outcome}_{rater}"] = {
                "partial": _partial(scores["alliance"], -post, -intake),
                "zero_order": _r(scores["alliance"], -post),
            }
    found["wai_36_with_haq_2_at_session_3"] = _r(scores["wai_36_3"], scores["haq_2_3"])
    found["paths"] = _paths(scores)
    intake, post = scores["core_10_client_intake"], scores["core_10_client_post"]
    found["with_outcome"] = {name: _partial(scores[name], -post, -intake) for name in ("empathy", *BESIDE)}
    of_therapists = scores["alliance"].groupby(course.therapist[scores.index]).mean()
    therapists = tables.therapists.loc[of_therapists.index]
    found["mean_alliance_of_therapists_with"] = {name: _r(of_therapists, therapists[name]) for name in OF_THERAPISTS}
    found["alliance_surface"] = {name: _surface(scores["alliance"], course, name) for name in LIKENESS}
    return found


def _client_scores(ratings: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row a client: alliance, empathy and outcomes as means of items."""
    wai = _total(ratings["wai_36_client"], "wai_36")
    columns = {
        "alliance": wai["score"].groupby(wai["client"]).mean(),
        "wai_36_3": wai[wai["session"] == 3].set_index("client")["score"],
        "haq_2_3": _total(ratings["haq_2_client"], "haq_2").set_index("client")["score"],
        "empathy": ratings["blri_empathy16_client"].set_index("client")["total"],
        "empathy_observer": ratings["blri_empathy16_observer"].groupby("client")["total"].mean(),
        **ratings["crf_s_client"].set_index("client")[list(INFLUENCES)],
        "adherence": ratings["homework_adherence_therapist"].groupby("client")["total"].mean(),
    }
    core = _total(ratings["core_10_client"], "core_10")
    for timepoint in ("intake", "post"):
        columns[f"core_10_client_{timepoint}"] = core[core["timepoint"] == timepoint].set_index("client")["score"]
        for rater in RATERS:
            for instrument, scale in (("target_complaints", "severity"), ("scl_90_r", "gsi")):
                frame = ratings[f"{instrument}_{rater}"]
                columns[f"{instrument}_{rater}_{timepoint}"] = frame[frame["timepoint"] == timepoint].set_index("client")[scale]
    return pd.DataFrame(columns)


def _total(frame: pd.DataFrame, instrument: str) -> pd.DataFrame:
    form = FORMS[instrument]
    items = frame[[f"i{item}" for item in range(1, form.n_items + 1)]].to_numpy(dtype=float, na_value=np.nan)
    reverse = [item - 1 for item in form.reverse]
    items[:, reverse] = form.low + form.high - items[:, reverse]
    return frame[["client", "timepoint", "session"]].assign(score=np.nanmean(items, axis=1))


def _r(x: pd.Series, y: pd.Series) -> float:
    return round(float(x.corr(y)), 2)


def _partial(x: pd.Series, y: pd.Series, given: pd.Series) -> float:
    r = pd.concat([x, y, given], axis=1).dropna().corr().to_numpy()
    return round(float((r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt((1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2))), 2)


def _paths(scores: pd.DataFrame) -> dict[str, float]:
    """Return the standardised paths empathy -> alliance -> outcome, both given intake severity."""
    columns = ["empathy", "core_10_client_intake", "alliance", "core_10_client_post"]
    z = scores[columns].dropna()
    z = (z - z.mean()) / z.std()
    z["core_10_client_post"] *= -1
    z["core_10_client_intake"] *= -1
    a = _regression(z["alliance"], z[["empathy", "core_10_client_intake"]])[0]
    c, _, b = _regression(z["core_10_client_post"], z[["empathy", "core_10_client_intake", "alliance"]])
    return {"a": round(a, 2), "b": round(b, 2), "c": round(c, 2), "indirect": round(a * b, 2)}


def _surface(alliance: pd.Series, course: Course, name: str) -> dict[str, float]:
    """Return the coefficients of the standardised alliance on the positions of client and therapist, their squares and product."""
    alliance = alliance.dropna()
    client = course.client_traits[name][alliance.index]
    therapist = course.therapist_traits[name][course.therapist[alliance.index]]
    terms = {"client": client, "therapist": therapist, "client_2": client**2, "product": client * therapist, "therapist_2": therapist**2}
    x = pd.DataFrame(terms)
    slopes = _regression(alliance / alliance.std(), x - x.mean())
    return {term: round(slope, 2) for term, slope in zip(terms, slopes)}


def _regression(y: pd.Series, x: pd.DataFrame) -> list[float]:
    return [float(slope) for slope in np.linalg.lstsq(x.to_numpy(), y.to_numpy())[0]]
