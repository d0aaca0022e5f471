"""Reliability equals psych, lavaan, semTools, metafor and pingouin; intervals equal their formulas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import reliability_reference as reference
from alliance.statistics import internal_consistency, loading_reliability
from alliance.statistics.one_factor import HEYWOOD, one_factor
from alliance.statistics.reliability import compare, from_covariance, omega_total, reliability, share_at_maximum
from alliance.statistics.resampling import generator
from alliance.statistics.schmid_leiman import schmid_leiman
from needed import needs_r, needs_real_data

SCALES = ("simulated", "agreeableness", "anxiety", "abilities", "textual", "visual")


@pytest.fixture(scope="module")
def stored() -> dict:
    return reference.stored("reliability")


def array(values: object) -> np.ndarray:
    return np.asarray(values, dtype=float)


@needs_r
@needs_real_data(reference.SAI)
def test_stored_values_are_what_r_gives_now(stored: dict) -> None:
    now = reference.computed()
    for part in ("scales", "schmid_leiman", "model", "clustered", "samples", "abt", "ceiling"):
        pd.testing.assert_series_equal(flat(now[part]), flat(stored[part]), rtol=1e-6, atol=1e-8)


def flat(value: object) -> pd.Series:
    """Return the numbers of nested JSON with their places."""
    found = {}

    def add(place: str, one: object) -> None:
        if isinstance(one, dict | list):
            for key, inner in one.items() if isinstance(one, dict) else enumerate(one):
                add(f"{place}/{key}", inner)
        else:
            found[place] = np.nan if one is None else float(one)

    add("", value)
    return pd.Series(found).sort_index()


@pytest.mark.parametrize("name", SCALES)
def test_alpha_and_item_correlations_equal_psych(stored: dict, name: str) -> None:
    expected = stored["scales"][name]
    covariance = array(expected["covariance"])
    assert internal_consistency.alpha(covariance) == pytest.approx(expected["alpha"], rel=1e-12)
    assert internal_consistency.mean_inter_item_correlation(covariance) == pytest.approx(expected["mean_r"], rel=1e-12)
    assert internal_consistency.item_rest_correlations(covariance) == pytest.approx(expected["item_rest"], rel=1e-10)


@pytest.mark.parametrize("name", SCALES)
def test_one_factor_and_omega_total_equal_lavaan_and_semtools(stored: dict, name: str) -> None:
    expected = stored["scales"][name]
    covariance = array(expected["covariance"])
    # lavaan takes the divisor n.
    fit = one_factor(covariance * (expected["n"] - 1) / expected["n"])
    assert fit.problem == ""
    assert np.abs(fit.loadings) == pytest.approx(np.abs(expected["loadings"]), abs=1e-6)
    assert fit.residuals == pytest.approx(expected["residuals"], abs=1e-6)
    assert expected["n"] * fit.discrepancy == pytest.approx(expected["chisq"], rel=1e-8, abs=1e-6)
    for omega in ("omega", "omega_again"):
        assert omega_total(covariance) == pytest.approx(expected[omega], rel=1e-6)


@pytest.mark.parametrize("name", SCALES)
def test_errors_from_a_covariance_matrix_equal_the_formulas(stored: dict, name: str) -> None:
    expected = stored["scales"][name]
    n, k = expected["n"], len(expected["covariance"])
    found = from_covariance(array(expected["covariance"]), n)["alpha"]
    assert found.std_error == pytest.approx(np.sqrt(expected["van_zyl"]), rel=1e-7)
    assert internal_consistency.alpha_variance(array(expected["covariance"]), n) == pytest.approx(expected["van_zyl"], rel=1e-10)
    omega = from_covariance(array(expected["implied"]), n)["omega_total"]
    assert omega.estimate == pytest.approx(expected["omega_exact"], rel=1e-6)
    assert omega.std_error == pytest.approx(expected["omega_exact_se"], rel=1e-4)
    low, high = internal_consistency.feldt_interval(expected["alpha"], n, k)
    assert (low, high) == pytest.approx(tuple(expected["feldt"]), abs=1e-9)


def test_the_exact_interval_of_alpha_equals_pingouin(stored: dict) -> None:
    import pingouin

    data = reference.rows()[reference.ITEMS].dropna()
    value, limits = pingouin.cronbach_alpha(data)
    found = reliability(data)["alpha"].estimate
    assert found == pytest.approx(value, rel=1e-12)
    assert np.round(internal_consistency.feldt_interval(found, *data.shape), 3) == pytest.approx(limits, abs=1e-12)


def test_variance_of_parallel_items_is_metafors_and_that_of_van_zyl_for_them(stored: dict) -> None:
    found = [internal_consistency.bonett_variance(n, k) for n, k in ((100, 12), (60, 36), (31, 4))]
    assert found == pytest.approx(stored["abt"]["vi"], rel=1e-12)
    assert np.abs(stored["abt"]["yi"]) == pytest.approx(np.abs(np.log1p(-np.array([0.8, 0.93, 0.7]))), rel=1e-12)
    parallel = np.full((5, 5), 0.4) + 0.6 * np.eye(5)
    error = from_covariance(parallel, 1002)["alpha"].ln_error
    assert error**2 * 1001 / 1000 == pytest.approx(internal_consistency.bonett_variance(1002, 5), rel=1e-7)


@pytest.mark.parametrize("name", ["abilities", "simulated", "personality"])
def test_schmid_leiman_equals_psych_and_its_parts_to_the_last_digits(stored: dict, name: str) -> None:
    expected = stored["schmid_leiman"][name]
    found = schmid_leiman(array(expected["covariance"]), expected["factors"])
    # Some items of the personality scales are reversed, and one of the five scales is turned the other way.
    assert found.problem == "" and ("negative loading" in str(found.doubt)) == (name == "personality")
    assert found.omega_hierarchical == pytest.approx(expected["omega_h"], rel=1e-6)
    assert found.omega_t == pytest.approx(expected["omega_t"], rel=1e-7)
    assert found.general == pytest.approx(expected["general"], abs=1e-5)
    # psych stops its optimiser and the rotation early.
    assert found.omega_hierarchical == pytest.approx(expected["psych"]["omega_h"], abs=2e-4)
    assert found.omega_t == pytest.approx(expected["psych"]["omega_t"], abs=1e-5)
    assert found.explained_common_variance == pytest.approx(expected["psych"]["ecv"], abs=2e-4)
    assert found.general == pytest.approx(expected["psych"]["general"], abs=1e-3)


def test_small_samples_without_a_proper_solution_are_those_of_lavaan(stored: dict) -> None:
    samples = [sample for sample in stored["samples"] if sample["converged"]]
    fit = one_factor(np.array([sample["covariance"] for sample in samples]))
    proper = np.array([sample["smallest"] > 0 for sample in samples])
    assert (~proper).sum() >= 5 and proper.sum() >= 20
    assert (fit.problem[~proper] == HEYWOOD).all() and np.isnan(fit.omega()[~proper]).all()
    assert (fit.problem[proper] == "").all()
    some = [sample for sample, use in zip(samples, proper) if use]
    assert fit.omega()[proper] == pytest.approx([sample["omega"] for sample in some], rel=1e-5)
    assert 25 * fit.discrepancy[proper] == pytest.approx([sample["chisq"] for sample in some], rel=1e-5, abs=1e-6)
    assert fit.negative[proper].tolist() == [sample["negative"] for sample in some]
    assert fit.negative[proper].any()


def test_omegas_from_loadings_of_several_factors_equal_hand_algebra_and_semtools(stored: dict) -> None:
    model = stored["model"]
    loadings, residuals, standardised = (array(model[name]) for name in ("loadings", "residuals", "standardised"))
    own = [4, 5, 6, 7]
    assert loading_reliability.omega_hierarchical(loadings, residuals) == pytest.approx(model["omega_h"], rel=1e-12)
    assert loading_reliability.omega_of_model(loadings, residuals) == pytest.approx(model["omega_t"], rel=1e-12)
    assert loading_reliability.omega_of_model(loadings, np.diag(residuals), items=own) == pytest.approx(model["omega_s"], rel=1e-12)
    assert loading_reliability.omega_hierarchical(loadings, residuals, 2, items=own) == pytest.approx(model["omega_hs"], rel=1e-12)
    assert loading_reliability.explained_common_variance(standardised) == pytest.approx(model["ecv"], rel=1e-12)
    assert loading_reliability.uncontaminated_correlations([0] * 4 + [1] * 4 + [2] * 4) == pytest.approx(model["puc"], rel=1e-12)
    other = model["correlated"]
    found = [
        loading_reliability.omega_of_model(array(other["loadings"]), array(other["residuals"]), array(other["phi"]), items)
        for items in (range(4), range(4, 8), range(8, 12), None)
    ]
    assert found == pytest.approx(other["omega"], rel=1e-9)
    with pytest.raises(ValueError, match="correlates"):
        loading_reliability.omega_hierarchical(array(other["loadings"]), array(other["residuals"]), 0, array(other["phi"]))


def test_leaving_out_therapists_equals_refits_in_lavaan(stored: dict) -> None:
    rows, expected = reference.rows(), stored["clustered"]
    found = compare([rows[reference.ITEMS], rows[reference.SECOND]], rows["therapist"], interval="jackknife")
    assert (found.n, found.n_left_out, found.n_clusters) == (expected["n"], 2, expected["therapists"])
    first, second = found.scales
    jackknife = expected["jackknife"]
    assert [one.ln_error for one in first] == pytest.approx([jackknife["alpha"], jackknife["omega"]], rel=1e-5)
    assert second[0].ln_error == pytest.approx(jackknife["second"], rel=1e-9)
    difference = found.differences[0]
    assert (difference.name, difference.df) == ("alpha", 23)
    assert difference.std_error == pytest.approx(jackknife["difference"], rel=1e-9)
    assert difference.estimate == pytest.approx(expected["alphas"][0] - expected["alphas"][1], rel=1e-9)


def test_resampled_therapists_give_the_errors_that_resampling_in_r_gives(stored: dict) -> None:
    rows, expected = reference.rows(), stored["clustered"]
    found = compare([rows[reference.ITEMS], rows[reference.SECOND]], rows["therapist"], generator(1, "test"), names=("alpha",), draws=8000)
    errors = [found.scales[0][0].ln_error, found.scales[1][0].ln_error, found.differences[0].std_error]
    # Of 4,000 and 8,000 draws: the Monte Carlo error of the ratio is 1.4 %.
    assert errors == pytest.approx(array(expected["bootstrap"]) * np.sqrt(24 / 23), rel=0.05)


def test_feldts_dependent_test_equals_its_formula_in_r(stored: dict) -> None:
    expected = stored["clustered"]
    statistic, df, p = internal_consistency.feldt_dependent(*expected["alphas"], expected["r"], expected["n"])
    assert (statistic, p) == pytest.approx((expected["feldt_t"], expected["feldt_p"]), rel=1e-10)
    assert df == expected["n"] - 2


def test_share_at_the_highest_score_has_the_score_interval_of_r(stored: dict) -> None:
    found = share_at_maximum(np.r_[np.full(7, 5.0), np.full(43, 4.2), np.nan], 5)
    assert (found.count, found.n, found.share) == (7, 50, 0.14)
    assert (found.wilson_low, found.wilson_high) == pytest.approx(tuple(stored["ceiling"]), rel=1e-10)
