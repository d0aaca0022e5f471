"""Therapist-offered conditions and social influence: what a site that lacks something, or published a matrix, gives."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
from alliance.questions import effects
from alliance.questions.contract import POOLED, WITH_NUMBERS, faults
from alliance.questions.path_models import conditions as path_models_conditions
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.sites.published import names_in_use, unused_names
from conditions_table import summary_of, table_of
from simulated_site import OPTIONS, score_rows, site_of

N = 120
CORRELATIONS = {
    ("empathy", "alliance"): 0.5,
    ("empathy", "outcome"): 0.3,
    ("empathy", "intake"): 0.1,
    ("alliance", "outcome"): 0.4,
    ("alliance", "intake"): 0.2,
    ("intake", "outcome"): 0.5,
}


@pytest.fixture
def options():
    chosen = copy.deepcopy(OPTIONS)
    for name in ("unconditionality", "congruence"):
        chosen[name]["instruments"] = []
    return chosen


def rated(seed: int = 1, n: int = N, site: str = "a", observed: bool = True, influence: bool = True, treated: bool = True) -> SiteData:
    """Return a site with empathy and regard, and with observers, social influence and treatments where asked for."""
    random = np.random.default_rng(seed)
    client = np.arange(1, n + 1)
    alliance, severity = random.standard_normal(n), random.standard_normal(n)

    def related(r: float) -> np.ndarray:
        return r * alliance + np.sqrt(1 - r * r) * random.standard_normal(n)

    empathy = related(0.5)
    scores = []
    for session in (1, 2, 3, 8, 9):
        noise = random.standard_normal((2, n))
        scores.append(score_rows(client, alliance + 0.3 * noise[0], instrument="wai_36", session=session))
        scores.append(score_rows(client, empathy + 0.3 * noise[1], instrument="care", session=session))
    scores.append(score_rows(client, related(0.4), instrument="blri_os64", scale="regard", session=1))
    if observed:
        scores.append(score_rows(client, related(0.2), instrument="care", session=3, rater="observer"))
    if influence:
        scores.append(score_rows(client, related(0.4), instrument="crf_s", scale="expertness", session=3))
    scores.append(score_rows(client, severity, instrument="core_10", timepoint="intake"))
    worse = 0.5 * severity - 0.4 * alliance + random.standard_normal(n)
    scores.append(score_rows(client, worse, instrument="core_10", timepoint="post"))
    clients = {"client_no": pd.array(client, dtype="Int64"), "therapist_no": pd.array(client % 12, dtype="Int64")}
    if treated:
        clients["treatment"] = np.where(random.random(n) < 0.5, "cbt", "pdt")
    return site_of(scores, site, clients=pd.DataFrame(clients), facts={"design": "naturalistic"})


def published(site: str = "p", n: float | None = 150, without: tuple[str, ...] = (), effects_of: pd.DataFrame | None = None) -> SiteData:
    rows = [
        {"block": "", "level": "", "var1": x, "var2": y, "n": n, "cov": r, "method": "correlation"}
        for (x, y), r in CORRELATIONS.items()
        if not {x, y} & set(without)
    ]
    columns = ["question", "model", "parameter", "estimate", "n", "std_error"]
    empty = pd.DataFrame(columns=columns) if effects_of is None else effects_of
    return dataclasses.replace(site_of([], site), published=Published(pd.DataFrame(rows), empty))


def only(table: pd.DataFrame, **keys: str) -> pd.Series:
    chosen = table[np.logical_and.reduce([table[name].eq(value) for name, value in keys.items()])]
    assert len(chosen) == 1, (keys, len(chosen))
    return chosen.iloc[0]


def test_a_site_says_once_for_each_comparison_what_it_lacks(options):
    table = table_of([rated(observed=False, influence=False, treated=False)], options)
    own = table[table["site"].eq("a") & table["status"].eq("not_estimable")]
    reasons = {(row.topic, row.variable, row.form): row.reason for row in own.itertuples()}
    absent = "not estimable: no client-rated expertness score of crf_s in session_3"
    assert reasons == {
        ("outcome", "expertness", "ancova"): absent,
        ("outcome", "expertness", "zero_order"): absent,
        ("modality", "empathy", "ancova"): "not estimable: needs the column treatment of the clients table",
        ("raters", "empathy", "ancova"): "not estimable: no observer-rated total score of care in early",
        ("raters", "empathy", "zero_order"): "not estimable: no observer-rated total score of care in early",
        ("beside_alliance", "expertness", "ancova"): "not estimable: no client-rated expertness score of crf_s in early",
    }


def test_conditions_without_instruments_are_not_asked_for(options):
    table = table_of([rated(site="a"), rated(2, site="b")], options)
    assert set(table["variable"]) == {"empathy", "regard", "expertness", "alliance"}
    assert faults(table, "path_models", "conditions") == []


def test_without_a_window_of_their_own_conditions_are_compared_in_that_of_the_alliance(options):
    named = path_models_conditions.estimate(rated(), options)
    options["questions"]["path_models"]["conditions"]["window"] = None
    assert options["alliance"]["window"] == "early"
    assert path_models_conditions.estimate(rated(), options).rows == named.rows


def test_modality_and_phases_can_be_left_out(options):
    settings = options["questions"]["path_models"]["conditions"]
    settings |= {"modality": None, "phases": {"early": "early", "middle": None, "late": None}}
    table = table_of([rated()], options)
    assert not table["topic"].eq("modality").any()
    assert set(table.loc[table["topic"].eq("phase"), "phase"]) == {"early"}


def test_without_an_outcome_only_empathy_with_the_alliance_is_told(options):
    site = rated()
    site = dataclasses.replace(site, scores=site.scores[site.scores["timepoint"].eq("session")].reset_index(drop=True))
    table = table_of([site], options)
    own = table[table["site"].eq("a")]
    assert set(own.loc[own["status"].isin(WITH_NUMBERS), "topic"]) == {"phase"}
    reason = only(own, topic="outcome", variable="empathy", form="ancova")["reason"]
    assert reason == "not estimable: needs an outcome; no client-rated score of core_10, ors at post"


def test_too_few_clients_give_no_number_anywhere(options):
    table = table_of([rated(n=9)], options)
    assert table["status"].eq("not_estimable").all()
    assert table["estimate"].isna().all()
    assert "needs at least 10 clients" in only(table[table["site"].eq("a")], topic="outcome", variable="empathy", form="ancova")["reason"]


def test_ratings_made_after_the_outcome_are_left_out_and_counted_but_stand_beside_the_alliance_of_their_session(options):
    site = rated()
    scores = site.scores.copy()
    day = pd.Timestamp("2022-01-01") + pd.to_timedelta(7 * scores["session"].astype("float64").fillna(30), unit="D")
    early = scores["timepoint"].eq("post") & scores["client_no"].le(20)
    scores["date"] = day.mask(early, pd.Timestamp("2022-01-05")).mask(scores["timepoint"].eq("intake"), pd.Timestamp("2022-01-01"))
    dated = dataclasses.replace(site, scores=scores)
    part = path_models_conditions.estimate(dated, options)
    assert part.facts["left_out_after_outcome"] == {"empathy": 20, "regard": 20, "expertness": 20}
    table = table_of([dated], options)
    assert only(table, site="a", topic="outcome", variable="empathy", form="ancova")["n_clients"] == N - 20
    assert only(table, site="a", topic="phase", phase="early", pair="")["n_clients"] == N


def test_the_order_of_rows_and_of_sites_changes_nothing(options):
    sites = [rated(1, site="a"), rated(2, site="b")]
    shuffled = [
        dataclasses.replace(
            site,
            scores=site.scores.sample(frac=1, random_state=3).reset_index(drop=True),
            clients=site.clients.sample(frac=1, random_state=4).reset_index(drop=True),
        )
        for site in reversed(sites)
    ]
    pd.testing.assert_frame_equal(table_of(sites, options), table_of(shuffled, options), rtol=1e-9)


def test_a_summary_read_from_files_gives_the_same_pooled_rows(options, tmp_path):
    summaries = [summary_of(rated(seed, site=name), options) for seed, name in ((1, "a"), (2, "b"))]
    for one in summaries:
        one.write(tmp_path / one.site)
    read = [SiteSummary.read(tmp_path / one.site) for one in summaries]
    tables = [path_models_conditions.pool(effects.gather(these), these, options) for these in (summaries, read)]
    keys = [*path_models_conditions.KEYS, "estimate_type", "site"]
    first, second = (table.sort_values(keys)["estimate"].astype(float).to_numpy() for table in tables)
    assert first == pytest.approx(second, rel=1e-6, nan_ok=True)


def test_a_site_left_out_is_named_once_for_each_variable(options):
    excluded = SiteSummary(
        site="x", label="X", question="path_models", status="excluded", reason="no clients", estimates=pd.DataFrame(), vcov=pd.DataFrame()
    )
    summaries = [summary_of(rated(), options), excluded]
    table = path_models_conditions.pool(effects.gather(summaries[:1]), summaries, options)
    own = table[table["site"].eq("x")]
    assert sorted(own["variable"]) == ["empathy", "expertness", "regard"]
    assert own["reason"].eq("site left out: no clients").all()


def test_a_published_matrix_gives_the_partial_correlations_and_contrasts_of_its_numbers(options):
    table = table_of([published()], options)
    own = table[table["site"].eq("p") & table["status"].isin(WITH_NUMBERS)]
    r = CORRELATIONS
    by_hand = {}
    for name in ("empathy", "alliance"):
        xy, xz, zy = r[name, "outcome"], r[name, "intake"], r["intake", "outcome"]
        by_hand[name] = (xy - xz * zy) / np.sqrt((1 - xz**2) * (1 - zy**2))
    empathy = only(own, topic="outcome", variable="empathy", form="ancova")
    assert empathy["estimate"] == pytest.approx(by_hand["empathy"], abs=1e-12)
    assert empathy["std_error"] == pytest.approx(1 / np.sqrt(150 - 4), rel=1e-9)
    contrast = only(own, topic="beside_alliance", contrast="alliance - empathy", form="ancova", estimate_type="correlation_contrast")
    assert contrast["estimate"] == pytest.approx(by_hand["alliance"] - by_hand["empathy"], abs=1e-12)
    x = np.array([[1, r["empathy", "alliance"], r["alliance", "intake"]], [r["empathy", "alliance"], 1, r["empathy", "intake"]], [0, 0, 1]])
    x[2, :2] = x[:2, 2]
    slopes = np.linalg.solve(x, [r["alliance", "outcome"], r["empathy", "outcome"], r["intake", "outcome"]])
    joint = own[own["estimate_type"].eq("slope_standardised")].set_index("variable")["estimate"]
    assert joint[["alliance", "empathy"]].to_numpy() == pytest.approx(slopes[:2], abs=1e-12)
    difference = only(own, estimate_type="slope_contrast")["estimate"]
    assert difference == pytest.approx(slopes[0] - slopes[1], abs=1e-12)


def test_the_contrast_of_a_published_matrix_has_the_error_of_dependent_correlations(options):
    found = only(
        table_of([published()], options), site="p", topic="beside_alliance", form="zero_order", estimate_type="correlation_contrast"
    )
    x, y, between = CORRELATIONS["alliance", "outcome"], CORRELATIONS["empathy", "outcome"], CORRELATIONS["empathy", "alliance"]
    # Olkin & Siotani, as in Steiger (1980), equation 3.
    shared = between * (1 - x**2 - y**2) - x * y * (1 - x**2 - y**2 - between**2) / 2
    variance = (1 - x**2) ** 2 + (1 - y**2) ** 2 - 2 * shared
    assert found["std_error"] ** 2 == pytest.approx(variance / 150, rel=0.02)


def test_a_matrix_that_lacks_a_correlation_says_which(options):
    table = table_of([published(without=("intake",))], options)
    own = table[table["site"].eq("p")]
    reason = only(own, topic="outcome", variable="empathy", form="ancova")["reason"]
    assert reason == "not estimable: the site published no correlation of empathy with intake and of outcome with intake"
    assert only(own, topic="outcome", variable="empathy", form="zero_order")["estimate"] == pytest.approx(0.3)
    assert only(own, topic="outcome", variable="regard", form="ancova")["reason"].endswith(
        "published no correlation of regard with the outcome"
    )


def test_published_correlations_take_part_in_the_mean(options):
    given = pd.DataFrame(
        [{"question": "path_models", "model": "conditions", "parameter": "regard.ancova", "estimate": 0.27, "n": 100, "std_error": np.nan}]
    )
    table = table_of([rated(), published(effects_of=given)], options)
    row = only(table, site="p", topic="outcome", variable="regard", form="ancova")
    assert (row["estimate"], row["n_clients"], row["method"]) == (0.27, 100, "published_n")
    assert only(table, site=POOLED, topic="outcome", variable="regard", form="ancova")["n_sites"] == 2
    assert unused_names("p", None, given, names_in_use([options], ["care"])) == []


def test_one_kind_of_setting_is_said_to_be_one(options):
    table = table_of([rated(1, site="a"), rated(2, site="b")], options)
    row = only(table, topic="setting", contrast="analogue - clinical")
    assert row["reason"] == (
        "not estimable: needs clinical and analogue sites (design in site.yaml); has 2 clinical and 0 analogue with an estimate"
    )
    assert only(table, topic="setting", group="clinical")["n_sites"] == 2


def test_methods_tell_what_was_compared(options):
    table = table_of([rated(1, site="a"), rated(2, site="b")], options)
    texts = " ".join(one.text for one in path_models_conditions.methods(options, table))
    assert "Related to the outcome: empathy, expertness, regard" in texts
    assert "±0.1" in texts
    nothing = path_models_conditions.methods(options, table.iloc[:0])
    assert [one.text for one in nothing] == [
        "No site has therapist-offered conditions or social influence with outcome or alliance for enough clients."
    ]
