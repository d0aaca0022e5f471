"""Overlap of measures, from the answers of clients on, equals base R, psych and semTools."""

from __future__ import annotations

import copy

import numpy as np
import overlap_reference as reference
import pandas as pd
import pytest
from alliance.instruments.registry import load_registry
from alliance.instruments.scoring import score_site
from alliance.questions.convergent_validity import question as convergent_validity
from alliance.questions.site_data import SiteData
from alliance.statistics.distributions import critical_value
from needed import needs_r
from unit.simulated_site import OPTIONS, score_rows

EXPECTED = reference.stored()
# Omega is the maximum of a likelihood, found by R's optimiser to about 1e-6; the rest agrees to rounding.
SEARCHED = {"rel": 2e-5}
EXACT = {"rel": 1e-9}


def options() -> dict:
    chosen = copy.deepcopy(OPTIONS)
    chosen["alliance"] |= {"instruments": ["wai_s", "wai_sr"], "window": "two"}
    chosen["alliance"]["windows"]["two"] = {"sessions": list(reference.SESSIONS)}
    chosen["questions"]["convergent_validity"]["timepoint_window"] = "two"
    return chosen


def site_of_rows() -> SiteData:
    instruments = load_registry([reference.INSTRUMENTS_FOLDER])
    rows = reference.ratings().rename(columns={"client": "client_no", "therapist": "therapist_no"})
    rows = rows.astype({name: "Int64" for name in ("client_no", "therapist_no", "session")})
    rows = rows.assign(
        site="a", client_id="c", therapist_id="t", timepoint="session", date=pd.NaT, rater_no=pd.array([1] * len(rows), dtype="Int64")
    )
    ratings = {key: part.reset_index(drop=True) for key, part in rows.groupby("instrument")}
    scores = score_site(ratings, None, instruments, {"derive_short_forms": False})
    own = reference.outcomes()
    outcome = [
        score_rows(own["client"], own[name], instrument="core_10", timepoint=timepoint, unit="sum")
        for name, timepoint in (("intake", "intake"), ("post", "post"))
    ]
    clients = rows[["client_no", "therapist_no"]].drop_duplicates("client_no").sort_values("client_no").reset_index(drop=True)
    every = pd.concat([scores.astype(object), *(one.dropna(subset=["score"]).astype(object) for one in outcome)], ignore_index=True)
    every = every.astype({name: kind for name, kind in scores.dtypes.items() if name in every})
    return SiteData(site="a", clients=clients, scores=every, ratings=ratings, instruments=instruments)


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    chosen = options()
    return convergent_validity.pool([convergent_validity.estimate(site_of_rows(), chosen, {})], chosen, {})


def only(table: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


def close(row: pd.Series, expected: dict[str, float], tolerance: dict[str, float]) -> None:
    assert row["estimate"] == pytest.approx(expected["estimate"], **tolerance)
    assert row["std_error"] == pytest.approx(expected["std_error"], **tolerance)
    assert row["method"] == "cluster_jackknife"
    assert row["n_therapists"] == reference.THERAPISTS
    margin = float(critical_value(0.95, reference.THERAPISTS - 1)) * row["std_error"]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((row["estimate"] - margin, row["estimate"] + margin))


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    def numbers(value: object) -> list[float]:
        if isinstance(value, dict):
            return [number for name in sorted(value) for number in numbers(value[name])]
        return [number for one in value for number in numbers(one)] if isinstance(value, list) else [float(value)]

    assert numbers(reference.computed()) == pytest.approx(numbers(EXPECTED), rel=1e-6)


@pytest.mark.parametrize("name", sorted(EXPECTED["pairs"]))
def test_pairs_equal_r(tables: dict[str, pd.DataFrame], name: str) -> None:
    expected = EXPECTED["pairs"][name]
    first, second = (part.split(".") for part in name.split(" ~~ "))
    keys = dict(zip(("instrument1", "scale1", "rater1", "instrument2", "scale2", "rater2"), (*first, *second), strict=True))
    r = only(tables["pairs"], site="a", estimate_type="correlation", **keys)
    assert r["estimate"] == pytest.approx(expected["r"], **EXACT)
    assert r["n_clients"] == expected["n"]
    assert r["parallel"] == ("yes" if first[1] == second[1] else "no")
    close(only(tables["pairs"], site="a", estimate_type="correlation_disattenuated", **keys), expected["corrected"], SEARCHED)
    close(only(tables["pairs"], site="a", estimate_type="htmt", **keys), expected["htmt"], EXACT)


def test_a_scale_by_two_raters_is_corrected_as_r_does(tables: dict[str, pd.DataFrame]) -> None:
    row = only(tables["pairs"], site="a", estimate_type="correlation_disattenuated", comparison="raters", scale1="total")
    close(row, EXPECTED["raters"], SEARCHED)


@pytest.mark.parametrize("kind", sorted(EXPECTED["overlap"]))
def test_means_of_shared_variance_equal_r(tables: dict[str, pd.DataFrame], kind: str) -> None:
    names = {"contrast": ("parallel - non_parallel", "r_squared_contrast")}
    pairs_kind, estimate_type = names.get(kind, (kind, "r_squared_mean"))
    row = only(tables["overlap_summary"], site="a", level="subscale", rater="client", pairs_kind=pairs_kind, estimate_type=estimate_type)
    close(row, EXPECTED["overlap"][kind], EXACT)


@pytest.mark.parametrize("form", sorted(EXPECTED["within"]))
def test_correlations_of_the_scales_of_one_instrument_equal_r(tables: dict[str, pd.DataFrame], form: str) -> None:
    instrument, rater = form.split(".")
    for kind, name, tolerance in (("correlation_mean", "r", EXACT), ("correlation_disattenuated_mean", "corrected", SEARCHED)):
        row = only(tables["overlap_summary"], site="a", instrument=instrument, rater=rater, estimate_type=kind)
        assert row["approach"] == "homogeneous"
        close(row, EXPECTED["within"][form][name], tolerance)


@pytest.mark.parametrize("name", sorted(EXPECTED["prediction"]))
def test_contrasts_of_prediction_equal_r(tables: dict[str, pd.DataFrame], name: str) -> None:
    expected = EXPECTED["prediction"][name]
    first, second, form = name.split(" ")
    keys = dict(zip(("instrument1", "rater1", "instrument2", "rater2"), (*first.split("."), *second.split(".")), strict=True))
    table = tables["predictive_contrast"]
    row = only(table, site="a", form=form, outcome_instrument="core_10", contrast="first - second", **keys)
    close(row, expected, {"rel": 1e-8})
    assert row["n_clients"] == expected["n"]
    # psych gives the absolute value of the statistic.
    assert abs(row["t_independent"]) == pytest.approx(abs(expected["t"]), rel=1e-9)
    assert row["p_independent"] == pytest.approx(expected["p"], rel=1e-8)
    for which in ("first", "second"):
        r = only(table, site="a", form=form, outcome_instrument="core_10", contrast=which, **keys)
        assert r["estimate"] == pytest.approx(expected[which], rel=1e-9)
