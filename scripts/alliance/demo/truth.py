"""The named parameters of the simulation: one for every effect of the review that the demo study holds.

Claim ids (B1, F5, ...) are those of the results tables. Variances are shares of the variance of a client-rated session score; effects
are standardised unless a unit is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

from alliance.configuration.errors import nearest

CATEGORIES = {
    "social_relations": "interpersonal",
    "family_relations": "interpersonal",
    "life_events": "interpersonal",
    "motivation": "intrapersonal",
    "psychological_mindedness": "intrapersonal",
    "object_relations": "intrapersonal",
    "intake_severity": "diagnostic",
    "prognosis": "diagnostic",
}
EARLY_SESSIONS = 5


def _effect(value: float, claim: str, meaning: str) -> Any:
    return field(default=value, metadata={"claim": claim, "meaning": meaning})


@dataclass(frozen=True)
class Parameters:
    """Every effect of the simulation; ``describe`` lists them with claim and meaning."""

    alliance_site_variance: float = _effect(0.03, "C9", "share of alliance variance between sites")
    alliance_therapist_variance: float = _effect(0.10, "F12", "share of alliance variance between therapists of a site")
    alliance_client_variance: float = _effect(0.45, "D3", "share of alliance variance between clients of a therapist")
    alliance_phase_variance: float = _effect(0.08, "C5", "share of alliance variance between the early, middle and late phase of a client")
    alliance_within_variance: float = _effect(0.34, "D3", "share of alliance variance between sessions of a client")
    alliance_autoregression: float = _effect(0.35, "D3", "session to session carry-over of the within-client alliance")
    symptom_autoregression: float = _effect(0.30, "E7", "session to session carry-over of the within-client symptoms")
    symptom_within_sd: float = _effect(0.35, "E7", "SD of within-client symptom innovations, in SD of intake severity")

    alliance_outcome_within: float = _effect(
        0.15, "E1", "drop of the next session's symptoms per SD unit of the within-client alliance, in SD of intake severity"
    )
    symptom_alliance_within: float = _effect(
        0.15, "E7", "drop of the next session's alliance per SD unit of within-client symptoms, in SD of session alliance"
    )
    alliance_outcome_client: float = _effect(0.16, "B1", "effect of the client-level alliance on gain")
    alliance_outcome_therapist: float = _effect(0.10, "B1", "effect of the therapist-level alliance on gain")
    alliance_outcome_site_sd: float = _effect(0.04, "C9", "SD of the client-level effect between sites")
    early_effect: float = _effect(0.24, "C4", "effect on gain of the alliance that is particular to the early phase (sessions 1-5)")
    middle_effect: float = _effect(0.0, "C5", "effect on gain of the alliance that is particular to the middle phase")
    late_effect: float = _effect(0.20, "C5", "effect on gain of the alliance that is particular to the late phase")
    task_goal_outcome: float = _effect(0.06, "C7", "effect on gain of task and goal beyond the common alliance (bond: none)")
    treatment_moderation: float = _effect(0.0, "C1", "difference of the client-level effect between two treatments")
    treatment_effect: float = _effect(0.0, "C2", "difference of gain between two treatments")
    length_moderation: float = _effect(0.0, "C3", "change of the client-level effect per SD of planned length")
    tailored_correlation: float = _effect(0.30, "B4", "r of the early client-rated alliance with gain on individual complaints")
    broad_correlation: float = _effect(0.09, "B4", "r of the early client-rated alliance with gain on a broad symptom inventory")
    outcome_stability: float = _effect(0.50, "M5", "r of intake with post level of an outcome")
    mean_gain: float = _effect(1.0, "", "mean gain from intake to post in SD of intake severity")
    outcome_common_variance: float = _effect(0.60, "B8", "share of residual gain common to all outcome measures")
    halo: float = _effect(0.12, "B5", "weight of a rater's general leniency, both in alliance and in outcome ratings (same-rater variance)")
    outcome_therapist_error: float = _effect(0.45, "B5", "SD of error in outcomes judged by therapists")
    outcome_observer_error: float = _effect(0.45, "B5", "SD of error in outcomes judged by observers")

    early_gain_mean: float = _effect(0.45, "E3", "mean symptom gain from intake to session 3, in SD of intake severity")
    early_gain_sd: float = _effect(0.40, "E3", "SD of that gain between clients")
    early_gain_outcome: float = _effect(0.50, "E3", "r of the early gain with the part of the final gain that is not due to the alliance")
    early_gain_alliance: float = _effect(0.10, "E3", "r of the early gain with the client-level alliance")

    empathy_alliance: float = _effect(0.45, "H9", "path from client-perceived empathy to the client-level alliance")
    empathy_outcome: float = _effect(0.04, "I4", "path from client-perceived empathy to gain beside the alliance")
    empathy_therapist_variance: float = _effect(0.15, "I1", "share of empathy variance between therapists")
    empathy_fading: float = _effect(0.30, "I3", "share of the tie between empathy ratings and perceived empathy lost by the last session")
    empathy_observer_validity: float = _effect(0.35, "I2", "r of observer-rated with client-perceived empathy")
    condition_loading: float = _effect(0.77, "I5", "loading of the other therapist-offered conditions on perceived empathy")

    influence_alliance: float = _effect(0.45, "I7", "r of expertness, trustworthiness or attractiveness with the client-level alliance")
    influence_common: float = _effect(0.50, "I7", "r between any two of the three beside the client-level alliance")
    expertness_outcome: float = _effect(0.06, "I7", "path from perceived expertness to gain beside the client-level alliance")
    trustworthiness_outcome: float = _effect(0.08, "I7", "path from perceived trustworthiness to gain beside the client-level alliance")
    attractiveness_outcome: float = _effect(0.03, "I7", "path from perceived attractiveness to gain beside the client-level alliance")

    alliance_adherence: float = _effect(0.35, "J1", "path from the client-level alliance to the client's level of adherence")
    adherence_outcome: float = _effect(0.20, "J1", "path from the client's level of adherence to gain beside the client-level alliance")
    adherence_client_variance: float = _effect(0.50, "J1", "share of adherence variance between clients")
    alliance_adherence_within: float = _effect(
        0.25, "J1", "path from the within-client alliance of a session to adherence until the next, both in SD within clients"
    )
    adherence_symptoms_within: float = _effect(
        0.08, "J1", "drop of the next session's symptoms per SD of within-client adherence, in SD of intake severity"
    )

    interpersonal_factors: float = _effect(0.32, "F1", "r of each interpersonal client factor with the early client-rated alliance")
    intrapersonal_factors: float = _effect(0.30, "F1", "r of each intrapersonal client factor with the early client-rated alliance")
    severity_alliance: float = _effect(-0.05, "F4", "r of severity at intake with the early client-rated alliance")
    prognosis_alliance: float = _effect(0.08, "F1", "r of judged prognosis with the early client-rated alliance")
    factor_intercorrelation: float = _effect(0.40, "F14", "r between any two inter- or intrapersonal factors")
    factor_fading: float = _effect(0.15, "F8", "share of the factors' effect on the alliance lost by the last session")
    object_relations_outcome: float = _effect(0.10, "F5", "effect of object relations on gain beside the alliance")
    expectancy_alliance: float = _effect(0.20, "F13", "r of outcome expectancy with the client-level alliance")
    client_avoidance_alliance: float = _effect(-0.30, "F9", "r of the client's attachment avoidance with the client-level alliance")
    client_anxiety_alliance: float = _effect(0.0, "F9", "r of the client's attachment anxiety with the client-level alliance")
    introject_alliance: float = _effect(0.40, "F9", "r of the friendliness of the therapist's introject with the therapist-level alliance")
    alliance_training_alliance: float = _effect(0.0, "H8", "biserial r of training in the alliance with the therapist-level alliance")
    complementarity_affiliation: float = _effect(
        0.20, "F10", "rise of the client-level alliance per SD of likeness of client and therapist in affiliation"
    )
    complementarity_dominance: float = _effect(
        0.20, "F10", "rise of the client-level alliance per SD of opposition of client and therapist in dominance"
    )
    therapist_reactivity_sd: float = _effect(0.08, "F12", "SD over therapists of the slope of alliance on client severity")

    training_task_goal: float = _effect(0.35, "H7", "rise of task and goal per SD of therapist training, in SD between therapists")
    training_bond: float = _effect(0.0, "H7", "rise of bond per SD of therapist training, in SD between therapists")
    attachment_bond: float = _effect(-0.25, "F9", "change of bond per SD of therapist attachment anxiety, in SD between therapists")
    subscale_sd: float = _effect(0.35, "A7", "SD between clients of each subscale around the common alliance")
    instrument_overlap: float = _effect(0.76, "A6", "variance shared by two client-rated alliance instruments")
    observer_overlap: float = _effect(0.45, "A5", "variance shared by two observer-rated alliance instruments")

    client_reliability: float = _effect(0.92, "A3", "internal consistency of client-rated totals")
    therapist_reliability: float = _effect(0.93, "A3", "internal consistency of therapist-rated totals")
    observer_reliability: float = _effect(0.82, "A3", "agreement of two observers of one session")
    therapist_bias: float = _effect(-0.30, "K1", "mean therapist minus client rating in SD of client ratings")
    therapist_level_accuracy: float = _effect(0.45, "B6", "r of therapist with client view of the level of the alliance")
    therapist_tracking: float = _effect(0.50, "K2", "slope of therapist on client ratings from session to session")
    avoidance_bias: float = _effect(-0.20, "B7", "change of the therapist's rating per SD of own attachment avoidance")
    observer_level_accuracy: float = _effect(0.70, "B5", "r of the error-free observer view with the client view")

    peak_session: float = _effect(3.0, "D5", "session at which the mean alliance peaks")
    peak_height: float = _effect(0.30, "D5", "rise of the mean alliance from session 1 to the peak")
    settling: float = _effect(0.08, "D5", "fall of the mean alliance in the two sessions after the peak")
    growth_after_peak: float = _effect(0.0, "D1", "further change of the mean alliance from the peak to the last session")
    slope_sd: float = _effect(0.25, "D2", "SD of individual change from first to last session")
    slope_outcome: float = _effect(0.0, "D2", "effect of the individual slope on gain")

    rupture_rate: float = _effect(0.07, "D8", "chance that a rupture begins in a session")
    rupture_depth: float = _effect(1.3, "G3", "drop of the alliance in a rupture, in SD of session alliance")
    challenge_rate: float = _effect(0.5, "G3", "mean number of challenges a session from session 5 on (before: a fifth)")
    challenge_rupture: float = _effect(0.8, "G3", "rise of the rupture rate after a challenge, as a share of it")
    repair_rate: float = _effect(0.55, "D9", "chance that a rupture is repaired within two sessions")
    here_and_now_repair: float = _effect(0.25, "H6", "rise of that chance where an interpretation is about the relationship now")
    repair_outcome: float = _effect(0.12, "D9", "effect on gain of having only repaired ruptures against none")
    unrepaired_outcome: float = _effect(-0.25, "G5", "effect on gain of an unrepaired rupture")
    coasting_share: float = _effect(0.02, "G4", "share of clients with a flat, very high alliance")
    coasting_outcome: float = _effect(-0.30, "G4", "effect of coasting on gain")
    involvement_alliance: float = _effect(0.8, "G7", "log odds of involvement in reply to a challenge per SD of alliance")

    interpretation_rate: float = _effect(2.5, "H2", "mean number of interpretations a session")
    interpretation_linear: float = _effect(0.0, "H2", "effect of one more interpretation on the next session's alliance")
    interpretation_quadratic: float = _effect(-0.012, "H4", "effect of the squared deviation from the mean number")
    accuracy_wish_response: float = _effect(0.12, "H3", "effect per SD of accuracy on wish and response of other")
    accuracy_other: float = _effect(0.0, "H3", "effect per SD of accuracy on other contents")

    dropout_rate: float = _effect(0.030, "G1", "chance that a client of average first-session alliance leaves after a session")
    dropout_alliance: float = _effect(-0.50, "G1", "log odds of leaving per SD of first-session alliance")
    dropout_rupture: float = _effect(0.70, "G9", "log odds of leaving in an unrepaired rupture")
    administrative_rate: float = _effect(0.004, "G1", "chance that treatment ends for administrative reasons after a session")
    ongoing_share: float = _effect(0.02, "", "share of clients still in treatment at the export")

    missed_sessions: float = _effect(0.05, "", "chance that a planned session is missed")
    skipped_forms: float = _effect(0.03, "", "chance that a form is not filled in at a session")
    skipped_items: float = _effect(0.008, "", "chance that an item is skipped")
    post_missing: float = _effect(0.06, "", "chance that an outcome form is missing after a planned ending")
    post_missing_dropout: float = _effect(0.50, "", "the same after any other ending")
    transfers: float = _effect(0.03, "", "share of clients whose therapist changes")


def describe(parameters: Parameters) -> dict[str, dict[str, Any]]:
    """Return value, claim and meaning of every parameter."""
    return {f.name: {"value": getattr(parameters, f.name), **f.metadata} for f in fields(parameters)}


def with_values(parameters: Parameters, assignments: list[str]) -> Parameters:
    """Return parameters with some changed by ``name=value`` texts.

    Raises
    ------
    ValueError
        For an unknown name or a value that is no finite number, naming the nearest parameter.
    """
    known = {f.name for f in fields(parameters)}
    changes = {}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        if name not in known:
            raise ValueError(f"unknown parameter '{name}'{nearest(name, known)}")
        try:
            changes[name] = float(text)
        except ValueError:
            raise ValueError(f"parameter '{name}' needs a number, not '{text}'") from None
        if not math.isfinite(changes[name]):
            raise ValueError(f"parameter '{name}' needs a finite number")
    return replace(parameters, **changes)
