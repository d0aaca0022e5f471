"""Scores, alpha and item-rest correlations equal what psych gives in R, and pingouin."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import r_script
from alliance.instruments import Instrument, load_registry
from alliance.instruments.item_statistics import alpha, item_moments, item_rest_correlations, scale_covariance
from alliance.instruments.scoring import item_scores
from needed import REAL_DATA, needs_r, needs_real_data

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
SAI = REAL_DATA / "psychtools_sai" / "sai.csv"
SCALES = ("task", "bond", "goal", "total")


def wai_s() -> Instrument:
    return load_registry([PROJECT / "workflow" / "instruments"])["wai_s"]


def answers(holes: bool) -> pd.DataFrame:
    """Return 80 simulated forms with answers 1-7, about one in twelve unanswered where there are holes."""
    draw = np.random.Generator(np.random.PCG64(7))
    trait, noise = draw.random((80, 1)), draw.random((80, 12))
    values = 1 + np.floor(7 * (0.5 * trait + 0.5 * noise))
    reverse = [item - 1 for item in wai_s().reverse]
    values[:, reverse] = 8 - values[:, reverse]
    if holes:
        values[draw.random((80, 12)) < 1 / 12] = np.nan
    return pd.DataFrame({f"i{item}": pd.array(values[:, item - 1], dtype="Float64").astype("Int8") for item in range(1, 13)})


def computed_in_r() -> dict:
    instrument = wai_s()
    key = {"scales": {name: instrument.scale_items(name) for name in SCALES}, "reverse": instrument.reverse, "min": 1, "max": 7}
    with tempfile.TemporaryDirectory() as folder:
        answers(holes=False).to_csv(Path(folder) / "complete.csv", index=False)
        answers(holes=True).to_csv(Path(folder) / "holes.csv", index=False, na_rep="NA")
        (Path(folder) / "key.json").write_text(json.dumps(key), encoding="utf-8")
        return r_script.values("scoring.R", folder)


def stored() -> dict:
    return json.loads((HERE / "scoring.json").read_text(encoding="utf-8"))


@needs_r
def test_stored_scores_are_what_r_gives_now() -> None:
    now, then = computed_in_r(), stored()
    for case in ("complete", "holes"):
        for scale in SCALES:
            for name in ("mean", "alpha", "item_rest"):
                expected, value = np.array(then[case][scale][name], dtype=float), np.array(now[case][scale][name], dtype=float)
                np.testing.assert_allclose(value, expected, rtol=1e-9, err_msg=f"{case} {scale} {name}")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("case", ["complete", "holes"])
def test_scale_means_equal_those_of_psych(case: str, scale: str) -> None:
    ratings = answers(case == "holes")
    result = item_scores(ratings, wai_s(), {"missing_rule": "proration", "min_answered_proportion": 0.01})[scale]
    np.testing.assert_allclose(result.mean, np.array(stored()[case][scale]["mean"], dtype=float), atol=1e-11)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("case", ["complete", "holes"])
def test_alpha_equals_that_of_psych(case: str, scale: str) -> None:
    moments = item_moments(answers(case == "holes").assign(client_no=range(80)), wai_s())
    assert alpha(scale_covariance(moments, wai_s(), scale)[1]) == pytest.approx(stored()[case][scale]["alpha"], abs=1e-10)


@pytest.mark.parametrize("scale", SCALES)
def test_item_rest_correlations_equal_those_of_psych(scale: str) -> None:
    moments = item_moments(answers(holes=False).assign(client_no=range(80)), wai_s())
    result = item_rest_correlations(scale_covariance(moments, wai_s(), scale)[1])
    np.testing.assert_allclose(result, stored()["complete"][scale]["item_rest"], atol=1e-10)


@pytest.mark.parametrize("holes", [False, True])
def test_alpha_equals_that_of_pingouin(holes: bool) -> None:
    import pingouin

    ratings, instrument = answers(holes), wai_s()
    turned = ratings.astype("float64")
    for item in instrument.reverse:
        turned[f"i{item}"] = 8 - turned[f"i{item}"]
    moments = item_moments(ratings.assign(client_no=range(80)), instrument)
    expected = pingouin.cronbach_alpha(turned, nan_policy="pairwise")[0]
    assert alpha(scale_covariance(moments, instrument, "total")[1]) == pytest.approx(expected, abs=1e-10)


@needs_real_data(SAI)
def test_alpha_of_real_answers_equals_pingouin() -> None:
    import pingouin

    raw = pd.read_csv(SAI)
    raw = raw[raw["time"] == 1].reset_index(drop=True)
    reverse = [1, 2, 5, 8, 10, 11, 15, 16, 19, 20]
    instrument = Instrument.model_validate(
        {
            "key": "sai",
            "name": "State anxiety",
            "construct": "anxiety",
            "n_items": 20,
            "response": {"min": 1, "max": 4},
            "reverse": reverse,
            "scales": {"total": {"items": list(range(1, 21))}},
            "certainty": "high",
        }
    )
    items = raw.iloc[:, 3:]
    items.columns = [f"i{item}" for item in range(1, 21)]
    turned = items.astype("float64")
    for item in reverse:
        turned[f"i{item}"] = 5 - turned[f"i{item}"]
    moments = item_moments(items.assign(client_no=range(len(items))), instrument)
    expected = pingouin.cronbach_alpha(turned, nan_policy="pairwise")[0]
    assert alpha(scale_covariance(moments, instrument, "total")[1]) == pytest.approx(expected, abs=1e-10)
    assert (item_rest_correlations(scale_covariance(moments, instrument, "total")[1]) > 0).all()


if __name__ == "__main__":
    (HERE / "scoring.json").write_text(json.dumps(computed_in_r(), sort_keys=True, indent=1) + "\n", encoding="utf-8")
    sys.exit(0)
