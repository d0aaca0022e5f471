"""Which defined parameters are indirect effects, and what is said of them where something is missing."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from alliance.statistics.indirect_effects import confounding, e_value, indirect_effects, monte_carlo
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import Moments, fit_structural, parse_structural
from alliance.statistics.structural_resampling import bootstrap, jackknife

SERIAL = """
m1 ~ a1*x
m2 ~ a2*x + d*m1
y ~ b2*m2 + b1*m1 + c*x
through_1 := b1*a1
through_both := d*a1*b2
all := through_1 + a2*b2 + through_both
total := c + all
difference := a1*b1 - a2*b2
half := a1*b1/2
twice := 2*a1*b1
unrelated := a1*a2
"""


MEDIATION = "alliance ~ a*empathy + severity\noutcome ~ b*alliance + c*empathy + severity\nindirect := a*b"


def few_therapists(seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return 200 clients of 20 therapists, a tenth of the variance between them; the indirect effect is .35 times .3."""
    random = np.random.default_rng(seed)
    therapist = np.repeat(np.arange(20), 10)

    def noise() -> np.ndarray:
        own, shared = random.standard_normal(200), random.standard_normal(20)
        return np.sqrt(0.9) * own + np.sqrt(0.1) * shared[therapist]

    severity = noise()
    empathy = 0.3 * severity + noise()
    alliance = 0.35 * empathy + 0.2 * severity + noise()
    outcome = 0.3 * alliance + 0.1 * empathy + 0.3 * severity + noise()
    return pd.DataFrame({"empathy": empathy, "alliance": alliance, "outcome": outcome, "severity": severity}), therapist


def found(syntax: str) -> dict[str, tuple[tuple[str, ...], ...]]:
    return {effect.name: effect.chains for effect in indirect_effects(parse_structural(syntax))}


def rows(n: int = 200) -> pd.DataFrame:
    random = np.random.default_rng(4)
    x, z = random.standard_normal((2, n))
    m1 = 0.4 * x + random.standard_normal(n)
    m2 = 0.3 * x + 0.3 * m1 + random.standard_normal(n)
    return pd.DataFrame({"x": x, "z": z, "m1": m1, "m2": m2, "y": 0.3 * m1 - 0.3 * m2 + 0.2 * z + random.standard_normal(n)})


def test_products_of_paths_in_a_row_and_their_sums_are_indirect_effects() -> None:
    assert found(SERIAL) == {
        "through_1": (("x", "m1", "y"),),
        "through_both": (("x", "m1", "m2", "y"),),
        "all": (("x", "m1", "y"), ("x", "m2", "y"), ("x", "m1", "m2", "y")),
    }
    effect = indirect_effects(parse_structural(SERIAL))[2]
    assert (effect.cause, effect.outcome, effect.mediators) == ("x", "y", ("m1", "m2"))
    assert effect.labels == (("a1", "b1"), ("a2", "b2"), ("a1", "d", "b2"))


def test_equal_paths_factors_and_groups_make_chains() -> None:
    assert found("m1 ~ a*x\nm2 ~ a*m1\nsquare := a*a") == {"square": (("x", "m1", "m2"),)}
    assert found("f =~ i1 + l*i2 + i3\nf ~ a*x\ny ~ b*f\nab := a*b\nal := a*l") == {"ab": (("x", "f", "y"),)}
    groups = "m ~ c(a1, a2)*x\ny ~ c(b1, b2)*m\none := a1*b1\ntwo := a2*b2\nmixed := a1*b2"
    assert found(groups) == {"one": (("x", "m", "y"),), "two": (("x", "m", "y"),)}
    assert found("m ~ a*x\ny ~ b*z\nab := a*b") == {}


def test_correlations_that_explain_effects_away_are_those_of_residuals() -> None:
    data = rows()
    model = parse_structural("m1 ~ a1*x\nm2 ~ a2*x\nm1 ~~ m2\ny ~ b1*m1 + b2*m2 + x\none := a1*b1")
    whole = fit_structural(model, rows=data)

    def residual(name: str, on: list[str]) -> np.ndarray:
        design = np.column_stack([np.ones(len(data)), data[on]])
        return data[name] - design @ np.linalg.lstsq(design, data[name], rcond=None)[0]

    (one,) = confounding(model, whole, indirect_effects(model)[0])
    assert one.rho == pytest.approx(np.corrcoef(residual("m1", ["x", "m2"]), residual("y", ["x", "m2"]))[0, 1])
    assert math.isnan(one.rho_low)


@pytest.mark.parametrize(("mediator", "outcome", "rho"), [("m1", "y", 0.4), ("m1", "m2", -0.25), ("m2", "y", 0.6)])
def test_a_population_without_the_path_has_the_correlation_that_explains_it_away(mediator: str, outcome: str, rho: float) -> None:
    names = ["x", "m1", "m2", "y"]
    paths = pd.DataFrame(0.0, index=names, columns=names)
    for cause, effect, value in (
        ("x", "m1", 0.5),
        ("x", "m2", 0.3),
        ("m1", "m2", 0.4),
        ("m1", "y", 0.3),
        ("m2", "y", -0.5),
        ("x", "y", 0.2),
    ):
        paths.loc[effect, cause] = value
    paths.loc[outcome, mediator] = 0.0
    deviation = pd.Series({"x": 1.0, "m1": 2.0, "m2": 0.5, "y": 3.0})
    residuals = pd.DataFrame(np.diag(deviation**2), index=names, columns=names)
    residuals.loc[mediator, outcome] = residuals.loc[outcome, mediator] = rho * deviation[mediator] * deviation[outcome]
    total = np.linalg.inv(np.eye(4) - paths)
    model = parse_structural(SERIAL)
    whole = fit_structural(model, Moments(1e6, total @ residuals.to_numpy() @ total.T, None, names))
    effects = {effect.name: effect for effect in indirect_effects(model)}
    items = confounding(model, whole, effects["all"])
    assert {(item.mediator, item.outcome): item.rho for item in items}[mediator, outcome] == pytest.approx(rho, abs=1e-6)


def test_a_range_of_correlations_covers_everything_where_the_first_path_is_unclear() -> None:
    data = rows().assign(x=np.random.default_rng(8).standard_normal(200))
    model = parse_structural("m1 ~ a*x\ny ~ b*m1 + x\nab := a*b")
    whole = fit_structural(model, rows=data)
    drawn = bootstrap(whole, generator(1, "unclear"), draws=1000)
    (item,) = confounding(model, whole, indirect_effects(model)[0], drawn)
    assert (item.rho_low, item.rho_high) == (-np.inf, np.inf)


def test_e_values_of_opposite_effects_are_the_same() -> None:
    up, down = e_value(0.4, 0.1, 0.7), e_value(-0.4, -0.7, -0.1)
    assert (up.estimate, up.limit) == pytest.approx((down.estimate, down.limit))
    assert up.estimate > up.limit > 1
    assert e_value(0.0, -0.1, 0.1).estimate == 1.0


def test_without_a_fit_there_are_no_limits() -> None:
    data = rows()
    model = parse_structural("m1 ~ a*x + z\ny ~ b*m1\nab := a*b")
    whole = fit_structural(model, rows=data.assign(z=data["x"]))
    assert confounding(model, whole, indirect_effects(model)[0]) == ()
    table = monte_carlo(whole, generator(1), draws=10)
    assert table["name"].tolist() == ["ab"]
    assert table.drop(columns="name").isna().all(axis=None)


def test_intervals_of_indirect_effects_cover_with_twenty_therapists() -> None:
    model = parse_structural(MEDIATION)
    hits = np.zeros(2)
    samples = 200
    for seed in range(samples):
        data, therapist = few_therapists(1000 + seed)
        whole = fit_structural(model, rows=data, clusters=[therapist])
        left_out = jackknife(whole)
        simulated = monte_carlo(whole, generator(1, seed), vcov=left_out.vcov, df=left_out.df, draws=2000).set_index("name").loc["indirect"]
        drawn = bootstrap(whole, generator(1, seed), draws=500).parameters.set_index("label").loc["indirect"]
        hits += [interval["ci_low"] <= 0.35 * 0.3 <= interval["ci_high"] for interval in (simulated, drawn)]
    # 200 samples: the Monte Carlo error of a coverage of 95 % is 1.5 points.
    assert (hits / samples >= 0.93).all()
    assert (hits / samples <= 0.98).all()
