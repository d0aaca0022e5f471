"""Likeness of client's and therapist's profiles over items, from raw answers on, equals loops over dyads and therapists in R."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions.congruence.profiles import AS_GIVEN, LESS_MEAN, LIKENESS, NORMATIVE, RANKS, WITH_OUTCOME, WITH_STAYING
from alliance.questions.contract import POOLED, check
from alliance.questions.site_data import SiteData
from needed import needs_r
from unit.congruence_sites import options, tables_of
from unit.simulated_items import REGISTRY
from unit.simulated_site import score_rows

pytestmark = needs_r
EXACT = {"rel": 1e-7, "abs": 1e-10}
SEARCHED = {"rel": 2e-5, "abs": 1e-8}
ITEMS = [f"i{item}" for item in range(1, 13)]
NAMES = ((LIKENESS, AS_GIVEN), (LIKENESS, LESS_MEAN), (RANKS, AS_GIVEN), (RANKS, LESS_MEAN), (NORMATIVE, AS_GIVEN))


def site_rows(site: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return raw answers to the WAI-S by client and therapist, and clients with outcome and ending; some answers are lacking."""
    random = np.random.default_rng(seed)
    n, therapists = 44 + seed, 9
    therapist = np.r_[np.arange(1, therapists + 1), random.integers(1, therapists + 1, n - therapists)]
    usual = random.standard_normal(12)
    dyad = random.standard_normal((n, 12)) + 0.5 * random.standard_normal((therapists + 1, 12))[therapist]
    rows = []
    for rater, share in (("client", 1.0), ("therapist", 0.6)):
        own = usual + share * dyad + random.standard_normal((n, 12))
        for session in (2, 4, 7):
            answers = np.clip(np.rint(4 + own + 0.5 * random.standard_normal((n, 12))), 1, 7)
            answers[:, [3, 9]] = 8 - answers[:, [3, 9]]
            answers[random.random((n, 12)) < 0.03] = np.nan
            frame = pd.DataFrame(answers, columns=ITEMS)
            frame = frame.assign(site=site, client=np.arange(1, n + 1), therapist=therapist, session=session, rater=rater)
            rows.append(frame[random.random(n) < 0.85])
    answers = pd.concat(rows, ignore_index=True)
    # One client marks the same answer everywhere: turned, reversed items differ from it, so all are set.
    flat = answers["client"].eq(3) & answers["rater"].eq("client")
    answers.loc[flat, ITEMS] = [1 if item in ("i4", "i10") else 7 for item in ITEMS]
    alike = (dyad * usual).sum(axis=1)
    intake = random.standard_normal(n)
    post = 0.4 * intake + 0.1 * alike + random.standard_normal(n)
    clients = pd.DataFrame({"site": site, "client": np.arange(1, n + 1), "therapist": therapist, "intake": intake, "post": post})
    clients.loc[random.random(n) < 0.1, "post"] = np.nan
    clients["stayed"] = np.where(random.random(n) < 0.1, np.nan, (random.random(n) < 0.7).astype(float))
    return answers, clients


DATA = {site: site_rows(site, seed) for seed, site in enumerate(("a", "b", "c"), start=1)}


def site_of_rows(site: str) -> SiteData:
    answers, people = DATA[site]
    numbers = {"client_no": answers["client"].astype("Int64"), "therapist_no": answers["therapist"].astype("Int64")}
    about = {**numbers, "timepoint": "session", "session": answers["session"].astype("Int64"), "rater": answers["rater"]}
    ratings = answers[ITEMS].assign(**about, rater_no=pd.array([1] * len(answers), dtype="Int64"))
    scores = []
    for rater, own in answers.groupby("rater"):
        mean = own[ITEMS].mean(axis=1)
        common = {"rater": rater, "session": own["session"], "therapist_no": own["therapist"]}
        scores.append(score_rows(own["client"], mean, instrument="wai_s", **common))
    for timepoint in ("intake", "post"):
        own = people[people[timepoint].notna()]
        scores.append(score_rows(own["client"], -own[timepoint], instrument="core_10", timepoint=timepoint))
    ended = people[people["stayed"].notna()]
    reason = np.where(ended["stayed"].eq(1), "planned", "unilateral")
    termination = pd.DataFrame({"client_no": ended["client"].astype("Int64"), "reason": reason})
    clients = people[["client", "therapist"]].astype("Int64").set_axis(["client_no", "therapist_no"], axis=1)
    frames = {"clients": clients, "termination": termination, "ratings": {"wai_s": ratings}}
    return SiteData(site, site.upper(), scores=pd.concat(scores, ignore_index=True), instruments=REGISTRY, **frames)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    chosen = options(windows=["early"], scales=["total", "goal", "bond"])
    chosen["alliance"]["instruments"] = ["wai_s"]
    found = tables_of([site_of_rows(site) for site in DATA], chosen)["agreement"]
    check(found, "congruence", "agreement")
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("profiles")
    for place, name in enumerate(("answers", "clients")):
        frame = pd.concat([DATA[site][place] for site in DATA], ignore_index=True)
        frame.to_csv(folder / f"{name}.csv", index=False, float_format="%.17g")
    return r_script.values("profile_likeness.R", folder)


def only(table: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


def same(row: pd.Series, value: dict[str, Any], place: int) -> None:
    assert row["status"] == "estimated", row["reason"]
    assert row["estimate"] == pytest.approx(value["estimate"][place], **EXACT)
    assert row["std_error"] * (1 - row["estimate"] ** 2) == pytest.approx(value["se"][place], **EXACT)
    assert (row["n_clients"], row["n_therapists"]) == (value["n"], value["k"])


@pytest.mark.parametrize("site", list(DATA))
@pytest.mark.parametrize("scale", ["total", "goal"])
def test_likeness_with_and_without_the_mean_profiles_equals_r(table: pd.DataFrame, expected: Any, site: str, scale: str) -> None:
    wanted = expected["sites"][site][scale]
    for place, (statistic, definition) in enumerate(NAMES):
        keys = {"site": site, "instrument": "(preferred)", "instrument_scale": scale, "statistic": statistic, "definition": definition}
        row = only(table, **keys)
        same(row, wanted, place)
        assert row["n_sessions"] == wanted["sessions"]


@pytest.mark.parametrize("site", list(DATA))
@pytest.mark.parametrize(("name", "statistic", "same_rater"), [("outcome", WITH_OUTCOME, "mixed"), ("stayed", WITH_STAYING, "no")])
def test_what_likeness_predicts_equals_regressions_in_r(
    table: pd.DataFrame, expected: Any, site: str, name: str, statistic: str, same_rater: str
) -> None:
    wanted = expected["sites"][site][name]
    given = f"{statistic} and both levels" if name == "outcome" else f"{statistic} given both levels"
    for place, words in enumerate((statistic, given)):
        row = only(table, site=site, instrument="(preferred)", statistic=words)
        same(row, wanted, place)
        assert row["same_rater"] == same_rater


def test_likeness_is_pooled_as_metafor_does(table: pd.DataFrame, expected: Any) -> None:
    keys = {"instrument": "(preferred)", "instrument_scale": "total", "statistic": LIKENESS, "definition": LESS_MEAN}
    row, wanted = only(table, site=POOLED, **keys), expected["pooled"]
    found = [row[name] for name in ("estimate", "std_error", "ci_low", "ci_high", "tau2")]
    assert found == pytest.approx([wanted[name] for name in ("estimate", "se", "low", "high", "tau2")], **SEARCHED)


def test_likeness_beyond_the_mean_profiles_is_lower_and_still_there(table: pd.DataFrame) -> None:
    keys = {"site": POOLED, "instrument": "(preferred)", "instrument_scale": "total", "statistic": LIKENESS}
    whole, own = (only(table, definition=definition, **keys) for definition in (AS_GIVEN, LESS_MEAN))
    assert whole["estimate"] > own["estimate"] > 0.2
    assert whole["ci_low"] > 0
