"""Whether a factor's correlation holds over instruments of the alliance: from rows of sessions on, the table equals base R and metafor."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions.client_factors import question as client_factors
from alliance.questions.contract import POOLED, check
from needed import needs_r
from unit.simulated_site import OPTIONS, score_rows, site_of

pytestmark = needs_r
HELD = {
    "a": ("wai_36", "haq_2"),
    "b": ("wai_36", "haq_2"),
    "c": ("wai_36", "wai_sr", "haq_2"),
    "d": ("wai_sr", "haq_2"),
    "e": ("wai_sr", "haq_2"),
    "f": ("haq_2",),
}
EXACT = {"rel": 1e-7, "abs": 1e-10}
# metafor and ours search for tau2 separately.
SEARCHED = {"rel": 2e-5, "abs": 1e-8}


def rows() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return scores by session and clients of six sites that hold different instruments, some forms and factors missing."""
    clients, scores = [], []
    for number, (site, instruments) in enumerate(HELD.items()):
        random = np.random.default_rng(number + 40)
        n, therapists = 45 + 6 * number, 8 + number % 3
        client, therapist = np.arange(1, n + 1), random.integers(1, therapists + 1, n)
        alliance = random.standard_normal(n) + 0.4 * random.standard_normal(therapists + 1)[therapist]
        factor = 0.15 * number * alliance + random.standard_normal(n)
        factor[random.random(n) < 0.1] = np.nan
        clients.append(pd.DataFrame({"site": site, "client": client, "therapist": therapist, "factor": factor}))
        for instrument in instruments:
            for session in (2, 3, 5, 6):
                answered = random.random(n) < 0.7
                score = 5 + alliance[answered] + (0.6 if instrument == "haq_2" else 0.3) * random.standard_normal(answered.sum())
                about = {"site": site, "client": client[answered], "therapist": therapist[answered]}
                scores.append(pd.DataFrame({**about, "session": session, "instrument": instrument, "score": score}))
    return pd.concat(clients, ignore_index=True), pd.concat(scores, ignore_index=True)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    options = copy.deepcopy(OPTIONS)
    options["alliance"]["instruments"] = ["wai_36", "wai_sr", "haq_2"]
    options["questions"]["client_factors"] |= {"factors": {"factor": {"category": "intrapersonal"}}, "unique_shared": []}
    clients, scores = rows()
    summaries = []
    for site in HELD:
        own = clients[clients["site"].eq(site)].rename(columns={"client": "client_no", "therapist": "therapist_no"})
        own = own.drop(columns="site").astype({"client_no": "Int64", "therapist_no": "Int64"}).reset_index(drop=True)
        rated = scores[scores["site"].eq(site)]
        parts = [
            score_rows(part["client"], part["score"], instrument=name, session=part["session"].to_numpy())
            for name, part in rated.groupby("instrument")
        ]
        summaries.append(client_factors.estimate(site_of(parts, site, clients=own), options, {}))
    found = client_factors.pool(summaries, options, {})["instruments"]
    check(found.assign(scenario="base"), "client_factors", "instruments")
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("instruments")
    clients, scores = rows()
    clients.drop(columns="therapist").to_csv(folder / "clients.csv", index=False)
    scores.to_csv(folder / "scores.csv", index=False)
    return r_script.values("client_factor_instruments.R", folder)


def only(table: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


def same(row: pd.Series, value: dict[str, float], **tolerance: float) -> None:
    names = {"estimate": "estimate", "se": "std_error", "low": "ci_low", "high": "ci_high", "k": "n_sites", "tau2": "tau2", "q": "q"}
    names |= {"p": "p_equivalence"}
    for key in set(value) & set(names):
        assert row[names[key]] == pytest.approx(value[key], **tolerance), key


def test_two_instruments_on_the_same_clients_and_sessions_equal_a_loop_over_therapists_in_r(table: pd.DataFrame, expected: Any) -> None:
    compared = 0
    for site, pairs in expected["sites"].items():
        for pair, value in pairs.items():
            second, first = pair.split(" - ")
            own = {"site": site, "pair": pair, "where": "within_sites"}
            contrast = only(table, contrast=pair, **own)
            shared = {name: value[name] for name in ("low", "high", "p")}
            same(contrast, {"estimate": value["estimate"][2], "se": value["se"][2], **shared}, **EXACT)
            assert (contrast["n_clients"], contrast["n_therapists"], contrast["n_sessions"]) == (value["n"], value["k"], value["sessions"])
            for position, name in enumerate((second, first)):
                row = only(table, alliance_instrument=name, **own)
                assert row["estimate"] == pytest.approx(value["estimate"][position], **EXACT)
                assert row["std_error"] * (1 - row["estimate"] ** 2) == pytest.approx(value["se"][position], **EXACT)
            compared += 1
    assert compared == 7


def test_another_instrument_against_the_preferred_is_pooled_as_metafor_does(table: pd.DataFrame, expected: Any) -> None:
    own = {"site": POOLED, "pair": "(other) - (preferred)"}
    same(only(table, contrast="(other) - (preferred)", **own), expected["pooled"], **SEARCHED)
    same(only(table, alliance_instrument="(other)", **own), expected["other"], **SEARCHED)
    same(only(table, alliance_instrument="(preferred)", **own), expected["preferred"], **SEARCHED)
    lacking = only(table, site="f", where="within_sites")
    assert lacking["reason"] == "not estimable: needs two instruments of the alliance from the client in window early; has haq_2"


def test_sites_with_different_instruments_are_compared_as_metafor_does(table: pd.DataFrame, expected: Any) -> None:
    own = {"site": POOLED, "where": "between_sites"}
    for name, value in expected["between"].items():
        row = only(table, contrast=name, **own)
        same(row, value, **SEARCHED)
        assert row["status"] == "flagged" and "descriptive only" in row["reason"]
    for name, value in expected["means"].items():
        same(only(table, alliance_instrument=name, **own), value, **SEARCHED)
    assert only(table, alliance_instrument="haq_2", **own)["status"] == "not_estimable"
    test = {index: only(table, contrast="all instruments", index=index, **own) for index in ("f", "p_value")}
    assert test["f"]["estimate"] == pytest.approx(expected["test"]["f"], **SEARCHED)
    assert test["p_value"]["estimate"] == pytest.approx(expected["test"]["p"], **SEARCHED)
    difference = only(table, contrast="haq_2 - wai_36", **own)
    assert [difference["tau2"], difference["q"]] == pytest.approx([expected["test"]["tau2"], expected["test"]["q"]], **SEARCHED)
