"""Agreement of raters: what cannot be estimated, what is flagged, and what does not depend on order, level or unit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics.interrater import FORMS, intraclass, mean_differences
from alliance.statistics.multilevel import variance_shares


def ratings(seed: int = 1, sessions: int = 60, raters: int = 3, missing: float = 0.3, level: float = 0.5) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    target, rater = (codes.ravel() for codes in np.indices((sessions, raters)))
    value = random.normal(size=sessions)[target] + level * random.normal(size=raters)[rater] + 0.7 * random.normal(size=len(target))
    frame = pd.DataFrame({"target": target, "rater": rater, "value": value, "client": target // 3, "therapist": target // 9})
    return frame[random.random(len(frame)) >= missing].reset_index(drop=True)


def numbers(found) -> list[float]:
    return [getattr(one, name) for one in found.coefficients.values() for name in ("estimate", "std_error", "ci_low", "ci_high")]


def reasons(found) -> set[str]:
    return {one.reason for one in found.coefficients.values()}


def test_sessions_with_one_rater_say_what_is_needed() -> None:
    found = intraclass(ratings(raters=1, missing=0.0))
    assert reasons(found) == {"needs at least two raters at one session; has 60 sessions with one rater each"}
    assert {one.status for one in found.coefficients.values()} == {"not_estimable"} and np.isnan(numbers(found)).all()
    few = ratings(missing=0.0)
    few = few[(few["target"] < 4) | (few["rater"] == 0)]
    assert reasons(intraclass(few)) == {"needs at least 5 sessions with two or more raters; has 4"}
    assert reasons(intraclass(ratings().iloc[:0])) == {"needs at least two raters at one session; has 0 sessions with one rater each"}


def test_ratings_without_any_disagreement_or_difference_are_not_estimable() -> None:
    same = ratings(missing=0.0)
    assert reasons(intraclass(same.assign(value=3.0))) == {"all ratings are the same"}
    agreed = same.assign(value=same["target"] % 7)
    assert reasons(intraclass(agreed)) == {"the raters of a session never differ: there is no variance of error to compare with"}
    shifted = intraclass(agreed.assign(value=agreed["value"] + agreed["rater"]))
    assert shifted.coefficients["ICC(1,1)"].status == "flagged"
    assert "differ by the same amount" in shifted.coefficients["ICC(2,k)"].reason


def test_raters_who_are_not_identified_or_share_nothing_have_one_way_forms_only() -> None:
    unknown = intraclass(ratings().drop(columns="rater"))
    own = ratings()
    strangers = intraclass(own.assign(rater=np.arange(len(own))))
    for found in (unknown, strangers):
        estimable = {name for name, one in found.coefficients.items() if one.status != "not_estimable"}
        assert estimable == {"ICC(1,1)", "ICC(1,k)"}
        assert set(found.shares) == {"target", "error"}
    assert numbers(unknown)[:8] == pytest.approx(numbers(strangers)[:8], abs=1e-9)
    assert "not identified" in unknown.coefficients["ICC(2,1)"].reason
    assert "do not share enough sessions" in strangers.coefficients["ICC(3,1)"].reason


def test_one_way_forms_equal_the_shares_of_nested_units_with_their_exact_interval() -> None:
    rows = ratings().drop(columns=["rater", "client", "therapist"])
    share = variance_shares(rows, "value", ["target"], residual="rating").iloc[0]
    found = intraclass(rows).coefficients["ICC(1,1)"]
    assert [found.estimate, found.ci_low, found.ci_high] == pytest.approx([share["share"], share["ci_low"], share["ci_high"]], abs=1e-5)


def test_single_and_average_forms_are_joined_by_spearman_and_brown() -> None:
    found = intraclass(ratings())
    k = found.raters_of_target
    for single, average in (("ICC(1,1)", "ICC(1,k)"), ("ICC(2,1)", "ICC(2,k)"), ("ICC(3,1)", "ICC(3,k)")):
        for name in ("estimate", "ci_low", "ci_high"):
            one = getattr(found.coefficients[single], name)
            assert getattr(found.coefficients[average], name) == pytest.approx(k * one / (1 + (k - 1) * one), abs=1e-12)
    assert {form.mcgraw_wong for form in FORMS.values()} == {"ICC(1)", "ICC(k)", "ICC(A,1)", "ICC(A,k)", "ICC(C,1)", "ICC(C,k)"}


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_order_labels_level_and_unit_do_not_matter(missing: float) -> None:
    rows = ratings(missing=missing)
    found = numbers(intraclass(rows))
    shuffled = rows.sample(frac=1, random_state=3)
    assert numbers(intraclass(shuffled)) == pytest.approx(found, abs=1e-10)
    relabelled = rows.assign(rater=rows["rater"].map({0: "c", 1: "a", 2: "b"}), value=100 - 20 * rows["value"])
    assert numbers(intraclass(relabelled)) == pytest.approx(found, abs=1e-7)
    empty = pd.concat([rows, rows.iloc[:5].assign(target=lambda one: one["target"] + 1000, value=np.nan)])
    assert numbers(intraclass(empty)) == pytest.approx(found, abs=1e-12)


def test_estimates_at_the_edge_are_flagged() -> None:
    rows = ratings(missing=0.0)
    own = rows.groupby("target")["value"].transform("mean")
    assert reasons(intraclass(rows.assign(value=rows["value"] - own))) == {"sessions do not differ: the mean rating of all is the same"}
    centred = rows.assign(value=rows["value"] - 0.9 * own)
    complete = intraclass(centred).coefficients["ICC(3,k)"]
    assert complete.estimate < 0 and "zero or below" in complete.reason
    unbalanced = intraclass(centred.iloc[1:]).coefficients["ICC(3,k)"]
    assert unbalanced.estimate == 0 and unbalanced.status == "flagged" and "estimated as zero" in unbalanced.reason
    assert unbalanced.ci_low <= 0 <= unbalanced.ci_high
    level = rows.assign(value=rows["value"] - rows.groupby("rater")["value"].transform("mean"))
    assert "raters differ in level no more than by chance" in intraclass(level).coefficients["ICC(2,1)"].reason
    assert "ICC(2) respects that" in intraclass(rows).coefficients["ICC(1,1)"].reason


def test_few_therapists_leave_out_clients_and_say_so() -> None:
    rows = ratings()
    found = intraclass(rows.assign(therapist=rows["client"] % 3))
    assert (found.interval, found.n_therapists, found.n_clients) == ("client_jackknife", 3, 20)
    assert "fewer than 5 therapists (3)" in found.coefficients["ICC(2,k)"].reason
    assert intraclass(rows).interval == "cluster_jackknife"
    assert intraclass(rows.drop(columns="therapist")).interval == "client_jackknife"
    assert intraclass(rows.assign(client=rows["target"], therapist=rows["target"])).interval == "exact"
    transferred = rows.assign(therapist=rows["target"] // 2)
    assert intraclass(transferred).n_clients == len(transferred[["client", "therapist"]].drop_duplicates())


def test_contradictory_rows_are_refused() -> None:
    rows = ratings()
    with pytest.raises(ValueError, match="rated a target twice"):
        intraclass(pd.concat([rows, rows.iloc[:1]]))
    with pytest.raises(ValueError, match="several clients"):
        intraclass(rows.assign(client=np.arange(len(rows)) % 2))
    with pytest.raises(ValueError, match="column value"):
        intraclass(rows.drop(columns="value"))
    with pytest.raises(ValueError, match="needs its rater"):
        mean_differences(rows.drop(columns="rater"))


def test_mean_differences_are_within_sessions_and_antisymmetric() -> None:
    rows = ratings()
    found = mean_differences(rows)
    assert list(zip(found["first"], found["second"], strict=True)) == [(0, 1), (0, 2), (1, 2)]
    shifted = mean_differences(rows.assign(value=rows["value"] + 2.0 * (rows["rater"] == 0)))
    assert shifted["difference"].to_numpy() - found["difference"].to_numpy() == pytest.approx([2, 2, 0])
    assert shifted["std_error"].to_numpy() == pytest.approx(found["std_error"].to_numpy())
    swapped = mean_differences(rows.assign(rater=-rows["rater"]))
    assert swapped["difference"].to_numpy()[::-1] == pytest.approx(-found["difference"].to_numpy())
    alone = mean_differences(rows[(rows["rater"] == 0) | (rows["target"] < 2)])
    assert alone["status"].tolist() == ["not_estimable"] * 3 and "needs at least 4 clients" in alone["reason"].iloc[0]
