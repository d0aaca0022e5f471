"""Jackknife and bootstrap of structural models are full refits, whatever the model and the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics.resampling import generator
from alliance.statistics.structural_fit import Moments, StructuralFit, fit_structural, parse_structural
from alliance.statistics.structural_resampling import bootstrap, contributions, jackknife, outputs, refits, with_interval

MODELS = {
    "saturated": "m ~ a*x + z\ny ~ b*m + c*x + z\nindirect := a*b\ntotal := c + a*b",
    "overidentified": "m ~ a*x + z\nm2 ~ m\ny ~ b*m2\nindirect := a*b",
    "equal": "m ~ a*x + z\nm2 ~ a*x + m\ny ~ b*m + m2\nm2 ~~ y\nindirect := a*b",
    "latent": "f =~ i1 + i2 + i3\nf ~ a*x\ny ~ b*f + z\nindirect := a*b",
}


def clients(groups: int = 20, size: int = 10, holes: bool = False, seed: int = 1) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(seed)
    therapist = np.repeat(np.arange(groups), size)

    def noise() -> np.ndarray:
        own, shared = random.standard_normal(groups * size), random.standard_normal(groups)
        return np.sqrt(0.8) * own + np.sqrt(0.2) * shared[therapist]

    x, z = noise(), np.exp(noise() / 2)
    m = 0.4 * x + 0.2 * z + noise()
    m2, f = 0.5 * m + noise(), 0.4 * x + noise()
    y = 0.3 * m + 0.1 * x + 0.2 * m2 + 0.2 * f + noise()
    items = {f"i{item}": loading * f + 0.7 * noise() for item, loading in ((1, 1.0), (2, 0.8), (3, 0.7))}
    data = pd.DataFrame({"x": x, "z": z, "m": 100 + 3 * m, "m2": m2, "y": 50 + 0.01 * y, **items})
    if holes:
        for name in ("z", "m", "m2", "y", "i1", "i2", "i3"):
            data.loc[random.random(len(data)) < 0.2, name] = np.nan
    return data, therapist


def fitted(name: str, data: pd.DataFrame, therapist: np.ndarray | None, holes: bool) -> StructuralFit:
    clusters = None if therapist is None else [therapist]
    return fit_structural(parse_structural(MODELS[name]), rows=data, clusters=clusters, missing="ml" if holes else "listwise")


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("name", list(MODELS))
def test_every_resample_is_a_fit_to_its_rows(name: str, holes: bool) -> None:
    data, therapist = clients(holes=holes)
    whole = fitted(name, data, therapist, holes)
    weights = np.random.default_rng(2).multinomial(20, np.full(20, 1 / 20), size=4).astype(float)
    found = refits(contributions(whole), weights, close=1e-12)
    assert found.solved.all()
    raw, standard, covariances = outputs(whole, found.free)
    for draw, counts in enumerate(weights.astype(int)):
        rows = np.concatenate([np.flatnonzero(therapist == group) for group in np.repeat(np.arange(20), counts)])
        again = fitted(name, data.iloc[rows].reset_index(drop=True), therapist, holes)
        assert raw[draw] == pytest.approx(again.parameters["estimate"].to_numpy(), rel=1e-5, abs=1e-7)
        assert standard[draw] == pytest.approx(again.parameters["standardized"].to_numpy(), rel=1e-5, abs=1e-7)
        p = len(again.implied_covariances[0])
        assert covariances[draw, 0, :p, :p] == pytest.approx(again.implied_covariances[0].to_numpy(), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("holes", [False, True])
def test_groups_are_resampled_apart_and_shared_parameters_stay_shared(holes: bool) -> None:
    parts = [clients(12, 8, holes, seed) for seed in (3, 4)]
    model = parse_structural("m ~ c(a, a)*x + z\ny ~ c(b1, b2)*m + x\none := a*b1\ntwo := a*b2")

    def fit(data: list[pd.DataFrame], codes: list[np.ndarray]) -> StructuralFit:
        return fit_structural(model, rows=data, clusters=codes, missing="ml" if holes else "listwise")

    whole = fit([data for data, _ in parts], [codes for _, codes in parts])
    given = contributions(whole)
    assert given.n_units == (12, 12)
    without = refits(given, close=1e-12)
    assert without.free == pytest.approx(refits(given, 1 - np.eye(24), close=1e-12).free, rel=1e-6)
    raw, _, _ = outputs(whole, without.free)
    for left_out in (0, 17):
        kept = [codes + 12 * group != left_out for group, (_, codes) in enumerate(parts)]
        again = fit([data[keep] for (data, _), keep in zip(parts, kept)], [codes[keep] for (_, codes), keep in zip(parts, kept)])
        assert raw[left_out] == pytest.approx(again.parameters["estimate"].to_numpy(), rel=1e-5, abs=1e-7)
    found = jackknife(whole)
    assert found.df == 22
    deviations = [raw[:12] - raw[:12].mean(axis=0), raw[12:] - raw[12:].mean(axis=0)]
    expected = np.sqrt(11 / 12 * sum((deviation**2).sum(axis=0) for deviation in deviations))
    free = whole.parameters["free"] | (whole.parameters["op"] == ":=")
    assert found.parameters.loc[free, "std_error"].to_numpy() == pytest.approx(expected[free], rel=1e-4)
    shared = found.parameters.loc[found.parameters["label"] == "a", "std_error"].to_numpy()
    assert shared == pytest.approx(np.sqrt(found.vcov.loc["a", "a"]))


def test_without_clusters_clients_are_left_out() -> None:
    data, _ = clients()
    whole = fitted("overidentified", data, None, False)
    found = jackknife(whole)
    assert (found.unit, found.n_units, found.df) == ("rows", (200,), 199)
    again = fitted("overidentified", data.drop(index=7), None, False)
    one = refits(contributions(whole), close=1e-12)
    assert outputs(whole, one.free[[7]])[0][0] == pytest.approx(again.parameters["estimate"].to_numpy(), rel=1e-6)


def test_draws_depend_neither_on_the_order_of_rows_within_clusters_nor_on_units_of_variables() -> None:
    data, therapist = clients(holes=True)
    first = bootstrap(fitted("latent", data, therapist, True), generator(1), draws=50)
    scaled = data.assign(y=data["y"] * 1e4, x=data["x"] / 100)
    second = bootstrap(fitted("latent", scaled, therapist, True), generator(1), draws=50)
    columns = ["standardized", "standardized_low", "standardized_high"]
    assert second.parameters[columns].to_numpy() == pytest.approx(first.parameters[columns].to_numpy(), abs=1e-3, nan_ok=True)
    order = np.lexsort((np.random.default_rng(1).random(len(data)), therapist))
    third = bootstrap(fitted("latent", data.iloc[order], therapist[order], True), generator(1), draws=50)
    assert third.draws["indirect"].to_numpy() == pytest.approx(first.draws["indirect"].to_numpy(), abs=1e-4)


@pytest.mark.parametrize("interval", ["percentile", "bias_corrected", "bca"])
def test_another_interval_of_the_same_resamples_is_what_the_bootstrap_gives(interval: str) -> None:
    data, therapist = clients()
    whole = fitted("overidentified", data, therapist, False)
    first = with_interval(whole, bootstrap(whole, generator(1), draws=300), interval)
    second = bootstrap(whole, generator(1), draws=300, interval=interval)
    pd.testing.assert_frame_equal(first.parameters, second.parameters)
    assert first.method == second.method


def test_few_therapists_are_flagged_and_clients_resampled() -> None:
    data, _ = clients()
    whole = fitted("saturated", data, np.repeat(np.arange(4), 50), False)
    drawn, left_out = bootstrap(whole, generator(1), draws=200), jackknife(whole)
    assert (drawn.unit, drawn.status, left_out.unit, left_out.status) == ("rows", "flagged", "rows", "flagged")
    assert "fewer than 10 therapists (4)" in drawn.reason
    assert "fewer than 5 therapists (4)" in left_out.reason


def test_resamples_without_a_proper_solution_are_counted_and_left_out() -> None:
    random = np.random.default_rng(6)
    factor = random.standard_normal(40)
    data = pd.DataFrame({f"i{item}": 0.7 * factor + random.standard_normal(40) for item in range(1, 4)})
    whole = fit_structural(parse_structural("f =~ i1 + l*i2 + i3\ntwice := 2*l"), rows=data)
    drawn = bootstrap(whole, generator(1), draws=400)
    assert drawn.n_improper > 0
    assert len(drawn.draws) == 400 - drawn.n_failed - drawn.n_improper
    assert f"{drawn.n_failed} of 400 resamples had no solution, {drawn.n_improper} an improper one" in drawn.reason


def test_a_model_that_was_not_estimated_has_no_intervals() -> None:
    data, therapist = clients()
    whole = fitted("saturated", data.assign(z=2 * data["x"]), therapist, False)
    for found in (bootstrap(whole, generator(1), draws=10), jackknife(whole)):
        assert (found.status, found.reason) == ("not_estimable", whole.reason)
        assert found.parameters[["ci_low", "standardized_high"]].isna().all(axis=None)


def test_models_from_moments_and_with_known_predictors_are_refused() -> None:
    data, _ = clients()
    columns = ["m", "y", "x", "z"]
    model = parse_structural(MODELS["saturated"])
    with pytest.raises(ValueError, match="rows"):
        contributions(fit_structural(model, Moments(200, data[columns].cov(), None, columns)))
    with pytest.raises(ValueError, match="fixed_x"):
        contributions(fit_structural(model, rows=data, fixed_x=True))
