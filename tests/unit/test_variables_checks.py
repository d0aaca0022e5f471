"""Faults of a configuration that concern study variables."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
from alliance.variables import checks
from alliance.variables.checks import score_names
from simulated_site import OPTIONS
from support import PROJECT


@pytest.fixture
def config():
    return copy.deepcopy(OPTIONS)


def test_a_sound_configuration_has_no_faults(config):
    assert checks(config) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("alliance", "window"), "erly", "did you mean 'early'"),
        (("empathy", "window"), "sesion_1", "did you mean 'session_1'"),
        (("congruence", "window"), "sesion_1", "did you mean 'session_1'"),
        (("adherence", "window"), "latte", "did you mean 'late'"),
        (("questions", "convergent_validity", "timepoint_window"), "session3", "did you mean 'session_3'"),
        (("questions", "client_factors", "window"), "al", "did you mean 'all'"),
        (("questions", "measurement", "windows", 1), "lat", "did you mean 'late'"),
        (("questions", "therapist_factors", "windows", 0), "erly", "did you mean 'early'"),
        (("questions", "interventions", "window"), "al", "did you mean 'all'"),
        (("questions", "interventions", "phases", 0), "erly", "did you mean 'early'"),
    ],
)
def test_an_unknown_window_is_named_with_the_nearest_valid_one(config, path, value, message):
    target = config
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    found = checks(config)
    assert [at for at, _ in found] == [path]
    assert message in found[0][1]


@pytest.mark.parametrize(
    ("definition", "key", "message"),
    [
        ({"construct": "aliance"}, "construct", "did you mean 'alliance'"),
        ({"construct": "wai_36.total.client"}, "construct", "instrument.scale"),
        ({"construct": "alliance", "window": "lat"}, "window", "did you mean 'late'"),
        ({"construct": "alliance", "timepoint": "post"}, "timepoint", "measured in sessions"),
        ({"construct": "outcome", "timepoint": "intake"}, "timepoint", "post or follow_up"),
        ({"construct": "intake", "window": "early"}, "window", "takes no window"),
        ({"construct": "core_10.total", "window": "early", "timepoint": "post"}, None, "not both"),
    ],
)
def test_a_wrong_variable_of_a_path_model_is_named(config, definition, key, message):
    config["questions"]["path_models"]["models"]["main"]["variables"]["alliance"] = definition
    found = checks(config)
    path = ("questions", "path_models", "models", "main", "variables", "alliance")
    assert [at for at, _ in found] == [(*path, key) if key else path]
    assert message in found[0][1]


@pytest.mark.parametrize("construct", ["age", "clients.income", "core_10.total", "motivation", "dropout", "early_gain"])
def test_columns_scores_and_factors_may_be_variables(config, construct):
    config["questions"]["path_models"]["models"]["main"]["variables"]["alliance"] = {"construct": construct}
    assert checks(config) == []


def chain(**changes):
    sessions = {role: {"construct": name} for role, name in (("from", "alliance"), ("through", "empathy"), ("to", "symptoms"))}
    return {"kind": "1-1-1", **sessions, "given": [{"construct": "intake"}], "lags": [1, 1]} | changes


@pytest.mark.parametrize(
    ("content", "path", "message"),
    [
        (chain(to={"construct": "outcome"}), ("to", "construct"), "not measured in sessions"),
        (chain(through={"construct": "motivation"}), ("through", "construct"), "not measured in sessions"),
        (chain(through={"construct": "empaty"}), ("through", "construct"), "did you mean 'empathy'"),
        (chain(**{"from": {"construct": "alliance", "window": "early"}}), ("from",), "every session counts"),
        (chain(kind="2-1-1", through={"construct": "motivation"}), ("through", "construct"), "not measured in sessions"),
        (chain(given=[{"construct": "intke"}]), ("given", 0, "construct"), "did you mean 'intake'"),
    ],
)
def test_a_wrong_variable_of_a_chain_is_named(config, content, path, message):
    config["questions"]["path_models"]["mediation"] = {"enabled": True, "session_trend": True, "chains": {"one": content}}
    found = checks(config)
    assert [at for at, _ in found] == [("questions", "path_models", "mediation", "chains", "one", *path)]
    assert message in found[0][1]


def test_sound_chains_have_no_faults_and_names_of_their_own(config):
    first = {"construct": "alliance", "window": "early"}
    chains = {"one": chain(), "two": chain(kind="2-1-1", **{"from": first}), "three": chain(to={"construct": "core_10.total"})}
    section = {"enabled": True, "session_trend": True, "chains": chains}
    config["questions"]["path_models"]["mediation"] = section
    assert checks(config) == []
    section["chains"] = {"main": chain()}
    assert "choose another name" in checks(config)[0][1]


def pair(**changes):
    measures = {
        "technique": {"construct": "events.interpretation"},
        "alliance": {"construct": "alliance"},
        "outcome": {"construct": "symptoms"},
    }
    return {"label": "", "lag": 1, "window": None, **measures} | changes


@pytest.mark.parametrize(
    ("content", "path", "message"),
    [
        (pair(technique={"construct": "motivation"}), ("technique", "construct"), "not measured in sessions"),
        (pair(technique={"construct": "events.interpretation", "window": "early"}), ("technique",), "give the pair a window"),
        (pair(outcome={"construct": "outcome"}), ("outcome", "construct"), "not measured in sessions"),
        (pair(alliance={"construct": "events.interpretation"}), ("alliance", "construct"), "no score of sessions"),
        (pair(window="erly"), ("window",), "did you mean 'early'"),
    ],
)
def test_a_wrong_variable_of_technique_and_alliance_is_named(config, content, path, message):
    config["questions"]["path_models"]["technique"] = {"enabled": True, "session_trend": True, "pairs": {"one": content}}
    found = checks(config)
    assert [at for at, _ in found] == [("questions", "path_models", "technique", "pairs", "one", *path)] and message in found[0][1]
    config["questions"]["path_models"]["technique"]["pairs"] = {
        "one": pair(),
        "two": pair(technique={"construct": "adherence"}, window="early"),
    }
    assert checks(config) == []


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"factors": {}}, ("factors",), "no factor is given"),
        ({"pairs": [{"client": "alliance", "therapist": "dominance"}]}, ("pairs", 0, "client"), "not what a client brings"),
        ({"pairs": [{"client": "core_10.", "therapist": "dominance"}]}, ("pairs", 0, "client"), "instrument.scale"),
        ({"pairs": 2 * [{"client": "age", "therapist": "years"}]}, ("pairs", 1), "named twice"),
        (
            {"variance": {"traits": ["outcome"], "min_therapists": 5, "min_clients": 3}},
            ("variance", "traits", 0),
            "not what a client brings",
        ),
    ],
)
def test_a_wrong_trait_of_clients_or_pair_is_named(config, change, path, message):
    config["questions"]["therapist_factors"] |= change
    found = checks(config)
    assert [at for at, _ in found] == [("questions", "therapist_factors", *path)]
    assert message in found[0][1]
    config["questions"]["therapist_factors"]["enabled"] = False
    assert checks(config) == []


def test_all_faults_are_found_at_once(config):
    config["alliance"]["window"] = "nowhere"
    config["outcome"]["instruments"] = []
    config["questions"]["client_factors"]["factors"]["alliance"] = {"category": "interpersonal"}
    places = {".".join(at) for at, _ in checks(config)}
    assert {
        "alliance.window",
        "questions.path_models.models.main.variables.outcome.construct",
        "questions.path_models.models.main.variables.intake_level.construct",
        "questions.client_factors.factors.intake_severity",
        "questions.client_factors.factors.alliance",
    } <= places


def test_client_factors_name_known_windows_and_factors(config):
    question = config["questions"]["client_factors"]
    question["windows"] = ["early", "lat"]
    question["over_time"] = {"bands": {"early": "early", "middle": "midle"}, "first": "early", "second": "nowhere"}
    question["unique_shared"] = ["motivatoin"]
    found = {".".join(map(str, at)): message for at, message in checks(config)}
    base = "questions.client_factors"
    assert set(found) == {f"{base}.windows.1", f"{base}.over_time.bands.middle", f"{base}.over_time.second", f"{base}.unique_shared.0"}
    assert "did you mean 'motivation'" in found[f"{base}.unique_shared.0"]
    config["outcome"]["instruments"] = []
    assert any(message.startswith("unique_shared of client_factors needs an outcome") for _, message in checks(config))


def test_measurement_names_two_windows(config):
    config["questions"]["measurement"]["windows"] = ["session_3"]
    assert "name two" in dict(checks(config))["questions", "measurement", "invariance", "across"]


def test_a_section_without_instruments_needs_no_window_and_gives_no_variable(config):
    config["adherence"] |= {"instruments": [], "window": "nowhere"}
    assert checks(config) == []
    config["questions"]["path_models"]["models"]["main"]["variables"]["x"] = {"construct": "adherence"}
    found = dict(checks(config))["questions", "path_models", "models", "main", "variables", "x", "construct"]
    assert "list some under adherence.instruments" in found


def test_measures_of_a_section_are_instruments_or_scales_of_them():
    settings = {"instruments": ["care", "blri_os64.empathy"], "scale": "total"}
    assert score_names(settings) == [("care", "total"), ("blri_os64", "empathy")]


def test_series_of_cross_lagged_models_need_instruments(config):
    series = {"alliance": {"construct": "alliance"}, "symptoms": {"construct": "symptoms"}}
    pairs = {"both": {"series": series, "sessions": [1, 2, 3], "sessions_per_wave": 1}}
    config["questions"]["path_models"]["cross_lagged"] = {"enabled": True, "clients_per_parameter": 2, "pairs": pairs}
    assert checks(config) == []
    config["symptoms"]["instruments"] = []
    found = dict(checks(config))
    path = ("questions", "path_models", "cross_lagged", "pairs", "both", "series", "symptoms", "construct")
    assert "symptoms.instruments" in found[path]


def test_disabled_questions_are_not_checked(config):
    config["questions"]["path_models"] = {"enabled": False, "models": {"m": {"variables": {"x": {"construct": "nonsense"}}}}}
    config["questions"]["convergent_validity"] = {"enabled": False, "timepoint_window": "nowhere"}
    assert checks(config) == []


def test_checking_a_configuration_imports_no_heavy_library():
    code = "import sys; import alliance.variables; print([m for m in ('numpy', 'pandas', 'scipy', 'semopy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT / "scripts", check=True)
    assert done.stdout.strip() == "[]"


def test_the_window_and_the_combinations_of_dropout_are_checked(config):
    question = config["questions"]["dropout"]
    question["window"] = "sesion_1"
    question["combinations"]["odd"] = {"client": "alliance", "therapist": "affiliation"}
    found = dict(checks(config))
    assert "did you mean 'session_1'" in found["questions", "dropout", "window"]
    assert "name a column of the clients table" in found["questions", "dropout", "combinations", "odd", "client"]
    question["enabled"] = False
    assert checks(config) == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("accuracy", 0), "wish_and_respons", "did you mean 'wish_and_response'"),
        (("curvilinear", 0), "interpretation", "did you mean 'interpretations'"),
        (("complementarity", "after"), "challenge", "did you mean 'challenges'"),
        (("initially_poor", "attention"), "here_and_nw", "did you mean 'here_and_now'"),
        (("ruptures", "contrast", 1), "outsid", "did you mean 'outside'"),
        (("ruptures", "criterion"), "observed", "no criterion of ratings"),
        (("ruptures", "criterion"), "reliable_drop", "no criterion of ratings"),
        (("transitions", "after"), "challenge", "did you mean 'challenges'"),
        (("transitions", "responses", 0), "involvment", "did you mean 'involvement'"),
        (("moderations", "client_response", "by"), "involvment", "did you mean 'involvement'"),
        (("moderations", "timing", "event"), "interpretation", "did you mean 'interpretations'"),
    ],
)
def test_an_unknown_event_of_the_interventions_is_named_with_the_nearest_valid_one(config, path, value, message):
    target = config["questions"]["interventions"]
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    found = checks(config)
    assert [at for at, _ in found] == [("questions", "interventions", *path)]
    assert message in found[0][1]


def test_interventions_need_an_event_and_moderations_of_symptoms_an_instrument(config):
    config["symptoms"]["instruments"] = []
    config["questions"]["interventions"]["moderations"] = {"hard": {"event": "challenges", "by": "alliance.task", "outcome": "symptoms"}}
    assert any("moderation hard needs one" in message for _, message in checks(config))
    config["questions"]["interventions"]["events"] = {}
    assert any("no event is given" in message for _, message in checks(config))
