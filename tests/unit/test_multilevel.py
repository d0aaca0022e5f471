"""Mixed models and parts by level: what they refuse, what they say, and that truth is found in simulated data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alliance.statistics import multilevel
from alliance.statistics.resampling import generator


def sessions(therapists: int = 20, clients: int = 6, times: int = 5, sd_therapist: float = 0.5, sd_client: float = 0.8) -> pd.DataFrame:
    random = generator(1, "multilevel", therapists, clients, times)
    therapist = np.repeat(np.arange(therapists), clients * times)
    client = np.repeat(np.arange(therapists * clients), times)
    x = random.normal(size=len(client))
    y = 3 + 0.5 * x + sd_therapist * random.normal(size=therapists)[therapist] + sd_client * random.normal(size=client.max() + 1)[client]
    y = y + random.normal(size=len(client))
    return pd.DataFrame(
        {"y": y, "x": x, "therapist": therapist, "client": client, "session": np.tile(np.arange(1, times + 1), client.max() + 1)}
    )


def test_rows_without_the_outcome_are_left_out_and_counted() -> None:
    rows = sessions()
    rows.loc[::7, "y"] = np.nan
    rows.loc[1, "x"] = np.nan
    model = multilevel.mixed_model(rows, "y", ["1", "x"], ["therapist", "client"])
    assert model.n_without_outcome == int(rows["y"].isna().sum())
    assert model.n_without_predictor == 1
    assert "1 rows without a predictor or unit are left out" in model.reason
    same = multilevel.mixed_model(rows.dropna(), "y", ["1", "x"], ["therapist", "client"])
    pd.testing.assert_frame_equal(model.coefficients, same.coefficients)


def test_order_of_rows_and_names_of_units_do_not_matter() -> None:
    rows = sessions()
    model = multilevel.mixed_model(rows, "y", ["1", "x"], ["therapist", "client"])
    other = rows.sample(frac=1, random_state=3).assign(client=lambda table: "c" + table["client"].astype(str))
    same = multilevel.mixed_model(other, "y", ["1", "x"], ["therapist", "client"])
    np.testing.assert_allclose(same.coefficients.to_numpy(), model.coefficients.to_numpy(), rtol=1e-6)


def test_units_of_outcome_and_predictor_do_not_matter() -> None:
    rows = sessions()
    model = multilevel.mixed_model(rows, "y", ["1", "x"], ["therapist", "client"], random={"therapist": ["1", "x"]})
    other = rows.assign(y=1000 * rows["y"] - 7, x=rows["x"] / 50 + 2020)
    same = multilevel.mixed_model(other, "y", ["1", "x"], ["therapist", "client"], random={"therapist": ["1", "x"]})
    assert same.coefficients.loc["x", "estimate"] == pytest.approx(50_000 * model.coefficients.loc["x", "estimate"], rel=1e-6)
    assert same.coefficients.loc["x", "df"] == pytest.approx(model.coefficients.loc["x", "df"], rel=1e-3)
    assert same.residual_variance == pytest.approx(1e6 * model.residual_variance, rel=1e-5)


def test_a_variance_of_zero_is_said() -> None:
    rows = sessions(sd_therapist=0.0)
    rows["y"] -= rows.groupby("therapist")["y"].transform("mean")
    model = multilevel.mixed_model(rows, "y", ["1"], ["therapist", "client"])
    assert model.singular
    assert model.status == "flagged"
    assert model.reason == "the variance of intercepts over therapist is estimated as zero"
    interval = multilevel.variance_intervals(model).iloc[0]
    assert interval["sd"] == interval["ci_low"] == 0
    assert interval["ci_high"] > 0


def test_where_neither_intercepts_nor_slopes_vary_the_model_is_least_squares() -> None:
    rows = sessions(sd_therapist=0.0, sd_client=0.0)
    rows["y"] -= rows.groupby("therapist")["y"].transform("mean")
    rows["x"] -= rows.groupby("therapist")["x"].transform("mean")
    model = multilevel.mixed_model(rows, "y", ["1", "x"], ["therapist"], random={"therapist": ["1", "x"]})
    design = np.column_stack([np.ones(len(rows)), rows["x"]])
    slope = np.linalg.lstsq(design, rows["y"].to_numpy(), rcond=None)[0][1]
    assert model.singular
    assert model.coefficients.loc["x", "estimate"] == pytest.approx(slope, rel=1e-6)


def test_many_points_have_the_deviance_of_each() -> None:
    fit = multilevel.mixed_model(sessions(), "y", ["1", "x"], ["therapist", "client"], random={"therapist": ["1", "x"]}).fit
    points = np.array([fit.parameters, fit.parameters * 1.1, [0.0, 0.0, 0.0, 1.0], [0.0, 0.3, 0.2, 2.0]])
    assert fit.criterion.profiled(points) == pytest.approx([float(fit.criterion.profiled(point)) for point in points], rel=1e-12)
    assert fit.criterion.profiled(np.zeros((3, 4))).shape == (3,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows[rows["therapist"] == 0], "needs at least two units of therapist; here 1"),
        (lambda rows: rows[rows["session"] == 1], "needs more than one row in a unit of client"),
        (lambda rows: rows.assign(client=rows["therapist"]), "needs more than one client in a unit of therapist"),
        (lambda rows: rows.assign(y=1.0), "y is the same in all rows"),
        (lambda rows: rows.assign(x=2.0), "a predictor is constant"),
        (lambda rows: rows.assign(y=rows["x"] * 2), "the predictors determine the outcome completely"),
        (lambda rows: rows.iloc[:2], "needs more rows than effects"),
        (lambda rows: rows.assign(y=np.nan), "needs more rows than effects"),
    ],
)
def test_what_cannot_be_estimated_gets_a_reason(change, reason: str) -> None:
    model = multilevel.mixed_model(change(sessions()), "y", ["1", "x"], ["therapist", "client"])
    assert model.status == "not_estimable"
    assert reason in model.reason
    assert model.residual_variance is None
    assert model.coefficients.empty
    with pytest.raises(ValueError, match=r"needs|same|determine"):
        model.combination({"x": 1.0})


def test_shares_need_two_clients_in_five_therapists() -> None:
    rows = sessions(therapists=8, clients=1, times=1)
    more = pd.concat([rows, rows.iloc[:4].assign(client=lambda table: table["client"] + 100, y=lambda table: table["y"] + 1)])
    table = multilevel.variance_shares(more, "y", ["therapist"], residual="client")
    assert set(table["status"]) == {"not_estimable"}
    assert table["reason"].iloc[0] == "needs at least 2 units of client in at least 5 units of therapist; here in 4"
    assert table["share"].isna().all()


def test_shares_of_three_levels_add_up_and_hold_the_truth() -> None:
    table = multilevel.variance_shares(sessions(60, 8, 6), "y", ["therapist", "client"], residual="session", fixed=["1", "x"])
    assert table["share"].sum() == pytest.approx(1)
    truth = np.array([0.25, 0.64, 1.0]) / 1.89
    assert ((table["ci_low"] < truth) & (truth < table["ci_high"])).all()
    assert table["level"].tolist() == ["therapist", "client", "session"]
    assert table["n_units"].tolist() == [60, 480, 2880]


def test_reliability_of_means_grows_with_clients() -> None:
    reliability = multilevel.reliability_of_means(0.05, 0.95, [1, 19, 38])
    assert reliability.each == pytest.approx([0.05, 0.5, 2 / 3])
    assert reliability.median == pytest.approx(0.5)
    assert multilevel.reliability_of_means(0.0, 1.0, [3]).median == 0
    with pytest.raises(ValueError, match="members"):
        multilevel.reliability_of_means(0.1, 0.9, [0])


def test_parts_add_up_and_vary_at_their_level_only() -> None:
    rows = sessions().drop(index=[3, 4, 77])
    site = rows["therapist"] // 5
    parts = multilevel.decompose(rows["y"], rows["client"], rows["therapist"], site).set_index(rows.index)
    np.testing.assert_allclose(parts.sum(axis=1), rows["y"])
    assert parts["within_client"].groupby(rows["client"]).mean().abs().max() < 1e-12
    assert parts["between_client"].groupby(rows["client"]).nunique().max() == 1
    assert parts["between_site"].groupby(site).nunique().max() == 1
    clients = parts.groupby(rows["client"]).first()
    assert clients["between_client"].groupby(rows.groupby("client")["therapist"].first()).mean().abs().max() < 1e-12


def test_parts_from_earlier_sessions_do_not_know_the_future() -> None:
    rows = sessions(therapists=4, clients=3, times=4)
    before = multilevel.decompose(rows["y"], rows["client"], rows["therapist"], session=rows["session"], prior=True)
    later = rows["session"] >= 3
    changed = rows.assign(y=rows["y"].where(~later, rows["y"] + 100 * rows["client"]))
    after = multilevel.decompose(changed["y"], rows["client"], rows["therapist"], session=rows["session"], prior=True)
    known = (rows["session"] <= 2).to_numpy()
    pd.testing.assert_frame_equal(before[known], after[known])
    pd.testing.assert_frame_equal(
        before.drop(columns="within_client")[rows["session"] == 3], after.drop(columns="within_client")[rows["session"] == 3]
    )
    assert before["within_client"][rows["session"] == 1].isna().all()
    one = (rows["client"] == 0) & (rows["session"] == 3)
    earlier = rows[(rows["client"] == 0) & (rows["session"] < 3)]["y"].mean()
    assert before["within_client"][one].item() == pytest.approx(rows["y"][one].item() - earlier)
    np.testing.assert_allclose(before.sum(axis=1)[rows["session"] > 1], rows["y"][rows["session"] > 1])


def test_within_between_and_contextual_effects_are_found() -> None:
    random = generator(2, "contextual")
    therapist = np.repeat(np.arange(80), 40)
    client = np.repeat(np.arange(800), 4)
    level, mean = random.normal(size=80)[therapist], random.normal(size=800)[client]
    alliance = level + mean + random.normal(size=3200)
    parts = multilevel.decompose(alliance, client, therapist)
    y = 0.2 * parts["within_client"] + 0.5 * parts["between_client"] + 0.9 * parts["between_therapist"]
    y += 0.3 * random.normal(size=800)[client] + random.normal(size=3200)
    rows = parts.assign(y=y, therapist=therapist, client=client)
    model = multilevel.mixed_model(rows, "y", ["1", "within_client", "between_client", "between_therapist"], ["therapist", "client"])
    effects = model.coefficients.loc[["within_client", "between_client", "between_therapist"]]
    assert (np.abs(effects["estimate"] - [0.2, 0.5, 0.9]) < 3 * effects["std_error"]).all()
    contrast = multilevel.contextual(model, "within_client", "between_client")
    assert contrast.estimate == pytest.approx(effects["estimate"].iloc[1] - effects["estimate"].iloc[0])
    assert contrast.ci_low < 0.3 < contrast.ci_high


def test_one_stage_leaves_differences_between_sites_out() -> None:
    random = generator(3, "one stage")
    site = np.repeat(np.arange(12), 60)
    therapist = np.arange(720) // 6
    x = 5 * random.normal(size=12)[site] + random.normal(size=720)
    slope = 0.3 + 0.2 * random.normal(size=12)[site]
    y = slope * (x - pd.Series(x).groupby(site).transform("mean")) - 4 * pd.Series(x).groupby(site).transform("mean")
    y += 0.3 * random.normal(size=120)[therapist] + random.normal(size=720)
    rows = pd.DataFrame({"y": y, "x": x, "site": site, "therapist": therapist})
    result = multilevel.one_stage(rows, "y", "x", "site", therapist="therapist")
    assert abs(result.effect.estimate - 0.3) < 3 * result.effect.std_error
    assert result.slope_sd_low < 0.2 < result.slope_sd_high
    single = multilevel.one_stage(rows[rows["site"] == 0], "y", "x", "site")
    assert single.effect is None
    assert single.model.reason == "needs at least two units of site; here 1"
