"""Path models for several groups of clients: who counts, what a site lacks, what is sent and what cannot be said."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from alliance.questions.contract import POOLED, WITH_NUMBERS, check
from alliance.questions.path_models.sample import model_of
from alliance.questions.path_models.sent import sent_by, site_groups
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from alliance.statistics.structural_fit import fit_structural
from alliance.statistics.structural_model import parse_structural
from alliance.statistics.structural_resampling import contributions, jackknife
from path_model_sites import configured, path_site, row, rows_of, summary_of, tables_of

GROUPS = ["cognitive", "psychodynamic"]
FREE = "outcome ~ c(b1, b2)*alliance + intake_level\ndifference := b1 - b2\n"
SAME = "outcome ~ c(b, b)*alliance + intake_level\n"
SHORT = "outcome ~ alliance + intake_level"


def options(models: dict[str, str], comparisons: dict[str, list[str]] | None = None, **equal: Any) -> dict[str, Any]:
    chosen = configured(models, comparisons)
    for content in chosen["questions"]["path_models"]["models"].values():
        content |= {"groups": {"by": "treatment", "values": GROUPS}, **equal}
    return chosen


def treated(site: SiteData, names: list[str | None]) -> SiteData:
    """Return a site whose clients are in the treatments named, over and over."""
    return dataclasses.replace(site, clients=site.clients.assign(treatment=np.resize(np.array(names, dtype=object), len(site.clients))))


@pytest.fixture(scope="module")
def summaries() -> list[SiteSummary]:
    sites = [path_site(name, n=120, seed=seed, missing=0.05) for seed, name in enumerate("abc")]
    return [summary_of(treated(site, [*GROUPS * 3, "gestalt", None]), CHOSEN) for site in sites]


CHOSEN = options({"free": FREE, "same": SAME}, {"treatments": ["same", "free"]})


def test_clients_in_no_group_are_left_out_and_counted(summaries):
    facts = summaries[0].facts["models"]["free"]
    assert (facts["left_out_group_unknown"], facts["left_out_other_group"]) == (15, 15)
    own = rows_of(summaries[0], "free")
    assert row(own, index="clients_in_no_group")["estimate"] == 30 / 120
    by_group = own[own["op"].eq("~")].groupby("group")["n_clients"].agg(["min", "max"])
    assert by_group.to_numpy().tolist() == [[45, 45], [45, 45]]
    assert set(own.loc[own["op"].eq(":="), "n_clients"]) == {90}
    pooled = tables_of(summaries, CHOSEN)["diagnostics"]
    assert row(pooled, site=POOLED, model="free", index="clients_in_no_group")["estimate"] == pytest.approx(90 / 360)


def test_every_table_keeps_the_contract_and_pools_each_group(summaries):
    tables = tables_of(summaries, CHOSEN)
    for name, table in tables.items():
        check(table, "path_models", name)
    parameters = tables["parameters"]
    own = parameters[parameters["site"].eq(POOLED) & parameters["model"].eq("free") & parameters["parameter"].eq("outcome ~ alliance")]
    own = own[own["estimate_type"].eq("path_standardised")]
    told = own[own["status"].isin(WITH_NUMBERS)]
    methods = {"two_stage_reml", "multivariate_reml", "pooled_covariance"}
    assert {(group, method) for group, method in zip(told["group"], told["method"])} == {(g, m) for g in GROUPS for m in methods}
    assert set(own.loc[own["method"].eq("two_stage_sem"), "reason"].str.contains("correlations pooled pair by pair")) == {True}
    assert tables["site_paths"]["reason"].str.contains("the model has groups of its own").all()


def test_one_path_for_both_treatments_is_nested_in_two(summaries):
    comparison = tables_of(summaries, CHOSEN)["comparison"]
    for site in ("a", POOLED):
        own = comparison[comparison["site"].eq(site) & comparison["estimate_type"].eq("chi2_difference")]
        assert set(own["model"]) == {"same"} and set(own["against"]) == {"free"}
        assert row(own, index="df")["estimate"] == 1
        assert 0 < row(own, index="p_value")["estimate"] < 1


def test_the_same_path_has_one_value_in_units_of_the_variables_and_the_effect_is_their_difference(summaries):
    parameters = tables_of(summaries, CHOSEN)["parameters"]
    own = parameters[parameters["site"].eq("a") & parameters["parameter"].eq("outcome ~ alliance")]
    same, free = (own[own["model"].eq(name) & own["estimate_type"].eq("path_unstandardised")] for name in ("same", "free"))
    assert same["estimate"].nunique() == 1 and free["estimate"].nunique() == 2
    values = free.set_index("group")["estimate"]
    defined = tables_of(summaries, CHOSEN)["defined"]
    told = row(defined, site="a", model="free", estimate_type="defined_unstandardised")
    assert told["estimate"] == pytest.approx(values["cognitive"] - values["psychodynamic"])
    # A difference is not skewed: no bootstrap, an interval by t from leaving out therapists.
    assert (told["interval"], told["method"]) == ("jackknife", "cluster_jackknife")


def test_a_site_without_the_column_says_what_it_needs():
    own = rows_of(summary_of(path_site(), CHOSEN), "free")
    told = own[own["op"].isin(["~", ":="])]
    assert set(told["reason"]) == {"not estimable: needs the column treatment of the clients table"}
    assert set(own.loc[own["op"].eq("~"), "group"]) == set(GROUPS)


def test_a_group_that_is_too_small_is_named_with_its_numbers():
    few = treated(path_site(n=120), [*["psychodynamic"] * 14, "cognitive"])
    own = rows_of(summary_of(few, CHOSEN), "free")
    assert own["reason"].iloc[0] == "not estimable: needs at least 10 clients with outcome in the group cognitive; has 8"
    assert not own.loc[own["index"].ne("clients_in_no_group"), "status"].isin(WITH_NUMBERS).any()


@pytest.mark.parametrize(("model", "parameters", "needed"), [("free", "3", 33), ("same", "2.5", 28)])
def test_clients_of_each_group_are_enough_for_its_parameters_of_which_shared_ones_are_shared_out(model, parameters, needed):
    # Two paths and what they leave unexplained in each group; a path that is the same in both counts half.
    chosen = options({"free": FREE, "same": SAME})
    chosen["questions"]["path_models"]["clients_per_parameter"] = 11
    site = treated(path_site(n=104), ["psychodynamic", "psychodynamic", "psychodynamic", "cognitive"])
    assert rows_of(summary_of(site, chosen), model)["reason"].iloc[0] == (
        f"not estimable: needs at least {needed} clients in the group cognitive for {parameters} free parameters "
        "(clients_per_parameter 11); has 26 (mean over pairs of variables)"
    )


def test_few_therapists_of_one_group_are_flagged_with_their_number():
    site = path_site(n=120, therapists=15)
    named = np.where(site.clients["therapist_no"].le(4), "cognitive", "psychodynamic")
    own = rows_of(summary_of(treated(site, named.tolist()), CHOSEN), "free")
    paths = own[own["op"].eq("~")]
    assert set(paths["method"]) == {"client_jackknife"}
    assert set(paths["reason"]) == {"fewer than 5 therapists (4): clients taken as independent"}


def test_whole_numbers_of_the_clients_table_are_the_texts_of_the_configuration():
    chosen = options({"free": FREE})
    for content in chosen["questions"]["path_models"]["models"].values():
        content["groups"] = {"by": "clients.arm", "values": ["1", "2"]}
    site = path_site(n=120)
    site = dataclasses.replace(site, clients=site.clients.assign(arm=np.resize([1.0, 2.0], 120)))
    paths = rows_of(summary_of(site, chosen), "free").query("op == '~'")
    assert set(paths["group"]) == {"1", "2"} and set(paths["n_clients"]) == {60} and set(paths["status"]) == {"estimated"}


def test_a_published_matrix_does_not_tell_groups_apart():
    rows = pd.DataFrame([("outcome", "alliance", 90, 0.3)], columns=["var1", "var2", "n", "cov"])
    moments = rows.assign(block="x", level="client", mean1=np.nan, mean2=np.nan, method="correlation")
    nothing = pd.DataFrame(columns=["question", "model", "parameter", "estimate", "std_error", "n"])
    own = rows_of(summary_of(SiteData("p", "P", published=Published(moments, nothing)), CHOSEN), "free")
    assert own["reason"].str.contains("its published matrix does not tell groups of treatment apart").all()


def test_what_is_sent_fits_every_group_and_groups_that_share_therapists_hang_together(summaries, tmp_path):
    summaries[0].write(tmp_path / "a")
    read = SiteSummary.read(tmp_path / "a")
    model = model_of(CHOSEN["questions"]["path_models"], "free")
    found, before = (site_groups(one, "free", model) for one in sent_by([read, summaries[0]]))
    assert found.covariances.shape == (2, 3, 3) and found.n.tolist() == pytest.approx(before.n.tolist())
    size = len(found.acov) // 2
    assert np.linalg.eigvalsh(found.acov).min() > -1e-12
    assert np.abs(found.acov[:size, size:]).max() > 0


def test_a_model_that_restricts_means_has_no_fit_to_covariances_and_says_so(summaries):
    chosen = options({"short": SHORT}, group_equal=["regressions", "intercepts"])
    own = [summary_of(treated(path_site(name, n=120, seed=seed), GROUPS), chosen) for seed, name in enumerate("ab")]
    assert row(rows_of(own[0], "short"), index="df")["estimate"] == 3
    parameters = tables_of(own, chosen)["parameters"]
    within = parameters[parameters["site"].eq(POOLED) & parameters["reason"].str.contains("restricts means")]
    assert len(within) == 6 and set(within["status"]) == {"not_estimable"}


def test_clusters_of_several_groups_are_left_out_of_all_of_them():
    random = np.random.default_rng(6)
    parts = []
    for group in range(2):
        x = random.standard_normal(60)
        parts.append(pd.DataFrame({"x": x, "y": (0.3 + 0.3 * group) * x + random.standard_normal(60), "t": np.arange(60) % 12}))
    model = parse_structural("y ~ c(b1, b2)*x\ndifference := b1 - b2")
    clusters = [part["t"] for part in parts]
    whole = fit_structural(model, rows=parts, clusters=clusters, shared_clusters=True)
    found = jackknife(whole)
    assert found.n_units == (12,) and found.df == 11
    kept = [[part[part["t"].ne(one)] for part in parts] for one in range(12)]
    slopes = np.array([[np.polyfit(rows["x"], rows["y"], 1)[0] for rows in both] for both in kept])
    difference = slopes[:, 0] - slopes[:, 1]
    expected = np.sqrt(11 / 12 * ((difference - difference.mean()) ** 2).sum())
    assert found.parameters.set_index("lhs").loc["difference", "std_error"] == pytest.approx(expected, rel=1e-6)
    # As in lavaan, clusters of one name in two groups are two where nothing else is said.
    assert jackknife(fit_structural(model, rows=parts, clusters=clusters)).n_units == (12, 12)


def test_groups_without_common_clusters_are_strata():
    random = np.random.default_rng(7)
    parts = [pd.DataFrame(random.standard_normal((40, 2)), columns=["x", "y"]) for _ in range(3)]
    clusters = [np.arange(40) % 8, np.arange(40) % 8 + 8, np.arange(40) % 8 + 4]
    fitted = fit_structural(parse_structural("y ~ x"), rows=parts, clusters=clusters, shared_clusters=True)
    # The third group shares clusters with both others.
    assert contributions(fitted).n_units == (16,)
    apart = fit_structural(parse_structural("y ~ x"), rows=parts[:2], clusters=clusters[:2], shared_clusters=True)
    assert contributions(apart).n_units == (8, 8) and apart.n_clusters == (8, 8)
