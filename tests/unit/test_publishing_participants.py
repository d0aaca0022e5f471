"""Who took part passes the gate like every table: no cell of few people, also of therapists, and none that can be worked out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.publishing import attack, columns
from alliance.questions import contract
from alliance.questions.client_factors import participants
from alliance.questions.contract import POOLED, WITH_NUMBERS, finish
from alliance.statistics.descriptives import of_all_groups
from published_study import PUBLIC, SHARE, SITES, gated, gated_rows, row, status, table, with_numbers

PLACE = ("client_factors", participants.NAME)
COMMON = {"std_error": None, "ci_low": None, "ci_high": None, "scale": "identity", "method": participants.METHOD}


def cell(site: str, characteristic: str, kind: str, value: float, people: int, person: str = "client", category: str = "", **other):
    clients, therapists = (people, 8) if person == "client" else (6 * people, people)
    keys = {"person": person, "characteristic": characteristic, "category": category, "estimate_type": kind, "estimate": value}
    return row(site, clients, therapists, **{**COMMON, **keys, **other})


def genders(counts: dict[str, tuple[int, ...]], names: tuple[str, ...] = ("female", "male", "other")) -> list[dict]:
    """Return the shares of all sites and over them, from counts by site."""
    every = {**counts, POOLED: tuple(sum(parts) for parts in zip(*counts.values()))}
    return [
        cell(site, "gender", "share", number / sum(parts), sum(parts), category=name, n_sites=len(counts) if site == POOLED else 1)
        | ({"n_therapists": 8 * len(counts)} if site == POOLED else {})
        for site, parts in every.items()
        for name, number in zip(names, parts)
    ]


def told(made: pd.DataFrame, site: str) -> dict[str, str]:
    return made[made["site"].eq(site)].set_index("category")["status"].to_dict()


@pytest.mark.parametrize(("profile", "few"), [(PUBLIC, 9), (SHARE, 4)])
@pytest.mark.parametrize("kind", [participants.MEAN, participants.SD])
def test_a_mean_of_one_client_too_few_is_hidden(profile, few, kind):
    for people, shown in ((few, False), (few + 1, True)):
        made = gated_rows(*PLACE, [cell("elm", "age", kind, 41.23456, people + 10 if profile is PUBLIC and shown else people)], profile)
        assert with_numbers(made) == [shown]
        assert made["estimate"].notna().tolist() == [shown]


@pytest.mark.parametrize("person", ["client", "therapist"])
def test_therapists_whom_a_number_describes_are_people_too(person):
    """Nine therapists have 54 clients: of clients that is enough, of therapists it is not."""
    rows = [cell("elm", "age", "mean", 44.0, people, person) for people in ((54,) if person == "client" else (9,))]
    assert with_numbers(gated_rows(*PLACE, rows)) == [person == "client"]


@pytest.mark.parametrize(("people", "shown"), [(9, False), (20, True)])
def test_a_mean_of_therapists_needs_as_many_of_them_as_one_of_clients(people, shown):
    statuses = [status(site, 200, 40) for site in SITES]
    made = gated_rows(*PLACE, [cell("elm", "years", "mean", 7.5, people, "therapist")], statuses=statuses)
    assert with_numbers(made) == [shown]


@pytest.mark.parametrize("inside", [1, 9, 51])
def test_a_share_of_therapists_shows_neither_few_nor_few_others(inside):
    statuses = [status(site, 400, 60) for site in SITES]
    rows = [cell("elm", "training", "share", part / 60, 60, "therapist", name) for name, part in (("yes", inside), ("no", 60 - inside))]
    assert not any(with_numbers(gated_rows(*PLACE, rows, statuses=statuses)))
    rows = [cell("elm", "training", "share", part / 60, 60, "therapist", name) for name, part in (("yes", 20), ("no", 40))]
    assert all(with_numbers(gated_rows(*PLACE, rows, statuses=statuses)))


def test_of_two_genders_a_hidden_one_takes_the_other_with_it():
    made = gated_rows(*PLACE, genders({site: (51, 9) for site in SITES}, ("female", "male")))
    assert set(told(made, "elm").values()) == {"withheld"}
    assert set(told(made, POOLED).values()) == {"estimated"}


def test_of_three_genders_a_few_take_the_next_with_them():
    made = gated_rows(*PLACE, genders({site: (36, 22, 2) for site in SITES}))
    for site in SITES:
        assert told(made, site) == {"female": "estimated", "male": "withheld", "other": "withheld"}
    # Over all sites ten clients are enough.
    assert set(told(made, POOLED).values()) == {"estimated"}


def test_nobody_of_a_gender_counts_as_few():
    made = gated_rows(*PLACE, genders({site: (36, 24, 0) for site in SITES}))
    assert told(made, "oak") == told(made, POOLED) == {"female": "estimated", "male": "withheld", "other": "withheld"}


def test_the_mean_of_one_hidden_site_cannot_be_worked_out_from_the_others():
    n = {"birch": 60, "cedar": 55, "elm": 50, "oak": 45, "rowan": 9}
    rows = [cell(site, "age", "mean", 30.0 + place, people) for place, (site, people) in enumerate(n.items())]
    rows.append(cell(POOLED, "age", "mean", 32.0, sum(n.values()), n_therapists=40))
    made = gated_rows(*PLACE, rows).set_index("site")["status"]
    assert made["rowan"] == made["oak"] == "withheld" and made[POOLED] == made["elm"] == "estimated"


def test_few_whose_age_is_not_known_are_not_told():
    few, many = (gated_rows(*PLACE, [cell("elm", "age", "mean", 40.0, 48, share_missing=share)]) for share in (2 / 50, 12 / 60))
    assert few["share_missing"].isna().all() and many["share_missing"].tolist() == [0.2]


def test_numbers_are_rounded_and_no_therapist_may_have_most_of_them():
    made = gated_rows(*PLACE, [cell("elm", "age", "mean", 41.23456, 43)])
    assert (made["estimate"][0], made["n_clients"][0], made["n_therapists"][0]) == (41.23, 45, 10)
    statuses = [status(site, largest_caseload_share=0.6) for site in SITES]
    assert not any(with_numbers(gated_rows(*PLACE, [cell("elm", "age", "mean", 41.0, 40, n_therapists=3)], statuses=statuses)))


def test_therapists_are_compared_with_the_last_version_as_therapists():
    statuses = [status(site, 400, 60) for site in SITES]
    old = gated_rows(*PLACE, [cell("elm", "years", "mean", 7.5, 40, "therapist")], statuses=statuses)
    rows = [cell("elm", "years", "mean", 7.9, 42, "therapist")]
    # Twelve more clients would be enough, two more therapists are not.
    assert with_numbers(gated_rows(*PLACE, rows, before={f"{PLACE[0]}/{PLACE[1]}": old}, statuses=statuses)) == [False]
    rows = [cell("elm", "years", "mean", 7.9, 58, "therapist")]
    assert with_numbers(gated_rows(*PLACE, rows, before={f"{PLACE[0]}/{PLACE[1]}": old}, statuses=statuses)) == [True]


def study_of(seed: int) -> list[dict]:
    """Return invented rows of all sites and over them: ages, genders and years of therapists of random numbers of people."""
    random = np.random.default_rng(seed)
    rows, n_sites = [], len(SITES)
    counts = {site: tuple(int(n) for n in random.multinomial(random.integers(12, 60), [0.55, 0.38, 0.07])) for site in SITES}
    rows += genders(counts)
    for person, characteristic, least in (("client", "age", 5), ("therapist", "years", 3)):
        n = {site: int(random.integers(least, 40)) for site in SITES}
        mean, sd = ({site: float(random.uniform(low, low + 9)) for site in SITES} for low in (30, 8))
        together = of_all_groups(list(n.values()), list(mean.values()), list(sd.values()))
        for kind, values, over in (("mean", mean, together[1]), ("standard_deviation", sd, together[2])):
            rows += [cell(site, characteristic, kind, values[site], n[site], person) for site in SITES]
            extra = {"n_sites": n_sites} | ({"n_therapists": 40} if person == "client" else {})
            rows.append(cell(POOLED, characteristic, kind, over, sum(n.values()), person, **extra))
    return rows


@pytest.mark.parametrize("profile", [PUBLIC, SHARE], ids=["public", "share"])
def test_an_attacker_finds_no_hidden_count_in_random_studies(profile):
    hidden = shown = 0
    schema = contract.table(*PLACE)
    for seed in range(40):
        made = gated({PLACE[0]: {PLACE[1]: table(*PLACE, study_of(seed))}}, profile).data.tables[PLACE[0]][PLACE[1]]
        told_to_all = {f"{PLACE[0]}/{PLACE[1]}": made}
        assert not attack.recoverable(told_to_all, {f"{PLACE[0]}/{PLACE[1]}": schema}, profile.round_counts_to)
        hidden += int(made["status"].eq("withheld").sum())
        shown += int(made["status"].isin(WITH_NUMBERS).sum())
        exact = finish(pd.DataFrame(study_of(seed)), *PLACE)
        _nothing_below_the_limits(made, exact, profile)
    assert hidden > 100 and shown > 100


def _nothing_below_the_limits(made: pd.DataFrame, exact: pd.DataFrame, profile) -> None:
    keys = ["person", "characteristic", "category", "estimate_type", "site"]
    both = made.merge(exact, on=keys, suffixes=("", "_exact"))
    both = both[both["status"].isin(WITH_NUMBERS)]
    people = both["n_clients_exact"].where(both["person"].eq("client"), both["n_therapists_exact"]).astype(float)
    assert (people >= profile.min_clients).all()
    inside = (both["estimate_exact"] * people)[both["estimate_type"].eq("share")]
    rest = people[inside.index] - inside
    assert (np.fmin(inside, rest) >= profile.min_clients - 1e-6).all()


def test_what_a_row_describes_decides_whose_number_counts():
    frame = table(*PLACE, [cell("elm", "age", "mean", 40.0, 50), cell("elm", "years", "mean", 8.0, 12, "therapist")])
    assert columns.people(frame, PLACE).tolist() == [50, 12]
    assert set(columns.kinds(contract.table(*PLACE)).values()) <= {
        columns.RESULT,
        columns.SPREAD,
        columns.BASE,
        columns.SAFE,
        columns.LACKING,
    }
