"""Who took part: what sites send is described, put together, and never more than the data or the rules allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from alliance.questions import effects
from alliance.questions.client_factors import participants
from alliance.questions.contract import MOMENTS, POOLED, PUBLISHED_EFFECTS, check, finish, typed
from alliance.questions.part import summary_fields
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary

OPTIONS = {"pooling": {"min_sites": 2, "min_clients": 10}}
HOSTILE = '"><script>alert(1)</script>'


def site(
    name: str, ages: list[float], genders: list[str | None] | None = None, staff: pd.DataFrame | None = None, **other: Any
) -> SiteData:
    """Return a site with a client an age, four clients a therapist."""
    client = np.arange(1, len(ages) + 1)
    frame = pd.DataFrame({"client_no": client, "therapist_no": (client - 1) // 4 + 1, "age": ages, **other})
    if genders is not None:
        frame["gender"] = pd.Series(genders, dtype="str")
    frame = frame.astype({"client_no": "Int64", "therapist_no": "Int64"})
    return SiteData(site=name, clients=frame, therapists=pd.DataFrame() if staff is None else staff)


def summary(one: SiteData) -> SiteSummary:
    return SiteSummary(site=one.site, question="client_factors", **summary_fields({participants.NAME: participants.estimate(one)}))


def table(sites: list[SiteData], *further: SiteSummary) -> pd.DataFrame:
    summaries = [*(summary(one) for one in sites), *further]
    made = finish(participants.pool(effects.gather(summaries), summaries, OPTIONS), "client_factors", participants.NAME)
    check(made.assign(scenario="base"), "client_factors", participants.NAME)
    return made


def row(made: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = made[np.logical_and.reduce([made[name].eq(value) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


AGE = {"person": "client", "characteristic": "age", "estimate_type": participants.MEAN}
TWENTY = [float(age) for age in range(20, 40)]


def test_shares_count_those_whose_gender_is_known_and_tell_how_many_are_not():
    made = table([site("a", TWENTY, ["female"] * 12 + ["male"] * 6 + [None] * 2), site("b", TWENTY, ["female"] * 5 + ["male"] * 15)])
    assert row(made, site="a", category="female")["estimate"] == pytest.approx(12 / 18)
    assert row(made, site="a", category="female")["share_missing"] == pytest.approx(0.1)
    over = row(made, site=POOLED, category="female")
    assert (over["estimate"], over["n_clients"], over["share_missing"]) == (pytest.approx(17 / 38), 38, pytest.approx(0.05))


def test_a_category_that_a_site_has_nobody_in_is_a_share_of_zero_there():
    made = table(
        [
            site("a", TWENTY, ["female"] * 18 + ["other"] * 2),
            site("b", TWENTY, ["female"] * 18 + ["other"] * 2),
            site("c", TWENTY, ["female"] * 20),
        ]
    )
    assert row(made, site="c", category="other")["estimate"] == 0
    assert row(made, site=POOLED, category="other")["estimate"] == pytest.approx(4 / 60)
    shares = made[made["characteristic"].eq("gender")].groupby("site")["estimate"].sum()
    assert np.allclose(shares, 1)


def test_words_that_one_site_uses_for_few_clients_stand_together_and_are_never_named():
    typed_in = ["female"] * 12 + ["male"] * 6 + [HOSTILE, "Anna, 45"]
    made = table([site("a", TWENTY, typed_in), site("b", TWENTY, ["female"] * 10 + ["male"] * 10)])
    assert set(made.loc[made["characteristic"].eq("gender"), "category"]) == {"female", "male", participants.OTHER_WORDS}
    assert row(made, site="a", category=participants.OTHER_WORDS)["estimate"] == pytest.approx(0.1)
    assert "Anna" not in made.to_csv() and "script" not in made.to_csv()


def test_a_column_of_many_words_is_no_category():
    words = [f"word {number}" for number in range(21)]
    made = table([site("a", [30.0] * 21, words), site("b", TWENTY, ["female"] * 20)])
    found = row(made, site="a", characteristic="gender", category="female")
    assert found["status"] == "not_estimable" and "has 21 different words" in found["reason"]


def test_two_people_are_not_described_since_mean_and_deviation_would_tell_both():
    made = table(
        [site("a", TWENTY, ["female"] * 20), site("b", [31.0, 58.0] + [np.nan] * 18), site("c", [31.0, 58.0, 40.0] + [np.nan] * 17)]
    )
    assert row(made, site="b", **AGE)["status"] == "not_estimable"
    assert row(made, site="c", **AGE)["estimate"] == 43.0


def test_what_a_site_does_not_send_is_not_estimable_with_the_reason():
    made = table([site("a", TWENTY, ["female"] * 20), site("b", [np.nan] * 20), site("c", TWENTY[:1] + [np.nan] * 19)])
    assert row(made, site="b", **AGE)["reason"] == "not estimable: needs age of clients, at least 3; the site sends none"
    assert row(made, site="c", **AGE)["reason"] == "not estimable: needs age of clients, at least 3; has 1"
    assert row(made, site="b", characteristic="gender")["status"] == "not_estimable"
    over = row(made, site=POOLED, **AGE)
    assert over["reason"] == "not estimable: needs at least 2 sites with an estimate; has 1"
    assert made["status"].isin(("estimated", "not_estimable")).all()


def test_sites_left_out_missing_or_of_an_older_summary_have_rows_that_say_so():
    out = SiteSummary(site="x", question="client_factors", status="excluded", reason="no consent")
    old = SiteSummary(site="y", question="client_factors")
    made = table([site("a", TWENTY), site("b", TWENTY)], out, old)
    assert row(made, site="x", **AGE)["reason"] == "site left out: no consent"
    assert row(made, site="y", **AGE)["status"] == "not_estimable"
    assert table([], out).empty


def test_a_published_matrix_tells_means_of_its_variables_and_of_covariances_their_deviation():
    def of(kind: str, variance: float) -> SiteData:
        frame = pd.DataFrame(
            [
                {
                    "block": "all",
                    "level": "client",
                    "var1": "age",
                    "var2": "age",
                    "n": 80,
                    "mean1": 41.0,
                    "mean2": 41.0,
                    "cov": variance,
                    "method": kind,
                }
            ]
        )
        return SiteData(kind, published=Published(typed(frame, MOMENTS), typed(pd.DataFrame(), PUBLISHED_EFFECTS)))

    made = table([of("covariance", 81.0), of("correlation", 1.0), site("a", TWENTY)])
    assert row(made, site="correlation", **AGE)["estimate"] == row(made, site="covariance", **AGE)["estimate"] == 41
    spread = {**AGE, "estimate_type": participants.SD}
    assert row(made, site="covariance", **spread)["estimate"] == 9
    assert row(made, site="correlation", **spread)["reason"].startswith("not estimable: needs the clients of the site")
    assert row(made, site=POOLED, **AGE)["n_clients"] == 180 and row(made, site=POOLED, **spread)["n_clients"] == 100


def test_therapists_are_those_of_the_clients():
    staff = pd.DataFrame(
        {"therapist_no": [1, 2, 3, 4, 5, 99], "years": [2.0, 4.0, np.nan, 8.0, 10.0, 50.0], "age": 40.0, "training": ["a"] * 6}
    )
    made = table([site("a", TWENTY, staff=staff.astype({"therapist_no": "Int64"})), site("b", TWENTY)])
    years = row(made, site="a", person="therapist", characteristic="years", estimate_type=participants.MEAN)
    assert (years["estimate"], years["n_therapists"], years["n_clients"], years["share_missing"]) == (6.0, 4, 16, pytest.approx(0.2))
    each = row(made, site="a", characteristic=participants.CASELOAD, estimate_type=participants.MEAN)
    assert (each["estimate"], each["n_therapists"]) == (4.0, 5)
    assert row(made, site="a", person="therapist", characteristic="age", estimate_type=participants.MEAN)["estimate"] == 40


def test_therapists_who_are_not_known_are_not_described():
    unknown = SiteData(site="u", clients=pd.DataFrame({"client_no": range(1, 21), "age": TWENTY}))
    made = table([unknown, site("b", TWENTY)])
    assert row(made, site="u", **AGE)["status"] == "estimated" and pd.isna(row(made, site="u", **AGE)["n_therapists"])
    assert (
        row(made, site="u", characteristic=participants.CASELOAD, estimate_type="mean")["reason"]
        == "not estimable: the site has no therapists"
    )
    assert pd.isna(row(made, site=POOLED, **AGE)["n_therapists"])


def test_the_order_of_rows_and_sites_does_not_matter():
    first = site("a", TWENTY, ["female"] * 8 + ["male"] * 12)
    shuffled = SiteData(site="a", clients=first.clients.sample(frac=1, random_state=3).reset_index(drop=True))
    second = site("b", [value + 0.1 for value in TWENTY], ["male"] * 20)
    pd.testing.assert_frame_equal(table([first, second]), table([second, shuffled]))


def test_no_smallest_or_largest_value_stands_in_the_table():
    ages = [18.0, 79.0, *([40.0] * 18)]
    made = table([site("a", ages), site("b", ages)])
    numbers = made.select_dtypes("number").to_numpy(dtype=float, na_value=np.nan)
    assert not np.isin(numbers, (18.0, 79.0)).any()
