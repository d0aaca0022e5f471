"""The multiverse against plain loops in R: lm and metafor for every specification, lme4, lavaan, drop1 and sign flips.

specr would fit the same lm to the same grid; it does not leave out therapists in turn or pool sites, so the loop is written out.
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.questions.alliance_outcome import question as alliance_outcome
from alliance.questions.contract import POOLED
from alliance.sensitivity import pooled_multiverse
from alliance.statistics.node_influence import node_influence
from alliance.statistics.resampling import generator
from alliance.statistics.sign_flips import STEPS, flipped, joint_test
from test_statistics_r import needs_r
from unit.multiverse_sites import answer, headline, options, sites, statuses

pytestmark = needs_r
OUTCOME = {"residual_gain": "residual_gain", "difference": "change", "post_alone": "zero_order"}
NODES = {
    "alliance": {"client": {}, "therapist": {"alliance": {"rater": "therapist"}}},
    "change": {"intake_held_constant": {}, **{name: {"outcome": {"form": form}} for name, form in OUTCOME.items()}},
    "covariate": {"none": {}, "motivation": headline(covariates=["motivation"])},
    "pooling": {"random_effects": {}, "one_effect": {"pooling": {"tau2": "fixed", "interval": "z"}}},
    "metric": {"fisher_z": {}, "r": {"pooling": {"metric": "r"}}},
}
# Six by three by two options, four combinations missing.
EVERY = pd.DataFrame(product("abcdef", "xyz", "pq"), columns=["first", "second", "third"])
CHOICES = EVERY.drop(index=[3, 8, 20, 29]).reset_index(drop=True)
UNITS, FLIPS = 12, 199


def client_rows(site) -> pd.DataFrame:
    """Return one row a client: means of early ratings, intake and post, from the scores and not by the project's measures."""
    scores = site.scores.assign(client_no=site.scores["client_no"].astype(int))
    chosen = scores[scores["instrument"].eq("wai_36") & scores["scale"].eq("total") & scores["session"].between(1, 5)]
    by_rater = chosen.groupby(["client_no", "rater"])["score"].mean().unstack()
    symptoms = scores[scores["instrument"].eq("core_10") & scores["rater"].eq("client")]
    levels = {name: -symptoms[symptoms["timepoint"].eq(name)].set_index("client_no")["score"] for name in ("intake", "post")}
    clients = site.clients.assign(client_no=site.clients["client_no"].astype(int)).set_index("client_no")
    found = pd.DataFrame({"client": by_rater["client"], "therapist_rated": by_rater["therapist"], **levels}).reindex(clients.index)
    return found.assign(site=site.site, therapist=clients["therapist_no"].astype(int), motivation=clients["motivation"])


def many_therapists():
    return sites("a", therapists=28)[0]


@pytest.fixture(scope="module")
def three():
    return sites()


@pytest.fixture(scope="module")
def scores():
    random = generator(3, "scores")
    units = np.repeat(np.arange(UNITS), 6)
    shared = random.standard_normal((UNITS, 1))[units]
    return 0.15 + 0.5 * shared + random.standard_normal((len(units), 5)), units


@pytest.fixture(scope="module")
def values():
    return generator(4, "values").standard_normal(len(CHOICES)) + 0.8 * CHOICES["second"].eq("z")


@pytest.fixture(scope="module")
def of_r(three, scores, values, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("multiverse")
    rows = pd.concat([client_rows(site) for site in three], ignore_index=True)
    rows.to_csv(folder / "rows.csv", index=False, float_format="%.17g", na_rep="NA")
    client_rows(many_therapists()).to_csv(folder / "likelihood.csv", index=False, float_format="%.17g", na_rep="NA")
    grid = pd.DataFrame(list(product(*NODES.values())), columns=list(NODES))
    grid = grid.assign(alliance=grid["alliance"].replace("therapist", "therapist_rated"), covariate=grid["covariate"].replace("none", ""))
    grid.to_csv(folder / "grid.csv", index=False)
    CHOICES.assign(y=values).to_csv(folder / "influence.csv", index=False, float_format="%.17g")
    pd.DataFrame(scores[0]).assign(unit=scores[1]).to_csv(folder / "scores.csv", index=False, float_format="%.17g")
    signs = generator(1, "flips").integers(0, 2, (FLIPS, UNITS)) * 2 - 1
    pd.DataFrame(signs).to_csv(folder / "signs.csv", index=False)
    return r_script.values("multiverse.R", folder)


def test_every_specification_is_that_of_lm_and_metafor(three, of_r):
    given = options(NODES)
    found = pooled_multiverse.tables_of([answer(site, given) for site in three], statuses(three), given)["specifications"]
    assert len(found) == len(of_r["specifications"]) == 64
    for name in ("estimate", "ci_low", "ci_high", "tau2", "n_clients", "n_sites"):
        expected = [one[name] for one in of_r["specifications"]]
        known = found[name].notna().to_numpy() if name == "tau2" else np.ones(64, dtype=bool)
        assert known.sum() >= 32
        np.testing.assert_allclose(
            found[name].to_numpy(dtype=float)[known], np.array(expected, dtype=float)[known], rtol=0, atol=1e-6, err_msg=name
        )


def site_rows(three, **chosen):
    given = options({"how": {"usual": {}, "chosen": headline(**chosen)}})
    found = {}
    for site in three:
        summary = answer(site, given)
        row = summary.estimates.iloc[1]
        found[site.site] = (row, float(summary.vcov.set_index("parameter1").loc[row["parameter"], "cov"]))
    return found


def test_random_therapists_are_those_of_lme4(three, of_r):
    for site, (row, variance) in site_rows(three, therapists="random").items():
        expected = of_r["random"][site]
        assert row["method"] == "mixed_model"
        assert row["estimate"] == pytest.approx(expected["estimate"], abs=1e-5)
        assert np.sqrt(variance) == pytest.approx(expected["se"], rel=1e-4)


def test_clients_with_some_values_are_those_of_lavaan(of_r):
    row, variance = site_rows([many_therapists()], missing="likelihood")["a"]
    expected = of_r["likelihood"]
    # With fewer than 20 therapists what is left out in turn are clients too.
    assert row["n_clients"] == expected["n"] and row["n_therapists"] >= 20 and row["method"] == "likelihood_jackknife"
    assert row["estimate"] == pytest.approx(expected["estimate"], abs=1e-6)
    assert np.sqrt(variance) / (1 - row["estimate"] ** 2) == pytest.approx(expected["se_z"], rel=1e-4)


def test_imputed_is_the_row_of_the_table_of_missing_values(three):
    given = options({"missing": {"complete": {}, "imputed": headline(missing="imputed")}})
    table = alliance_outcome.pool([alliance_outcome.estimate(site, given, {}) for site in three], given, {})["missing"]
    main = table[table["site"].eq(POOLED) & pd.to_numeric(table["delta"]).eq(0) & table["estimate_type"].eq("partial_correlation")]
    assert len(main) == 1
    found = pooled_multiverse.tables_of([answer(site, given) for site in three], statuses(three), given)["specifications"].iloc[1]
    for name in ("estimate", "ci_low", "ci_high", "n_clients", "n_sites"):
        assert found[name] == pytest.approx(main.iloc[0][name], rel=1e-12), name


def test_the_influence_of_decisions_is_that_of_drop1_and_anova(values, of_r):
    found, expected = node_influence(CHOICES, values), of_r["influence"]
    assert found.main.to_dict() == pytest.approx(expected["main"], abs=1e-10)
    assert found.total.to_dict() == pytest.approx(expected["total"], abs=1e-10)
    assert {" ".join(pair): value for pair, value in found.pairs.items()} == pytest.approx(expected["pairs"], abs=1e-10)
    assert found.all_main == pytest.approx(expected["all_main"]) and found.all_pairs == pytest.approx(expected["all_pairs"])


def test_joint_tests_with_the_same_signs_are_those_of_a_loop(scores, of_r):
    given, units = scores
    found = flipped(given, units, FLIPS, generator(1, "flips"))
    tested = joint_test(found.observed / found.norm, found.draws / STEPS)
    for name, expected in of_r["flips"].items():
        assert getattr(tested, name) == pytest.approx(expected), json.dumps(of_r["flips"])
    assert tested.p_any < 1 and len(np.unique(tested.p_values)) > 1
