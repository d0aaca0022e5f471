"""Jackknife, bootstrap and sensitivity of indirect effects equal what R and published examples give."""

from __future__ import annotations

import math

import indirect_reference as reference
import numpy as np
import pandas as pd
import pytest
import statistics_reference
from alliance.statistics.indirect_effects import confounding, e_value, indirect_effects, monte_carlo, risk_ratio_e_value
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import StructuralFit, fit_structural, parse_structural
from alliance.statistics.structural_resampling import bootstrap, contributions, jackknife, outputs, refits
from needed import needs_r

STORED = reference.stored()
# The 2.5 % quantile of a normal has the standard error sd sqrt(p (1 - p)) / density = 2.67 sd / sqrt(draws).
QUANTILE = 2.67


def fitted(name: str, rows: pd.DataFrame, clustered: bool = True) -> StructuralFit:
    models = {**statistics_reference.MODELS, **reference.MODELS}
    missing = "ml" if rows.isna().any(axis=None) else "listwise"
    return fit_structural(parse_structural(models[name]), rows=rows, clusters=[rows["therapist"]] if clustered else None, missing=missing)


def errors_by_name(table: pd.DataFrame, column: str) -> dict[str, float]:
    names = table["lhs"] + np.where(table["op"] == ":=", "", table["op"] + table["rhs"])
    return dict(zip(names, table[column]))


@needs_r
def test_stored_values_are_what_r_gives_now() -> None:
    now = reference.computed()
    for model, values in STORED["jackknife"].items():
        assert now["jackknife"][model] == pytest.approx(values, rel=1e-5, abs=1e-8)
    assert now["bootstrap"]["low"] == pytest.approx(STORED["bootstrap"]["low"], rel=1e-5)
    assert now["sensitivity"]["indirect"] == pytest.approx(STORED["sensitivity"]["indirect"], rel=1e-5)


@pytest.mark.parametrize("name", sorted(statistics_reference.MODELS))
def test_jackknife_errors_of_complete_data_equal_refits_by_lavaan(name: str) -> None:
    expected = statistics_reference.stored("path_analysis")["jackknife"]["models"][name]
    model = statistics_reference.MODELS[name]
    rows = reference.rows()
    found = jackknife(fit_structural(parse_structural(model), rows=rows, clusters=[rows["therapist"]]))
    assert (found.unit, found.df) == ("clusters", 29)
    for column in ("std_error", "std_error_standardized"):
        ours = errors_by_name(found.parameters, column)
        for term, value in expected[column].items():
            if isinstance(value, float) and value > 1e-9:
                # lavaan stops each of the 30 refits a little short of its maximum.
                assert ours[term] == pytest.approx(value, rel=2e-5), (term, column)


@pytest.mark.parametrize("name", ["latent", "overidentified"])
def test_jackknife_errors_with_missing_values_equal_refits_by_lavaan(name: str) -> None:
    expected = STORED["jackknife"][name]
    table = jackknife(fitted(name, reference.holes())).parameters
    compared = 0
    for row in table.itertuples():
        key = f"{row.lhs}{row.op}{row.rhs}"
        for kind, value in (("raw", row.std_error), ("std", row.std_error_standardized)):
            theirs = expected.get(f"{kind}:{key}")
            if theirs is not None and theirs > 1e-9:
                assert value == pytest.approx(theirs, rel=2e-5), (kind, key)
                compared += 1
    assert compared > 20


def test_percentile_limits_equal_those_of_lavaan() -> None:
    expected, draws = STORED["bootstrap"], 20000
    found = bootstrap(fitted("saturated", reference.rows(), False), generator(1, "lavaan"), draws=draws, interval="percentile")
    assert (found.unit, found.n_failed, found.n_improper) == ("rows", 0, 0)
    share = math.sqrt(1 / expected["draws"] + 1 / draws)
    table = found.parameters.drop_duplicates("label").set_index("label")
    for name, sd in expected["sd"].items():
        assert found.draws[name].std() == pytest.approx(sd, rel=4 * share / math.sqrt(2))
        for column, quantile in (("ci_low", "low"), ("ci_high", "high")):
            assert table.loc[name, column] == pytest.approx(expected[quantile][name], abs=4 * QUANTILE * sd * share)


def test_resampling_therapists_agrees_with_a_loop_in_r() -> None:
    expected, draws = statistics_reference.stored("path_analysis")["bootstrap"], 20000
    found = bootstrap(fitted("saturated", reference.rows()), generator(1, "loop"), draws=draws, interval="percentile")
    assert (found.unit, found.n_units) == ("clusters", (30,))
    sd, share = found.draws["indirect"].std(), math.sqrt(1 / expected["draws"] + 1 / draws)
    assert sd == pytest.approx(expected["sd"], rel=4 * share / math.sqrt(2))
    limits = found.parameters.set_index("label").loc["indirect", ["ci_low", "ci_high"]].to_numpy(float)
    assert limits == pytest.approx(np.array(expected["quantiles"]), abs=4 * QUANTILE * sd * share)


def test_bias_corrected_limits_equal_those_of_pingouin() -> None:
    import pingouin

    rows, draws = reference.rows(), 10000
    found = bootstrap(fitted("saturated", rows, False), generator(1, "pingouin"), draws=draws, interval="bias_corrected")
    rounding = pingouin.options["round.column.CI95"]
    pingouin.options["round.column.CI95"] = None
    try:
        table = pingouin.mediation_analysis(data=rows, x="x", m="m", y="y", covar="z", n_boot=draws, seed=3)
    finally:
        pingouin.options["round.column.CI95"] = rounding
    theirs = table.set_index("path").loc["Indirect"]
    ours = found.parameters.set_index("label").loc["indirect"]
    assert ours["estimate"] == pytest.approx(theirs["coef"], rel=1e-9)
    # Pingouin's standard deviation has no factor n / (n - 1), ours is that of the resamples times its root.
    sd = found.draws["indirect"].std()
    assert sd == pytest.approx(theirs["se"], rel=4 / math.sqrt(draws))
    low, high = theirs.filter(like="CI").iloc[:2]
    tolerance = 4 * (QUANTILE + 1.3) * sd * math.sqrt(2 / draws)
    assert [ours["ci_low"], ours["ci_high"]] == pytest.approx([low, high], abs=tolerance)


def test_residual_correlation_that_explains_an_effect_away_equals_lavaan_with_the_correlation_held() -> None:
    expected, rows = STORED["sensitivity"], reference.rows()
    whole = fitted("saturated", rows, False)
    model = parse_structural(reference.MODELS["saturated"])
    (effect,) = indirect_effects(model)
    (found,) = confounding(model, whole, effect)
    assert (found.mediator, found.outcome) == ("m", "y")
    assert found.rho == pytest.approx(expected["zero"], abs=1e-5)
    # The effect at other correlations, as the closed form of the docstring has it.
    a = whole.parameters.set_index("label").loc["a", "estimate"]
    implied = whole.implied_covariances[0]
    given, ends = ["x", "z"], ["m", "y"]
    cross = implied.loc[given, ends].to_numpy()
    left = implied.loc[ends, ends] - cross.T @ np.linalg.solve(implied.loc[given, given], cross)
    r, rho = found.rho, np.array(expected["rho"])
    effects = a * math.sqrt(left.loc["y", "y"] / left.loc["m", "m"]) * (r - rho * np.sqrt((1 - r**2) / (1 - rho**2)))
    assert effects == pytest.approx(np.array(expected["indirect"]), rel=1e-4)


def test_range_of_correlations_is_where_the_percentile_interval_includes_zero() -> None:
    model = parse_structural(reference.MODELS["saturated"])
    whole = fitted("saturated", reference.rows())
    drawn = bootstrap(whole, generator(1, "range"), draws=2000, interval="percentile")
    (effect,) = indirect_effects(model)
    (found,) = confounding(model, whole, effect, drawn)
    given, ends = ([whole.implied_covariances[0].columns.get_loc(name) for name in names] for names in (("x", "z"), ("m", "y")))
    s = drawn.covariances[:, 0]
    cross = s[:, given][:, :, ends]
    left = s[:, ends][:, :, ends] - np.swapaxes(cross, 1, 2) @ np.linalg.solve(s[:, given][:, :, given], cross)
    r = left[:, 0, 1] / np.sqrt(left[:, 0, 0] * left[:, 1, 1])
    size = drawn.draws["a"].to_numpy() * np.sqrt(left[:, 1, 1] / left[:, 0, 0])

    def includes_zero(rho: float) -> bool:
        low, high = np.quantile(size * (r - rho * np.sqrt((1 - r**2) / (1 - rho**2))), [0.025, 0.975])
        return low <= 0 <= high

    assert found.rho_low < found.rho < found.rho_high
    for rho, expected in (
        (found.rho_low - 0.01, False),
        (found.rho_low + 0.01, True),
        (found.rho_high - 0.01, True),
        (found.rho_high + 0.01, False),
    ):
        assert includes_zero(rho) == expected


def test_e_values_equal_published_ones() -> None:
    # VanderWeele & Ding (2017): smoking and lung cancer 10.73 (8.02, 14.36), breast-feeding 3.9 (1.8, 8.7), leukaemia 0.80 (0.71, 0.91).
    for ratio, limit, expected in ((10.73, 8.02, (20.95, 15.52)), (3.9, 1.8, (7.26, 3.0)), (0.80, 0.91, (1.81, 1.43))):
        assert (risk_ratio_e_value(ratio), risk_ratio_e_value(limit)) == pytest.approx(expected, abs=0.006)
    found = e_value(*(math.log(ratio) / 0.91 for ratio in (0.80, 0.71, 0.91)))
    assert (found.risk_ratio, found.estimate, found.limit) == pytest.approx((0.80, 1.81, 1.43), abs=0.006)
    assert e_value(0.1, -0.1, 0.3).limit == 1.0


def test_monte_carlo_limits_are_those_of_the_product_of_two_normals() -> None:
    whole = fitted("saturated", reference.rows())
    found = monte_carlo(whole, generator(1, "product"), draws=200_000).set_index("name").loc["indirect"]
    random = np.random.default_rng(1)
    table = whole.parameters.set_index("label")
    drawn = random.multivariate_normal(table.loc[["a", "b"], "estimate"], whole.vcov.loc[["a", "b"], ["a", "b"]], 200_000).prod(axis=1)
    tolerance = 4 * QUANTILE * drawn.std() * math.sqrt(2 / 200_000)
    assert [found["ci_low"], found["ci_high"]] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=tolerance)
    left_out = jackknife(whole)
    wider = monte_carlo(whole, generator(1, "product"), vcov=left_out.vcov, df=left_out.df).set_index("name").loc["indirect"]
    assert wider["ci_high"] - wider["ci_low"] > found["ci_high"] - found["ci_low"]


def test_one_resample_with_missing_values_is_a_fit_by_the_engine() -> None:
    rows = reference.holes()
    whole = fitted("latent", rows)
    weights = np.random.default_rng(5).multinomial(30, np.full(30, 1 / 30), size=1)
    found = outputs(whole, refits(contributions(whole), weights.astype(float), close=1e-12).free)[0][0]
    again = pd.concat([rows[rows["therapist"] == one] for one, times in enumerate(weights[0]) for _ in range(times)])
    assert found == pytest.approx(fitted("latent", again).parameters["estimate"].to_numpy(), rel=1e-4, abs=1e-7)
