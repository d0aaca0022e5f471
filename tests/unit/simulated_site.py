"""Small simulated sites with a known truth, for tests of study variables and questions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
from alliance.questions.site_data import SCORE_COLUMNS, SiteData

INSTRUMENTS = {
    "wai_36": SimpleNamespace(construct="alliance", direction="higher_is_better"),
    "wai_sr": SimpleNamespace(construct="alliance", direction="higher_is_better"),
    "haq_2": SimpleNamespace(construct="alliance", direction="higher_is_better"),
    "care": SimpleNamespace(construct="empathy", direction="higher_is_better"),
    "core_10": SimpleNamespace(construct="outcome_symptoms", direction="higher_is_worse"),
    "ors": SimpleNamespace(construct="outcome_general", direction="higher_is_better"),
}

OPTIONS = {
    "alliance": {
        "instruments": ["wai_36", "haq_2"],
        "scale": "total",
        "rater": "client",
        "window": "early",
        "windows": {
            "session_1": {"sessions": [1, 1]},
            "session_3": {"sessions": [3, 3]},
            "early": {"sessions": [1, 5]},
            "middle": {"phase": [0.33, 0.67]},
            "late": {"last": 3},
            "all": {"sessions": [1, 999]},
            "sessions_2_to_5": {"sessions": [2, 5]},
        },
    },
    "empathy": {"instruments": ["care"], "scale": "total", "rater": "client", "window": "session_1"},
    "regard": {"instruments": ["blri_os64"], "scale": "regard", "rater": "client", "window": "session_1"},
    "unconditionality": {"instruments": ["blri_os64"], "scale": "unconditionality", "rater": "client", "window": "session_1"},
    "social_influence": {"instruments": ["crf_s"], "scale": "total", "rater": "client", "window": "session_3"},
    "adherence": {"instruments": ["homework_adherence"], "scale": "total", "rater": "therapist", "window": "late"},
    "congruence": {"instruments": ["blri_os64"], "scale": "congruence", "rater": "client", "window": "session_1"},
    "symptoms": {"instruments": ["core_10"], "scale": "total", "rater": "client"},
    "outcome": {
        "instruments": ["core_10", "ors"],
        "scale": "total",
        "rater": "client",
        "timepoint": "post",
        "form": "ancova",
        "tailored": None,
        "broad": None,
    },
    "early_gain": {"window": [0, 3]},
    "dropout": {
        "definition": "unilateral",
        "definitions": {
            "unilateral": {"reasons": ["unilateral"]},
            "before_planned": {"share_of_planned_below": 0.5},
            "few_sessions": {"sessions_below": 4},
        },
    },
    "pooling": {
        "metric": "fisher_z",
        "tau2": "reml",
        "interval": "guarded_hartung_knapp",
        "level": 0.95,
        "min_sites": 2,
        "headline_sites": 5,
        "min_clients": 10,
        "sites": {"leave_out": [], "leave_out_largest": 0, "min_clients": 0},
    },
    "resampling": {"draws": 400},
    "seed": 7,
    "questions": {
        "measurement": {
            "enabled": True,
            "windows": ["session_3", "late"],
            "ordinal_categories": 5,
            "low_reliability": 0.7,
            "clients_per_variable": 3,
            "reference_rater": "client",
            "invariance": {
                "across": ["sites", "languages", "raters", "sessions"],
                "cfi_drop": 0.010,
                "rmsea_rise": 0.015,
                "srmr_rise_loadings": 0.030,
                "srmr_rise_intercepts": 0.010,
                "largest_freed_share": 0.2,
            },
            "composite": {
                "conditions": ["empathy", "regard", "congruence"],
                "alliance": ["task", "bond", "goal"],
            },
        },
        "convergent_validity": {"enabled": True, "timepoint_window": "session_3", "equivalence_bound": 0.1},
        "client_factors": {
            "enabled": True,
            "window": "early",
            "factors": {
                "social_relations": {"category": "interpersonal", "reversed": False},
                "life_events": {"category": "interpersonal", "reversed": True},
                "motivation": {"category": "intrapersonal", "reversed": False},
                "intake_severity": {"category": "diagnostic", "reversed": True},
            },
            "windows": ["session_3"],
            "raters": ["therapist"],
            "severity_bound": 0.1,
            "instrument_bound": 0.1,
            "unique_shared": ["social_relations"],
            "clients_per_factor": 5,
            "over_time": {
                "bands": {"early": "early", "middle": "middle", "late": "late"},
                "first": "early",
                "second": "late",
                "equal_sessions": None,
                "equivalence_bound": 0.1,
            },
        },
        "therapist_factors": {
            "enabled": True,
            "windows": ["early"],
            "contrast": {"mean_of": ["task", "goal"], "against": "bond"},
            "factors": {
                "training": {"kind": "training"},
                "attachment_anxiety": {"kind": "attachment"},
                "alliance_training": {"kind": "alliance_training"},
            },
            "after_training": "after_training",
            "pairs": [{"client": "dominance", "therapist": "dominance"}],
            "equivalence_bound": 0.1,
            "power": 0.8,
            "low_power_r": 0.5,
            "variance": {"traits": ["dominance"], "min_therapists": 5, "min_clients": 3},
        },
        "alliance_outcome": {
            "enabled": True,
            "windows": ["session_3", "early", "late"],
            "headline": {"missing": "complete", "therapists": "jackknife", "covariates": []},
            "forms": ["ancova", "zero_order", "residual_gain"],
            "phases": {"early": "early", "middle": "middle", "late": "late", "averaged": "all"},
            "equal_sessions": 1,
            "moderators": {
                "treatment": {"variable": "treatment", "kind": "category"},
                "planned_length": {"variable": "planned_sessions", "kind": "log"},
            },
            "within": {"client_mean": "prior", "session_trend": True},
            "imputation": {"imputations": 20, "deltas": [-0.5, 0]},
            "equivalence_bound": 0.1,
            "nonsignificant_p": 0.05,
            "coding": "as_estimated",
        },
        "early_gains": {
            "enabled": True,
            "windows": ["session_3", "early"],
            "refuse_overlap": False,
            "sudden_gain_points": None,
            "change": {"reliable_change": None, "cutoff": None, "reliability": None},
        },
        "congruence": {
            "enabled": True,
            "raters": ["client", "therapist"],
            "scales": ["total", "task", "bond", "goal"],
            "windows": ["all"],
            "session_window": "all",
            "commensurable": "same_instrument",
            "centre": "pooled_mean",
            "band": 0.5,
            "low_reliability": 0.7,
            "least_share": 0.1,
            "axis_bound": 0.5,
            "slope_bound": 0.1,
            "largest_gap": 5,
            "waves": 5,
            "moderators": {"session": "session", "training": "therapists.training", "social_relations": "clients.social_relations"},
            "surfaces": {
                name: {"label": name, "x": x, "y": y, "outcome": outcome, "kind": kind}
                for name, x, y, outcome, kind in (
                    ("alliance_outcome", "alliance.client", "alliance.therapist", "outcome", "congruence"),
                    ("alliance_symptoms", "alliance.client", "alliance.therapist", "symptoms", "congruence"),
                    ("alliance_dropout", "alliance.client", "alliance.therapist", "dropout", "congruence"),
                    ("dominance_alliance", "clients.dominance", "therapists.dominance", "alliance", "complementarity"),
                )
            },
        },
        "dropout": {
            "enabled": True,
            "window": "session_1",
            "lag": 1,
            "carry": 2,
            "baseline": "log",
            "steps": [2, 5, 9],
            "horizons": [5, 10],
            "contrast": 1.0,
            "risk_groups": 5,
            "events_per_parameter": {"low": 10, "refuse": 2},
            "phase_one": {"sessions": [3, 5], "rule": "lowest_third", "amount": None},
            "combinations": {"affiliation": {"client": "affiliation", "therapist": "affiliation"}},
        },
        "components": {
            "enabled": True,
            "scales": ["task", "bond", "goal"],
            "phases": {"early": "early", "late": "late"},
            "contrast": {"mean_of": ["task", "goal"], "against": "bond"},
            "conditions": ["empathy"],
            "types": {"instruments": ["ha_cs", "haq_1"], "rater": "observer"},
        },
        "interventions": {
            "enabled": True,
            "raters": ["client"],
            "window": "all",
            "phases": ["early"],
            "lag": 1,
            "equivalence_bound": 0.1,
            "events": {
                name: {"label": name.replace("_", " ").capitalize(), "code": code, "target": target}
                for name, code, target in (
                    ("interpretations", "interpretation", None),
                    ("here_and_now", "interpretation", "here_and_now"),
                    ("outside", "interpretation", "outside"),
                    ("wish_and_response", "interpretation_wish_response_of_other", None),
                    ("response_of_self", "interpretation_response_of_self", None),
                    ("challenges", "challenge", None),
                    ("involvement", "involvement", None),
                    ("avoidance", "avoidance", None),
                    ("observed_ruptures", "rupture", None),
                )
            },
            "accuracy": ["wish_and_response", "response_of_self"],
            "curvilinear": ["interpretations"],
            "moderations": {
                "timing": {"event": "interpretations", "by": "session", "outcome": "alliance"},
                "client_response": {"event": "challenges", "by": "involvement", "outcome": "alliance"},
                "hard_sessions": {"event": "challenges", "by": "alliance", "outcome": "symptoms"},
            },
            "complementarity": {
                "after": "challenges",
                "client": {"affiliation": "client_affiliation", "dominance": "client_dominance"},
                "therapist": {"affiliation": "therapist_affiliation", "dominance": "therapist_dominance"},
            },
            "initially_poor": {"attention": "here_and_now", "initial": 3, "attention_until": 6, "clients": 15},
            "ruptures": {
                "criterion": "drop",
                "events_of": "same_session",
                "contrast": ["here_and_now", "outside"],
            },
            "transitions": {"after": "challenges", "responses": ["involvement", "avoidance"], "low": 10, "refuse": 3},
        },
        "course": {
            "enabled": True,
            "raters": [],
            "curve_sessions": 16,
            "knot": 3,
            "knots": [2, 6],
            "slope_bound": 0.2,
            "outcome_bound": 0.1,
            "outcome_sessions": 8,
            "peak_sessions": [1, 5],
            "min_sessions": 6,
            "averaged": [1, 3, 5],
            "periods": [3, 8],
            "cycle_sessions": 10,
            "surrogates": 200,
        },
        "ruptures": {
            "enabled": True,
            "headline": "drop",
            "covariates": "intake and early symptoms",
            "criteria": {
                "drop": {"rule": "drop", "sd": 1.0},
                "reliable_drop": {"rule": "reliable_drop", "critical": 1.96},
                "decline": {"rule": "decline", "sd": 1.0},
                "v_shape": {"rule": "v_shape", "sd": 2.0, "recovery": 1.0, "within": 3},
                "control_chart": {"rule": "control_chart", "sigma": 3.0, "baseline": None, "two_of_three": False},
                "self_report": {
                    "rule": "self_report",
                    "instrument": "psq_rupture",
                    "rater": "client",
                    "least_intensity": 2,
                    "least_resolution": 4,
                },
                "observed": {
                    "rule": "observed",
                    "codes": ["rupture", "withdrawal"],
                    "repair_codes": ["repair"],
                    "least_intensity": None,
                },
            },
            "reliability_within": 0.8,
            "min_sessions": 4,
            "largest_gap": 1,
            "repair": {"share": 0.5, "within": 3},
            "at_the_end": "unrepaired",
            "early_until": 5,
            "min_group": 5,
            "match_within": 1,
            "surrogates": 50,
            "coasting": {"reaches": 0.9, "share": 0.8, "sd": 0.5},
        },
        "path_models": {
            "enabled": True,
            "missing": "likelihood",
            "clients_per_parameter": 3,
            "variables": {},
            "comparisons": {},
            "conditions": {
                "window": "early",
                "phases": {"early": "early", "middle": "middle", "late": "late"},
                "modality": "treatment",
                "influence": ["expertness"],
                "equivalence_bound": 0.1,
            },
            "cross_lagged": {"enabled": False, "clients_per_parameter": 2, "pairs": {}},
            "mediation": {"enabled": False, "session_trend": True, "chains": {}},
            "technique": {"enabled": False, "session_trend": True, "pairs": {}},
            "models": {
                "main": {
                    "label": "Empathy, then alliance, then outcome",
                    "variables": {
                        "empathy": {"construct": "empathy", "window": "session_1"},
                        "alliance": {"construct": "alliance", "window": "sessions_2_to_5"},
                        "outcome": {"construct": "outcome"},
                        "intake_level": {"construct": "intake"},
                    },
                    "syntax": "alliance ~ a*empathy + intake_level\noutcome ~ b*alliance + c*empathy + intake_level\n"
                    "indirect := a*b\ntotal := c + a*b\n",
                }
            },
        },
    },
}


def score_rows(
    client_no,
    score,
    *,
    instrument,
    timepoint="session",
    session=None,
    date=None,
    scale="total",
    rater="client",
    unit="mean",
    therapist_no=None,
    derived_from=None,
) -> pd.DataFrame:
    """Return rows of a score table, in the columns and types of ``scores.parquet``."""
    client_no = np.asarray(client_no)
    size = len(client_no)
    sessions = np.full(size, np.nan) if session is None else np.broadcast_to(np.asarray(session, dtype=float), size)
    frame = pd.DataFrame(
        {
            "site": "a",
            "client_id": [f"h{number}" for number in client_no],
            "client_no": pd.array(client_no, dtype="Int64"),
            "therapist_id": "t",
            "therapist_no": pd.array([None] * size if therapist_no is None else therapist_no, dtype="Int64"),
            "timepoint": timepoint,
            "session": pd.array([None if np.isnan(value) else int(value) for value in sessions], dtype="Int64"),
            "date": pd.to_datetime(pd.Series([date] * size) if date is None or isinstance(date, str) else pd.Series(date)),
            "rater": rater,
            "n_raters": 1,
            "instrument": instrument,
            "scale": scale,
            "score": np.asarray(score, dtype=float),
            "unit": unit,
            "score_mean": np.asarray(score, dtype=float),
            "score_sum": np.asarray(score, dtype=float) * 10,
            "n_items": 10,
            "n_answered": 10,
            "prorated": False,
            "level": "item",
            "derived_from": derived_from,
        }
    )
    return frame[list(SCORE_COLUMNS)]


def site_of(scores: list[pd.DataFrame], site: str = "a", **frames) -> SiteData:
    """Return a site that holds these score rows."""
    table = pd.concat(scores, ignore_index=True) if scores else pd.DataFrame(columns=list(SCORE_COLUMNS))
    return SiteData(site=site, label=site.upper(), scores=table, instruments=INSTRUMENTS, **frames)


def simulated(site: str, n: int = 300, therapists: int = 30, seed: int = 1, alliance_outcome: float = 0.3) -> SiteData:
    """Return a site in which standardised paths are: empathy -> alliance .5, alliance -> outcome as given, severity -> outcome -.4.

    The alliance is rated without error and alike in sessions 1 to 5; factors correlate with it as the tests state (.4, -.3, .2, 0).
    """
    random = np.random.default_rng(seed)
    client = np.arange(1, n + 1)
    therapist = random.integers(1, therapists + 1, n)
    empathy, severity = random.standard_normal(n), random.standard_normal(n)
    alliance = 0.5 * empathy + np.sqrt(0.75) * random.standard_normal(n)
    residual = np.sqrt(1 - alliance_outcome**2 - 0.16)
    better = alliance_outcome * alliance - 0.4 * severity + residual * random.standard_normal(n)

    def related(r: float) -> np.ndarray:
        return r * alliance + np.sqrt(1 - r * r) * random.standard_normal(n)

    clients = pd.DataFrame(
        {
            "client_no": pd.array(client, dtype="Int64"),
            "therapist_no": pd.array(therapist, dtype="Int64"),
            "social_relations": related(0.4),
            "life_events": related(-0.3),
            "motivation": related(0.2),
        }
    )
    common = {"therapist_no": therapist}
    scores = [
        *(score_rows(client, 5 + alliance, instrument="wai_36", session=number, **common) for number in range(1, 6)),
        score_rows(client, related(0.8), instrument="haq_2", session=3, **common),
        score_rows(client, related(0.5), instrument="wai_36", session=3, rater="therapist", **common),
        score_rows(client, related(0.7), instrument="wai_36", scale="bond", session=3, **common),
        score_rows(client, related(0.6), instrument="haq_2", scale="positive", session=3, **common),
        score_rows(client, 30 + 5 * empathy, instrument="care", session=1, unit="sum", **common),
        score_rows(client, 20 + 6 * severity, instrument="core_10", timepoint="intake", unit="sum", **common),
        score_rows(client, 15 - 6 * better, instrument="core_10", timepoint="post", unit="sum", **common),
    ]
    return site_of(scores, site, clients=clients)
