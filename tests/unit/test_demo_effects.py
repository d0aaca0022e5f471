"""The simulation holds the effects that its parameters name."""

from pathlib import Path

import numpy as np
import pytest
from alliance.demo.expectation import correlations
from alliance.demo.measures import FORMS, Collected, measure_study
from alliance.demo.simulate import INFLUENCES, SUBSCALES, UNILATERAL, Size, calibrate, simulate
from alliance.demo.traits import LIKENESS
from alliance.demo.truth import CATEGORIES, Parameters, describe, with_values
from alliance.instruments.registry import load_registry

INSTRUMENTS = Path(__file__).parents[2] / "workflow" / "instruments"
LARGE = Size(sites=40, therapists=50, clients_per_therapist=20, sessions=16, vary=False)
QUIET = [
    *("rupture_rate=0", "slope_sd=0", "coasting_share=0", "factor_fading=0", "alliance_phase_variance=0", "early_gain_sd=0"),
    *("interpretation_quadratic=0", "accuracy_wish_response=0"),
]


@pytest.fixture(scope="module")
def course():
    return simulate(Parameters(), LARGE, seed=7)


@pytest.fixture(scope="module")
def expected():
    parameters = Parameters()
    return correlations(parameters, calibrate(parameters))


def slopes(y, *x):
    return np.linalg.lstsq(np.column_stack([np.ones(len(y)), *x]), y)[0][1:]


def within_sites(values, site):
    return values - (np.bincount(site, values) / np.bincount(site))[site]


def test_variance_of_the_alliance_divides_over_levels_as_named():
    p = with_values(Parameters(), [*QUIET, "therapist_reactivity_sd=0"])
    course = simulate(p, LARGE, seed=3)
    within = course.alliance - course.level[:, None] - (course.alliance - course.level[:, None]).mean(axis=0)
    assert within.var() == pytest.approx(p.alliance_within_variance, abs=0.03)
    assert course.client_alliance.var() == pytest.approx(1, abs=0.03)
    therapist_part = course.level - np.sqrt(p.alliance_client_variance) * course.client_alliance
    assert within_sites(therapist_part, course.site).var() == pytest.approx(p.alliance_therapist_variance, abs=0.01)


@pytest.mark.parametrize("name", [name for name, category in CATEGORIES.items() if category != "diagnostic"])
def test_client_factors_correlate_with_the_rated_early_alliance_as_the_review_found(expected, name):
    wanted = {"interpersonal": 0.32, "intrapersonal": 0.30}[CATEGORIES[name]]
    sign = -1 if name == "life_events" else 1
    assert sign * expected["early_alliance_with"][name] == pytest.approx(wanted, abs=0.03)


def test_severity_has_a_small_correlation_with_the_early_alliance(expected):
    assert expected["early_alliance_with"]["intake_severity"] == pytest.approx(-0.05, abs=0.02)


def test_tailored_outcome_is_predicted_better_than_the_broad_one_as_the_review_found(expected):
    outcomes = expected["early_alliance_with_outcome"]
    assert outcomes["target_complaints_client"]["zero_order"] == pytest.approx(0.30, abs=0.025)
    assert outcomes["scl_90_r_client"]["zero_order"] == pytest.approx(0.09, abs=0.025)


def test_general_outcome_has_about_the_effect_size_of_the_review(expected):
    assert expected["early_alliance_with_outcome"]["core_10_client"]["zero_order"] == pytest.approx(0.26, abs=0.03)


def test_named_correlations_hold_for_other_values_too():
    p = with_values(Parameters(), ["tailored_correlation=0.2", "interpersonal_factors=0.1"])
    found = correlations(p, calibrate(p))
    assert found["early_alliance_with_outcome"]["target_complaints_client"]["zero_order"] == pytest.approx(0.2, abs=0.025)
    assert found["early_alliance_with"]["social_relations"] == pytest.approx(0.1, abs=0.025)


def test_symptoms_and_alliance_drive_each_other_from_session_to_session_as_named():
    p = with_values(Parameters(), QUIET)
    course = simulate(p, LARGE, seed=11)
    within = course.alliance - course.level[:, None]
    symptoms = course.symptoms - course.severity[:, None]
    within_sd = np.sqrt(p.alliance_within_variance)
    carried, driven = slopes(symptoms[:, 1], symptoms[:, 0], within[:, 0])
    assert carried == pytest.approx(p.symptom_autoregression, abs=0.02)
    assert driven == pytest.approx(-p.alliance_outcome_within / within_sd, abs=0.02)
    carried, driven = slopes(within[:, 1], within[:, 0], symptoms[:, 0])
    assert carried == pytest.approx(p.alliance_autoregression, abs=0.02)
    assert driven == pytest.approx(-p.symptom_alliance_within * within_sd, abs=0.02)


def test_empathy_leads_to_the_client_level_alliance_along_the_named_path(course):
    assert slopes(course.client_alliance, course.empathy)[0] == pytest.approx(Parameters().empathy_alliance, abs=0.02)


def test_adherence_lies_between_the_alliance_and_gain_along_the_named_paths():
    p = with_values(Parameters(), ["adherence_client_variance=1"])
    course = simulate(p, LARGE, seed=7)
    level = course.adherence[:, 0]
    assert level.var() == pytest.approx(1, abs=0.02)
    assert slopes(level, course.client_alliance)[0] == pytest.approx(p.alliance_adherence, abs=0.02)
    assert slopes(course.gain["general"], level, course.client_alliance)[0] == pytest.approx(p.adherence_outcome, abs=0.02)


def test_within_clients_the_alliance_leads_to_adherence_and_adherence_to_fewer_symptoms_as_named():
    p = with_values(Parameters(), ["adherence_client_variance=0"])
    course = simulate(p, LARGE, seed=7)
    done, before = course.adherence[:, 3], course.within[:, 2] / np.sqrt(p.alliance_within_variance)
    assert slopes(done, before)[0] == pytest.approx(p.alliance_adherence_within, abs=0.02)
    relief, carried, driven = slopes(course.deviation[:, 3], done, course.deviation[:, 2], before)
    assert relief == pytest.approx(-p.adherence_symptoms_within, abs=0.01)
    assert carried == pytest.approx(p.symptom_autoregression, abs=0.02)
    total = driven - p.adherence_symptoms_within * p.alliance_adherence_within
    assert total == pytest.approx(-p.alliance_outcome_within, abs=0.01)


@pytest.mark.parametrize("name", INFLUENCES)
def test_social_influence_has_its_named_path_to_gain_beside_the_alliance(course, name):
    p, influence = Parameters(), course.influence[name]
    assert np.corrcoef(influence, course.client_alliance)[0, 1] == pytest.approx(p.influence_alliance, abs=0.02)
    path = slopes(course.gain["general"], influence, course.client_alliance)[0]
    assert path == pytest.approx(getattr(p, f"{name}_outcome"), abs=0.015)


def test_clients_perceive_more_of_the_empathy_that_matters_than_observers_see(expected):
    assert expected["with_outcome"]["empathy"] > expected["with_outcome"]["empathy_observer"] + 0.04
    assert expected["with_outcome"]["empathy_observer"] > 0.02


@pytest.mark.parametrize("name", LIKENESS)
def test_alliance_is_higher_the_more_alike_in_affiliation_and_the_more_opposite_in_dominance(course, name):
    client, therapist = course.client_traits[name], course.therapist_traits[name][course.therapist]
    assert [client.std(), course.therapist_traits[name].std()] == pytest.approx([1, 1], abs=0.05)
    effect = getattr(Parameters(), f"complementarity_{name}") / np.sqrt(2)
    found = slopes(course.client_alliance, client, therapist, client**2, client * therapist, therapist**2)
    wanted = [0, 0, -effect / 2, LIKENESS[name] * effect, -effect / 2]
    assert found == pytest.approx(wanted, abs=0.025)


def test_attachment_of_clients_introject_and_training_in_the_alliance_go_with_the_alliance_as_named():
    p = with_values(Parameters(), ["client_anxiety_alliance=0.1", "alliance_training_alliance=0.5"])
    course = simulate(p, LARGE, seed=7)
    for name in ("anxiety", "avoidance"):
        r = np.corrcoef(course.client_traits[f"attachment_{name}"], course.client_alliance)[0, 1]
        assert r == pytest.approx(getattr(p, f"client_{name}_alliance"), abs=0.015)
    level = course.level - np.sqrt(p.alliance_client_variance) * course.client_alliance
    of_therapists = within_sites(np.bincount(course.therapist, level) / np.bincount(course.therapist), course.therapist_site)
    introject, trained = (course.therapist_traits[name] for name in ("introject", "alliance_training"))
    assert np.corrcoef(introject, of_therapists)[0, 1] == pytest.approx(p.introject_alliance, abs=0.05)
    # The point-biserial correlation of a biserial one at a share of one half.
    assert np.corrcoef(trained, of_therapists)[0, 1] == pytest.approx(p.alliance_training_alliance * np.sqrt(2 / np.pi), abs=0.05)


def test_training_in_the_alliance_has_no_effect_in_the_demo(expected):
    assert Parameters().alliance_training_alliance == 0
    assert expected["mean_alliance_of_therapists_with"]["alliance_training"] == pytest.approx(0, abs=0.05)
    assert expected["mean_alliance_of_therapists_with"]["introject"] > 0.2


DRAWN_AFTERWARDS = (
    *("adherence_outcome", "alliance_adherence", "alliance_adherence_within", *(f"{name}_outcome" for name in INFLUENCES)),
    *("client_avoidance_alliance", "introject_alliance", *(f"complementarity_{name}" for name in LIKENESS)),
)


def test_what_is_drawn_given_the_alliance_leaves_the_course_of_treatment_as_it_is():
    size = Size(2, 4, 5, 8)
    names = DRAWN_AFTERWARDS
    with_effects, without = (simulate(p, size, 1) for p in (Parameters(), with_values(Parameters(), [f"{name}=0" for name in names])))
    for name in ("alliance", "symptoms", "attended", "n_sessions"):
        assert np.array_equal(getattr(with_effects, name), getattr(without, name))
    for outcome, post in with_effects.post.items():
        assert np.array_equal(post, without.post[outcome])


@pytest.mark.parametrize("assignment", ["adherence_outcome=0.9", "expertness_outcome=0.95"])
def test_paths_to_gain_larger_than_what_is_left_of_it_are_refused(assignment):
    with pytest.raises(ValueError, match=f"leave no room for {assignment.partition('=')[0]}"):
        simulate(with_values(Parameters(), [assignment]), Size(1, 2, 2, 4), 1)


def test_training_raises_task_and_goal_but_not_bond(course):
    p = Parameters()
    training = (course.therapist_traits["training"] - 2.0) / np.sqrt(2 / 3)
    anxiety = course.therapist_traits["attachment_anxiety"]
    between = np.sqrt(p.alliance_therapist_variance)
    found = {name: slopes(course.subscale[name], training[course.therapist], anxiety[course.therapist]) for name in SUBSCALES}
    for name in ("task", "goal"):
        assert found[name] == pytest.approx([p.training_task_goal * between, 0], abs=0.015)
    assert found["bond"] == pytest.approx([0, p.attachment_bond * between], abs=0.015)


def test_odds_of_leaving_after_the_first_session_fall_with_its_alliance_as_named(course):
    p = Parameters()
    leaves = ((course.reason == UNILATERAL) & (course.n_sessions == 1)).astype(float)
    first = course.alliance[:, 0] - course.alliance[:, 0].mean()
    design = np.column_stack([np.ones(len(first)), first])
    b = np.zeros(2)
    for _ in range(25):
        chance = 1 / (1 + np.exp(-design @ b))
        b += np.linalg.solve(design.T @ (design * (chance * (1 - chance))[:, None]), design.T @ (leaves - chance))
    assert b[1] == pytest.approx(p.dropout_alliance, abs=0.1)
    assert 1 / (1 + np.exp(-b[0])) == pytest.approx(p.dropout_rate, abs=0.005)


def test_most_clients_have_a_rupture_and_unrepaired_ones_gain_less(course):
    assert 0.5 < (course.events["begins"].sum(axis=1) > 0).mean() < 0.95
    unrepaired = course.events["any_unrepaired"]
    repaired = course.events["any_repaired"] & ~unrepaired
    gain = course.gain["general"]
    assert gain[unrepaired].mean() < gain[~unrepaired & ~repaired].mean() < gain[repaired].mean()


def test_alliance_peaks_at_the_named_session_early_in_treatment():
    course = simulate(with_values(Parameters(), QUIET), LARGE, seed=5)
    assert course.alliance[:, :5].mean(axis=0).argmax() + 1 == Parameters().peak_session


def test_ratings_have_the_reliabilities_of_the_review(course):
    p = Parameters()
    collected = [Collected("wai_36", "client", (3,)), Collected("wai_36", "therapist", (3,)), Collected("vtas", "observer", (3,), raters=2)]
    ratings = measure_study(course, p, 7, collected, [f"s{i}" for i in range(LARGE.sites)]).ratings
    for rater, wanted in (("client", p.client_reliability), ("therapist", p.therapist_reliability)):
        form, frame = FORMS["wai_36"], ratings[f"wai_36_{rater}"]
        items = frame[[f"i{i}" for i in range(1, 37)]].dropna().to_numpy(float)
        reverse = np.array(form.reverse) - 1
        items[:, reverse] = 8 - items[:, reverse]
        alpha = 36 / 35 * (1 - items.var(axis=0).sum() / items.sum(axis=1).var())
        assert alpha == pytest.approx(wanted, abs=0.025)
    vtas = ratings["vtas_observer"].set_index(["client", "rater_no"])["interaction"].unstack()
    assert np.corrcoef(vtas[1], vtas[2])[0, 1] == pytest.approx(p.observer_reliability, abs=0.04)


def test_equal_seeds_give_equal_courses_and_others_do_not():
    size = Size(2, 3, 4, 6)
    first, again, other = (simulate(Parameters(), size, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.alliance, again.alliance)
    assert first.alliance.shape != other.alliance.shape or not np.array_equal(first.alliance, other.alliance)


def test_every_parameter_says_what_it_means():
    assert all(entry["meaning"] for entry in describe(Parameters()).values())


def test_misspelt_parameters_are_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'rupture_rate'"):
        with_values(Parameters(), ["rupture_rat=0.1"])
    with pytest.raises(ValueError, match="needs a number"):
        with_values(Parameters(), ["rupture_rate=often"])


def test_effects_that_explain_more_than_everything_are_refused():
    with pytest.raises(ValueError, match="more than all of it"):
        simulate(with_values(Parameters(), ["empathy_alliance=0.95"]), Size(1, 2, 2, 4), 1)


@pytest.mark.parametrize("key", [key for key, form in FORMS.items() if form.n_items])
def test_simulated_forms_have_the_items_range_and_reversed_items_of_the_registry(key):
    instrument = load_registry([INSTRUMENTS])[key]
    form = FORMS[key]
    assert (form.n_items, form.low, form.high) == (instrument.n_items, instrument.response.min, instrument.response.max)
    assert list(form.reverse) == sorted(instrument.reverse)
    if key.startswith("wai"):
        assert form.scales == {name: instrument.scales[name].items for name in SUBSCALES}
