"""No therapist has, or may have, too large a part of the clients behind a published number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.publishing.decisions import Ledger
from alliance.publishing.profiles import profile
from alliance.publishing.rows import rows_of
from alliance.publishing.sites import shown_sites
from alliance.questions import contract
from alliance.questions.contract import POOLED
from unit.published_study import EFFECT, PUBLIC, SHARE, gated, gated_rows, row, status, table, with_numbers

SITE_EFFECTS = ("alliance_outcome", "site_effects")
SHARE_OF = {"estimate_type": "share", "scale": "identity", "ci_low": 0, "ci_high": 1}


def sites(share, clients=100, therapists=10):
    """Return five sites, at one of which a therapist has a share of all clients."""
    others = [status(site, 100, 10, largest_caseload_share=0.1) for site in ("birch", "cedar", "oak", "rowan")]
    return [*others, status("elm", clients, therapists, **({} if share is None else {"largest_caseload_share": share}))]


@pytest.mark.parametrize(
    ("clients", "therapists", "expected"), [(58, 8, True), (57, 8, False), (100, 8, True), (30, 22, True), (30, 8, False)]
)
def test_a_number_is_shown_where_no_therapist_can_have_too_many_of_its_clients(clients, therapists, expected):
    # At most 40 clients have the same therapist: 58 x 0.7 = 40.6. With 22 therapists one has at most 9 of 30.
    made = gated_rows(*SITE_EFFECTS, [row(clients=clients, therapists=therapists, **EFFECT)], statuses=sites(0.4))
    assert with_numbers(made) == [expected]
    if not expected:
        assert made["reason"].tolist() == ["withheld: one therapist may have over 70% of the clients, or of a side of a share"]
        assert made[["estimate", "n_clients"]].isna().all(axis=None)


@pytest.mark.parametrize(("inside", "expected"), [(29, True), (28, False), (71, True), (72, False)])
def test_each_side_of_a_share_is_judged(inside, expected):
    rows = [row(clients=100, therapists=10, definition="unilateral", estimate=inside / 100, **SHARE_OF)]
    assert with_numbers(gated_rows("dropout", "definitions", rows, statuses=sites(0.2))) == [expected]


def test_counts_of_events_are_judged():
    keys = {"estimate_type": "hazard_ratio", "scale": "log", "estimate": 1.4, "term": "alliance_first"}
    events = [
        gated_rows("dropout", "hazard", [row(clients=100, n_events=n, **keys)], statuses=sites(0.2)).iloc[0]["n_events"] for n in (28, 29)
    ]
    assert (pd.isna(events[0]), events[1]) == (True, 30)


def test_rows_over_sites_are_judged_by_the_largest_caseload_of_any_site():
    def pooled(clients, share):
        rows = [row(POOLED, clients, 3, **{**EFFECT, "coding": "as_estimated"})]
        return with_numbers(gated_rows("alliance_outcome", "pooled", rows, statuses=sites(share)))

    assert (pooled(58, 0.4), pooled(57, 0.4)) == ([True], [False])
    # Of a site that does not tell, nothing is known: at most 10 clients of the others have the same therapist.
    assert (pooled(15, None), pooled(14, None)) == ([True], [False])


def test_caseloads_that_are_not_known_and_published_figures_are_not_judged():
    assert with_numbers(gated_rows(*SITE_EFFECTS, [row(clients=40, **EFFECT)], statuses=sites(None))) == [True]


def test_sites_shown_together_are_not_dominated_by_one_therapist():
    def together(share):
        small = [status("elm", 60, 4, largest_caseload_share=share), status("oak", 15, 5, largest_caseload_share=0.2)]
        made = gated({}, statuses=[status("birch", 90, 9), status("cedar", 80, 9), *small]).data.statuses
        return next(one["label"] for one in made if one["site"] == "other-sites")

    assert (together(0.75), together(0.95)) == ("Other sites (2)", "Other sites (3)")


def test_shares_of_partners_are_judged_by_their_own_limit():
    rows = [row(clients=100, therapists=10, definition="unilateral", estimate=n / 100, **SHARE_OF) for n in (24, 22)]
    made = [with_numbers(gated_rows("dropout", "definitions", [one], SHARE, statuses=sites(0.2))) for one in rows]
    assert made == [[True], [False]]


@pytest.mark.parametrize("seed", range(40))
def test_no_shown_row_of_a_random_site_is_dominated(seed):
    """Clients of a site are drawn with unequal caseloads, rows rest on some of them; who is shown is checked against the true caseloads."""
    random = np.random.default_rng(seed)
    n, weights = int(random.integers(40, 90)), random.dirichlet(np.full(7, 0.8))
    therapist = random.choice(7, n, p=weights)
    caseloads = np.bincount(therapist)
    share = round(float(caseloads.max() / n), 2)
    rows, truth = [], []
    for number in range(60):
        behind = random.random(n) < random.random()
        inside = behind & (random.random(n) < random.random())
        if not inside.any():
            continue
        clients = int(behind.sum())
        keys = {"definition": f"d{number}", "estimate": inside.sum() / clients}
        rows.append(row("elm", clients, len(np.unique(therapist[behind])), **keys, **SHARE_OF))
        cells = [behind, inside, behind & ~inside]
        truth.append(max(np.bincount(therapist[cell]).max() / cell.sum() for cell in cells if cell.any()))
    statuses = [*sites(0.1)[:4], status("elm", n, int((caseloads > 0).sum()), largest_caseload_share=share)]
    for limits in (PUBLIC, SHARE, profile({"profile": "public", "max_therapist_share": 0.5})):
        if share > limits.max_therapist_share:
            continue
        made = gated_rows("dropout", "definitions", rows, limits, statuses=statuses)
        if not len(made):
            continue
        largest = dict(zip((one["definition"] for one in rows), truth))
        shown = made.loc[with_numbers(made), "definition"]
        assert all(largest[name] <= limits.max_therapist_share + 1e-9 for name in shown)


def test_a_row_has_no_more_therapists_than_its_site():
    shown = shown_sites(sites(0.1, therapists=4), PUBLIC, Ledger())
    made = rows_of(table(*SITE_EFFECTS, [row("elm", 60, 12, **EFFECT)]), contract.table(*SITE_EFFECTS), shown)
    assert made.therapists.tolist() == [4]
