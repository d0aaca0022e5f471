"""What ``config.yaml`` may hold. The comments for users stand in ``config.yaml`` itself; a test keeps the two in step."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from alliance.configuration.errors import similar
from alliance.configuration.publishing import Publish
from alliance.configuration.validation import StrictModel, calendar_day

Rater = Literal["client", "therapist", "observer"]
Condition = Literal["empathy", "regard", "unconditionality", "congruence"]
Timepoint = Literal["intake", "session", "post", "follow_up"]
Share = Annotated[float, Field(ge=0, le=1)]
Pair = Annotated[list[int], Field(min_length=2, max_length=2)]
SharePair = Annotated[list[Share], Field(min_length=2, max_length=2)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
ScoreName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)?$")]


def _inside(path: str | None) -> str | None:
    """Refuse paths that leave the study's folder."""
    if path is None:
        return None
    if path.startswith(("/", "~", "\\")) or re.match(r"[A-Za-z]:", path) or "$" in path or "%" in path or "\\" in path:
        raise ValueError("must be a path relative to the study's folder, with forward slashes and no variables")
    if ".." in path.split("/"):
        raise ValueError("must not leave the study's folder (no '..')")
    if path.strip("/") in ("", "."):
        raise ValueError("must name a folder below the study's folder")
    if path.strip("/").split("/")[0] in ("results", ".snakemake"):
        raise ValueError("must not lie in results/ or .snakemake/: these are rewritten by every run")
    return path.strip("/")


RelativePath = Annotated[str, AfterValidator(_inside)]


def _ascending(pair: list[int]) -> list[int]:
    if pair[0] > pair[1]:
        raise ValueError(f"the first value ({pair[0]}) is larger than the last ({pair[1]})")
    return pair


def _orcid(text: str) -> str:
    """Refuse an ORCID whose check digit (ISO 7064, MOD 11-2) is not the one of its digits."""
    if not re.fullmatch(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", text):
        raise ValueError("must be four groups of four digits, as 0000-0002-1825-0097")
    *digits, last = text.replace("-", "")
    total = 0
    for digit in digits:
        total = (total + int(digit)) * 2
    if "0123456789X"[(12 - total % 11) % 11] != last:
        raise ValueError("is no ORCID: its last digit does not fit the others; check for a slip")
    return text


class Author(StrictModel):
    name: Annotated[str, Field(min_length=1)]
    affiliation: str | None = None
    orcid: Annotated[str, AfterValidator(_orcid)] | None = None

    @model_validator(mode="before")
    @classmethod
    def name_alone(cls, given: Any) -> Any:
        """Take text for an author of whom only the name is told."""
        return {"name": given} if isinstance(given, str) else given


class Study(StrictModel):
    title: str
    simulated: bool = False
    authors: list[Author] = Field(default_factory=list)
    year: Annotated[int, Field(ge=1990, le=9999)] | None = None
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,30}$")] | None = None
    sites_dir: RelativePath
    instruments_dir: RelativePath | None = None
    seed: Annotated[int, Field(ge=0)] = 1993
    strict: bool = False


class Cleaning(StrictModel):
    max_file_mb: Annotated[float, Field(gt=0)] = 500
    max_listed: Annotated[int, Field(ge=1)] = 1000
    link_check: bool = False
    latest_date: Annotated[str, AfterValidator(calendar_day)] | None = None


class Scoring(StrictModel):
    missing_rule: Literal["instrument", "strict", "proration"] = "instrument"
    min_answered_proportion: Share = 0.8
    derive_short_forms: bool = True
    exclude_improvement_items: bool = False


class Window(StrictModel):
    sessions: Annotated[Pair, AfterValidator(_ascending)] | None = None
    phase: Annotated[SharePair, AfterValidator(_ascending)] | None = None
    last: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def one_way(self) -> Window:
        given = [name for name in ("sessions", "phase", "last") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of sessions, phase or last")
        return self


def _windows() -> dict[str, Window]:
    return {"early": Window(sessions=[1, 5]), "all": Window(sessions=[1, 999])}


class Measure(StrictModel):
    instruments: list[Name] = Field(default_factory=list)
    scale: Name = "total"
    rater: Rater = "client"


class Alliance(Measure):
    window: Name = "early"
    windows: dict[Name, Window] = Field(default_factory=_windows)

    @model_validator(mode="after")
    def window_is_declared(self) -> Alliance:
        if self.window not in self.windows:
            raise ValueError(f"window '{self.window}' is not among windows ({', '.join(self.windows)}){similar(self.window, self.windows)}")
        return self


class SessionMeasure(Measure):
    instruments: list[ScoreName] = Field(default_factory=list)
    window: Name = "early"


class OneMeasure(StrictModel):
    instrument: Name
    scale: Name = "total"


class Outcome(Measure):
    timepoint: Literal["post", "follow_up"] = "post"
    form: Literal["ancova", "residual_gain", "change"] = "ancova"
    tailored: OneMeasure | None = None
    broad: OneMeasure | None = None


class EarlyGain(StrictModel):
    window: Annotated[Pair, AfterValidator(_ascending)] = Field(default_factory=lambda: [0, 3])


class DropoutDefinition(StrictModel):
    reasons: list[Literal["planned", "unilateral", "administrative", "ongoing"]] | None = None
    share_of_planned_below: Share | None = None
    sessions_below: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def one_way(self) -> DropoutDefinition:
        if sum(value is not None for value in (self.reasons, self.share_of_planned_below, self.sessions_below)) != 1:
            raise ValueError("give exactly one of reasons, share_of_planned_below or sessions_below")
        return self


class Dropout(StrictModel):
    definition: Name = "unilateral"
    definitions: dict[Name, DropoutDefinition] = Field(default_factory=lambda: {"unilateral": DropoutDefinition(reasons=["unilateral"])})

    @model_validator(mode="after")
    def definition_is_declared(self) -> Dropout:
        if self.definition not in self.definitions:
            near = similar(self.definition, self.definitions)
            raise ValueError(f"definition '{self.definition}' is not among definitions ({', '.join(self.definitions)}){near}")
        return self


class PooledSites(StrictModel):
    leave_out: list[str] = Field(default_factory=list)
    leave_out_largest: Annotated[int, Field(ge=0)] = 0
    min_clients: Annotated[int, Field(ge=0)] = 0


class Pooling(StrictModel):
    metric: Literal["fisher_z", "r"] = "fisher_z"
    tau2: Literal["reml", "dersimonian_laird", "paule_mandel", "fixed"] = "reml"
    interval: Literal["guarded_hartung_knapp", "hartung_knapp", "z"] = "guarded_hartung_knapp"
    level: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95
    min_sites: Annotated[int, Field(ge=2)] = 2
    headline_sites: Annotated[int, Field(ge=2)] = 5
    min_clients: Annotated[int, Field(ge=4)] = 10
    sites: PooledSites = Field(default_factory=PooledSites)


class Resampling(StrictModel):
    draws: Annotated[int, Field(ge=200, le=100_000)] = 2000


class ConvergentValidity(StrictModel):
    enabled: bool = True
    timepoint_window: Name = "early"
    equivalence_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1


class Variable(StrictModel):
    construct_: str = Field(alias="construct")
    window: Name | None = None
    rater: Rater | None = None
    instrument: Name | None = None
    scale: Name | None = None
    timepoint: Timepoint | None = None
    of: list[Name] | None = None


class ModelGroups(StrictModel):
    by: ScoreName
    values: Annotated[list[Annotated[str, Field(pattern=r"^[^\s\[\]]([^\[\]]*[^\s\[\]])?$")]], Field(min_length=2)]

    @model_validator(mode="after")
    def a_value_stands_once(self) -> ModelGroups:
        twice = next((value for value in self.values if self.values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"'{twice}' stands twice in values; every group stands once")
        return self


GroupEqual = Literal[
    "loadings", "intercepts", "residuals", "residual.covariances", "lv.variances", "lv.covariances", "means", "regressions"
]


class PathModel(StrictModel):
    label: str = ""
    variables: dict[Name, Variable] = Field(default_factory=dict)
    groups: ModelGroups | None = None
    group_equal: list[GroupEqual] = Field(default_factory=list)
    group_partial: list[str] = Field(default_factory=list)
    syntax: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def what_is_equal_needs_groups(self) -> PathModel:
        if self.groups is None and (self.group_equal or self.group_partial):
            raise ValueError("group_equal and group_partial need groups, as groups: {by: treatment, values: [cognitive, psychodynamic]}")
        return self


class ModelComparison(StrictModel):
    label: str = ""
    models: Annotated[list[Name], Field(min_length=2)]


class EmpathyPhases(StrictModel):
    early: Name | None = None
    middle: Name | None = None
    late: Name | None = None


class Conditions(StrictModel):
    window: Name | None = None
    phases: EmpathyPhases = Field(default_factory=EmpathyPhases)
    modality: Name | None = "treatment"
    influence: list[Name] = Field(default_factory=lambda: ["expertness", "trustworthiness", "attractiveness"])
    equivalence_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1


class Series(StrictModel):
    construct_: Literal["alliance", "empathy", "symptoms"] = Field(alias="construct")
    rater: Rater | None = None
    instrument: Name | None = None
    scale: Name | None = None
    reliability: Annotated[float, Field(gt=0, lt=1)] | None = None


class SeriesPair(StrictModel):
    series: Annotated[dict[Name, Series], Field(min_length=2, max_length=2)]
    sessions: Annotated[list[Annotated[int, Field(ge=1, le=999)]], Field(min_length=3, max_length=12)]
    sessions_per_wave: Annotated[int, Field(ge=1, le=20)] = 1

    @model_validator(mode="after")
    def waves_follow_each_other(self) -> SeriesPair:
        if any(later - earlier < self.sessions_per_wave for earlier, later in pairwise(self.sessions)):
            raise ValueError("sessions must rise, and waves of sessions_per_wave sessions must not overlap")
        return self


class CrossLagged(StrictModel):
    enabled: bool = True
    clients_per_parameter: Annotated[float, Field(ge=1, le=100)] = 2.0
    pairs: dict[Name, SeriesPair] = Field(default_factory=dict)

    @model_validator(mode="after")
    def a_pair_is_given(self) -> CrossLagged:
        if self.enabled and not self.pairs:
            raise ValueError("no pair of measures is given; add one under pairs or set enabled: false")
        return self


class Chain(StrictModel):
    label: str = ""
    kind: Literal["1-1-1", "2-1-1"] = "1-1-1"
    from_: Variable = Field(alias="from")
    through: Variable
    to: Variable
    given: list[Variable] = Field(default_factory=list)
    lags: Annotated[list[Annotated[int, Field(ge=0, le=50)]], Field(min_length=1, max_length=2)]

    @model_validator(mode="after")
    def one_lag_a_link_of_sessions(self) -> Chain:
        links = 2 if self.kind == "1-1-1" else 1
        if len(self.lags) != links:
            raise ValueError(f"lags needs {links} number{'s' if links > 1 else ''} for a chain {self.kind}, one for every link of sessions")
        return self


class Mediation(StrictModel):
    enabled: bool = True
    session_trend: bool = True
    random_slopes: bool = True
    chains: dict[Name, Chain] = Field(default_factory=dict)

    @model_validator(mode="after")
    def a_chain_is_given(self) -> Mediation:
        if self.enabled and not self.chains:
            raise ValueError("no chain is given; add one under chains or set enabled: false")
        return self


class TechniquePair(StrictModel):
    label: str = ""
    technique: Variable
    alliance: Variable
    outcome: Variable
    lag: Annotated[int, Field(ge=1, le=50)] = 1
    window: Name | None = None


class Technique(StrictModel):
    enabled: bool = True
    session_trend: bool = True
    pairs: dict[Name, TechniquePair] = Field(default_factory=dict)

    @model_validator(mode="after")
    def a_pair_is_given(self) -> Technique:
        if self.enabled and not self.pairs:
            raise ValueError("no pair of technique and alliance is given; add one under pairs or set enabled: false")
        return self


class PathModels(StrictModel):
    enabled: bool = True
    missing: Literal["likelihood", "listwise"] = "likelihood"
    clients_per_parameter: Annotated[float, Field(ge=1, le=50)] = 3.0
    variables: dict[Name, Variable] = Field(default_factory=dict)
    models: dict[Name, PathModel] = Field(default_factory=dict)
    comparisons: dict[Name, ModelComparison] = Field(default_factory=dict)
    conditions: Conditions = Field(default_factory=Conditions)
    cross_lagged: CrossLagged = Field(default_factory=lambda: CrossLagged(enabled=False))
    mediation: Mediation = Field(default_factory=lambda: Mediation(enabled=False))
    technique: Technique = Field(default_factory=lambda: Technique(enabled=False))

    @model_validator(mode="after")
    def a_model_is_given(self) -> PathModels:
        if self.enabled and not self.models:
            raise ValueError("no model is given; add one under models or set enabled: false")
        return self


class Factor(StrictModel):
    category: Name
    reversed: bool = False


class FactorsOverTime(StrictModel):
    bands: dict[Literal["early", "middle", "late"], Name | None] = Field(default_factory=dict)
    first: Name | None = None
    second: Name | None = None
    equal_sessions: Annotated[int, Field(ge=1, le=50)] | None = None
    equivalence_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1


class ClientFactors(StrictModel):
    enabled: bool = True
    window: Name = "early"
    windows: list[Name] = Field(default_factory=list)
    raters: list[Rater] = Field(default_factory=list)
    factors: dict[str, Factor] = Field(default_factory=dict)
    severity_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1
    instrument_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1
    unique_shared: list[str] = Field(default_factory=list)
    clients_per_factor: Annotated[float, Field(ge=1, le=100)] = 5.0
    over_time: FactorsOverTime = Field(default_factory=FactorsOverTime)


class ScaleContrast(StrictModel):
    mean_of: Annotated[list[Name], Field(min_length=1)] = Field(default_factory=lambda: ["task", "goal"])
    against: Name = "bond"

    @model_validator(mode="after")
    def scales_differ(self) -> ScaleContrast:
        named = [*self.mean_of, self.against]
        if len(set(named)) < len(named):
            raise ValueError("mean_of and against must name different scales, each once")
        return self


class TherapistFactor(StrictModel):
    kind: Literal["training", "experience", "attachment", "introject", "alliance_training", "other"]


class DyadPair(StrictModel):
    client: str
    therapist: Name


class TherapistVariance(StrictModel):
    traits: list[str] = Field(default_factory=list)
    min_therapists: Annotated[int, Field(ge=3)] = 5
    min_clients: Annotated[int, Field(ge=2)] = 3


class TherapistFactors(StrictModel):
    enabled: bool = True
    windows: Annotated[list[Name], Field(min_length=1)] = Field(default_factory=lambda: ["early"])
    contrast: ScaleContrast = Field(default_factory=ScaleContrast)
    factors: dict[Name, TherapistFactor] = Field(default_factory=dict)
    after_training: Name | None = None
    pairs: list[DyadPair] = Field(default_factory=list)
    equivalence_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1
    power: Annotated[float, Field(gt=0.5, lt=1)] = 0.8
    low_power_r: Annotated[float, Field(gt=0, lt=1)] = 0.5
    variance: TherapistVariance = Field(default_factory=TherapistVariance)


Coding = Literal["as_estimated", "zero", "dropped", "imputed"]
OutcomeForm = Literal["ancova", "zero_order", "residual_gain", "change"]


class Moderator(StrictModel):
    variable: Name
    kind: Literal["category", "linear", "log"] = "linear"


class Phases(StrictModel):
    early: Name | None = "early"
    middle: Name | None = None
    late: Name | None = None
    averaged: Name | None = "all"


class WithinClients(StrictModel):
    client_mean: Literal["prior", "all"] = "prior"
    session_trend: bool = True


class Imputation(StrictModel):
    imputations: Annotated[int, Field(ge=20, le=1000)] = 20
    deltas: list[float] = Field(default_factory=lambda: [-0.5, -0.25, 0.0, 0.25])


class Headline(StrictModel):
    missing: Literal["complete", "likelihood", "imputed"] = "complete"
    therapists: Literal["jackknife", "random", "ignored"] = "jackknife"
    covariates: list[Name] = Field(default_factory=list)

    @model_validator(mode="after")
    def fits_together(self) -> Headline:
        if self.therapists == "random" and self.missing != "complete":
            raise ValueError("therapists: random goes with missing: complete only")
        return self


class AllianceOutcome(StrictModel):
    enabled: bool = True
    headline: Headline = Field(default_factory=Headline)
    windows: list[Name] = Field(default_factory=list)
    forms: list[OutcomeForm] = Field(default_factory=lambda: ["ancova", "zero_order", "residual_gain"])
    phases: Phases = Field(default_factory=Phases)
    equal_sessions: Annotated[int, Field(ge=1, le=50)] = 3
    moderators: dict[Name, Moderator] = Field(default_factory=dict)
    within: WithinClients = Field(default_factory=WithinClients)
    imputation: Imputation = Field(default_factory=Imputation)
    equivalence_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1
    nonsignificant_p: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    coding: Coding = "as_estimated"


class Change(StrictModel):
    reliable_change: Annotated[float, Field(gt=0)] | None = None
    cutoff: float | None = None
    reliability: Annotated[float, Field(ge=0, lt=1)] | None = None


class EarlyGains(StrictModel):
    enabled: bool = True
    windows: Annotated[list[Name], Field(min_length=1)] = Field(default_factory=lambda: ["early"])
    refuse_overlap: bool = False
    sudden_gain_points: Annotated[float, Field(gt=0)] | None = None
    change: Change = Field(default_factory=Change)


class Surface(StrictModel):
    label: str = ""
    x: Annotated[str, Field(pattern=r"^(alliance|clients|therapists)\.[A-Za-z][A-Za-z0-9_]*$")]
    y: Annotated[str, Field(pattern=r"^(alliance|clients|therapists)\.[A-Za-z][A-Za-z0-9_]*$")]
    outcome: Literal["outcome", "symptoms", "alliance", "dropout"]
    kind: Literal["congruence", "complementarity"] = "congruence"

    @model_validator(mode="after")
    def both_of_one_kind(self) -> Surface:
        of_alliance = [name.startswith("alliance.") for name in (self.x, self.y)]
        if any(of_alliance) and not all(of_alliance):
            raise ValueError("x and y must both be alliance.<rater>, or both columns (clients.<column>, therapists.<column>)")
        if self.x == self.y:
            raise ValueError("x and y are the same")
        if all(of_alliance) and self.outcome == "alliance":
            raise ValueError("the alliance cannot predict itself; choose another outcome")
        if not any(of_alliance) and self.outcome == "symptoms":
            raise ValueError("symptoms session by session need x and y of sessions: alliance.<rater>")
        return self


class Congruence(StrictModel):
    enabled: bool = True
    raters: Annotated[list[Rater], Field(min_length=2, max_length=2)] = Field(default_factory=lambda: ["client", "therapist"])
    scales: Annotated[list[Name], Field(min_length=1)] = Field(default_factory=lambda: ["total"])
    windows: Annotated[list[Name], Field(min_length=1)] = Field(default_factory=lambda: ["early"])
    session_window: Name = "all"
    commensurable: Literal["same_instrument", "percent_of_range"] = "same_instrument"
    centre: Literal["pooled_mean", "midpoint"] = "pooled_mean"
    band: Annotated[float, Field(gt=0, le=2)] = 0.5
    low_reliability: Annotated[float, Field(ge=0, le=1)] = 0.7
    least_share: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    axis_bound: Annotated[float, Field(gt=0)] = 0.5
    slope_bound: Annotated[float, Field(gt=0)] = 0.1
    largest_gap: Annotated[int, Field(ge=1, le=50)] = 5
    waves: Annotated[int, Field(ge=3, le=12)] = 5
    moderators: dict[Name, Annotated[str, Field(pattern=r"^(session|(clients|therapists)\.[A-Za-z][A-Za-z0-9_]*)$")]] = Field(
        default_factory=dict
    )
    surfaces: dict[Name, Surface] = Field(default_factory=dict)

    @model_validator(mode="after")
    def raters_differ(self) -> Congruence:
        if self.raters[0] == self.raters[1]:
            raise ValueError(f"raters: the two raters must differ; both are '{self.raters[0]}'")
        return self


class EventsPerParameter(StrictModel):
    low: Annotated[float, Field(gt=0, le=100)] = 10.0
    refuse: Annotated[float, Field(gt=0, le=100)] = 2.0

    @model_validator(mode="after")
    def refused_before_flagged(self) -> EventsPerParameter:
        if self.refuse > self.low:
            raise ValueError(f"refuse ({self.refuse:g}) is larger than low ({self.low:g})")
        return self


class PhaseOne(StrictModel):
    sessions: Annotated[Pair, AfterValidator(_ascending)] = Field(default_factory=lambda: [3, 5])
    rule: Literal["lowest_third", "below_mean_by", "drop_by"] = "lowest_third"
    amount: Annotated[float, Field(gt=0, le=5)] | None = None

    @model_validator(mode="after")
    def amount_goes_with_the_rule(self) -> PhaseOne:
        if (self.rule == "lowest_third") != (self.amount is None):
            raise ValueError("amount goes with rule below_mean_by or drop_by, and these need it (in SD); with lowest_third it is null")
        return self


class ClientTherapistPair(StrictModel):
    client: Name
    therapist: Name


class LeavingTreatment(StrictModel):
    enabled: bool = True
    window: Name = "session_1"
    lag: Annotated[int, Field(ge=1, le=10)] = 1
    carry: Annotated[int, Field(ge=0, le=10)] = 2
    baseline: Literal["log", "steps"] = "log"
    steps: Annotated[list[Annotated[int, Field(ge=2, le=999)]], Field(max_length=6)] = Field(default_factory=lambda: [2, 5, 9])
    horizons: Annotated[list[Annotated[int, Field(ge=1, le=200)]], Field(min_length=1, max_length=4)] = Field(
        default_factory=lambda: [5, 10]
    )
    contrast: Annotated[float, Field(gt=0, le=4)] = 1.0
    risk_groups: Annotated[int, Field(ge=2, le=10)] = 5
    events_per_parameter: EventsPerParameter = Field(default_factory=EventsPerParameter)
    phase_one: PhaseOne = Field(default_factory=PhaseOne)
    combinations: dict[Name, ClientTherapistPair] = Field(default_factory=dict)

    @model_validator(mode="after")
    def sessions_rise(self) -> LeavingTreatment:
        if any(later <= earlier for earlier, later in pairwise(self.steps)):
            raise ValueError("steps must rise")
        if any(later <= earlier for earlier, later in pairwise(self.horizons)):
            raise ValueError("horizons must rise")
        return self


class Drop(StrictModel):
    rule: Literal["drop"]
    sd: Annotated[float, Field(gt=0, le=10)] = 1.0


class ReliableDrop(StrictModel):
    rule: Literal["reliable_drop"]
    critical: Annotated[float, Field(gt=0, le=10)] = 1.96


class Decline(StrictModel):
    rule: Literal["decline"]
    sd: Annotated[float, Field(gt=0, le=10)] = 1.0


class VShape(StrictModel):
    rule: Literal["v_shape"]
    sd: Annotated[float, Field(gt=0, le=10)] = 2.0
    recovery: Annotated[float, Field(ge=0, le=10)] = 1.0
    within: Annotated[int, Field(ge=1, le=20)] = 3


class ControlChart(StrictModel):
    rule: Literal["control_chart"]
    sigma: Annotated[float, Field(gt=0, le=10)] = 3.0
    baseline: Annotated[int, Field(ge=3, le=100)] | None = None
    two_of_three: bool = False


class SelfReport(StrictModel):
    rule: Literal["self_report"]
    instrument: Name = "psq_rupture"
    rater: Literal["client", "therapist"] = "client"
    least_intensity: float = 2.0
    least_resolution: float = 4.0


class Observed(StrictModel):
    rule: Literal["observed"]
    codes: Annotated[list[str], Field(min_length=1)]
    repair_codes: list[str] = Field(default_factory=list)
    least_intensity: float | None = None


Criterion = Annotated[
    Drop | ReliableDrop | Decline | VShape | ControlChart | SelfReport | Observed,
    Field(discriminator="rule"),
]


class Repair(StrictModel):
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    within: Annotated[int, Field(ge=1, le=20)] = 3


class Coasting(StrictModel):
    reaches: Share = 0.9
    share: Share = 0.8
    sd: Annotated[float, Field(gt=0, le=5)] = 0.5


def _rupture_criteria() -> dict[str, Any]:
    return {"drop": Drop(rule="drop")}


class Ruptures(StrictModel):
    enabled: bool = True
    headline: Name = "drop"
    covariates: Literal["intake", "intake and early symptoms"] = "intake and early symptoms"
    criteria: dict[Name, Criterion] = Field(default_factory=_rupture_criteria)
    reliability_within: Annotated[float, Field(ge=0, lt=1)] | None = None
    min_sessions: Annotated[int, Field(ge=3, le=100)] = 4
    largest_gap: Annotated[int, Field(ge=1, le=20)] = 1
    repair: Repair = Field(default_factory=Repair)
    at_the_end: Literal["unrepaired", "left_out"] = "unrepaired"
    early_until: Annotated[int, Field(ge=1, le=200)] = 5
    min_group: Annotated[int, Field(ge=3, le=1000)] = 5
    match_within: Annotated[int, Field(ge=0, le=20)] = 1
    surrogates: Annotated[int, Field(ge=50, le=5000)] = 200
    coasting: Coasting = Field(default_factory=Coasting)

    @model_validator(mode="after")
    def headline_is_a_criterion(self) -> Ruptures:
        if not self.criteria:
            raise ValueError("no criterion is given; add one under criteria or set enabled: false")
        if self.headline not in self.criteria:
            near = similar(self.headline, self.criteria)
            raise ValueError(f"headline '{self.headline}' is none of the criteria ({', '.join(self.criteria)}){near}")
        return self


class Invariance(StrictModel):
    across: list[Literal["sites", "languages", "raters", "sessions"]] = Field(default_factory=lambda: ["sites", "languages", "raters"])
    cfi_drop: Annotated[float, Field(gt=0, lt=1)] = 0.010
    rmsea_rise: Annotated[float, Field(gt=0, lt=1)] = 0.015
    srmr_rise_loadings: Annotated[float, Field(gt=0, lt=1)] = 0.030
    srmr_rise_intercepts: Annotated[float, Field(gt=0, lt=1)] = 0.010
    largest_freed_share: Share = 0.2


class Composite(StrictModel):
    conditions: list[Condition] = Field(default_factory=lambda: list(get_args(Condition)))
    alliance: list[str] = Field(default_factory=lambda: ["task", "bond", "goal"])


class Measurement(StrictModel):
    enabled: bool = True
    windows: Annotated[list[Name], Field(min_length=1)] = Field(default_factory=lambda: ["early"])
    ordinal_categories: Annotated[int, Field(ge=2, le=7)] = 5
    low_reliability: Share = 0.7
    clients_per_variable: Annotated[float, Field(ge=1)] = 3.0
    reference_rater: Rater = "client"
    invariance: Invariance = Field(default_factory=Invariance)
    composite: Composite = Field(default_factory=Composite)


class CodedEvent(StrictModel):
    label: Annotated[str, Field(min_length=1)]
    code: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    target: str | None = None


class Moderation(StrictModel):
    event: Name
    by: str
    outcome: Literal["alliance", "symptoms"] = "alliance"


class InitiallyPoor(StrictModel):
    attention: Name | None = None
    initial: Annotated[int, Field(ge=2, le=20)] = 3
    attention_until: Annotated[int, Field(ge=3, le=200)] = 8
    clients: Annotated[int, Field(ge=12, le=1000)] = 15

    @model_validator(mode="after")
    def in_order(self) -> InitiallyPoor:
        if self.attention_until <= self.initial:
            raise ValueError(f"attention_until must lie after the initial sessions (1 to {self.initial})")
        return self


class RuptureWindows(StrictModel):
    criterion: Name = "drop"
    events_of: Literal["same_session", "session_before"] = "same_session"
    contrast: list[Name] = Field(default_factory=list)

    @model_validator(mode="after")
    def two_or_none(self) -> RuptureWindows:
        if self.contrast and (len(self.contrast) != 2 or self.contrast[0] == self.contrast[1]):
            raise ValueError("contrast names two different events, or none")
        return self


class Transitions(StrictModel):
    after: Name | None = None
    responses: Annotated[list[Name], Field(max_length=6)] = Field(default_factory=list)
    low: Annotated[float, Field(ge=1)] = 10
    refuse: Annotated[float, Field(ge=1)] = 3

    @model_validator(mode="after")
    def has_responses(self) -> Transitions:
        if self.after and not self.responses:
            raise ValueError("responses: name at least one event that may follow, or set after: null")
        return self


class CirclePosition(StrictModel):
    affiliation: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    dominance: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]


class Complementarity(StrictModel):
    after: Name | None = None
    client: CirclePosition = Field(default_factory=lambda: CirclePosition(affiliation="client_affiliation", dominance="client_dominance"))
    therapist: CirclePosition = Field(
        default_factory=lambda: CirclePosition(affiliation="therapist_affiliation", dominance="therapist_dominance")
    )


class Interventions(StrictModel):
    enabled: bool = True
    raters: Annotated[list[Rater], Field(min_length=1)] = Field(default_factory=lambda: ["client"])
    window: Name = "all"
    phases: list[Name] = Field(default_factory=list)
    lag: Annotated[int, Field(ge=1, le=10)] = 1
    equivalence_bound: Annotated[float, Field(gt=0, lt=1)] = 0.1
    events: dict[Name, CodedEvent] = Field(default_factory=dict)
    accuracy: list[Name] = Field(default_factory=list)
    curvilinear: list[Name] = Field(default_factory=list)
    moderations: dict[Name, Moderation] = Field(default_factory=dict)
    complementarity: Complementarity = Field(default_factory=Complementarity)
    initially_poor: InitiallyPoor = Field(default_factory=InitiallyPoor)
    ruptures: RuptureWindows = Field(default_factory=RuptureWindows)
    transitions: Transitions = Field(default_factory=Transitions)


Sessions = Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]


class Course(StrictModel):
    enabled: bool = True
    raters: list[Rater] = Field(default_factory=list)
    curve_sessions: Annotated[int, Field(ge=3, le=200)] = 20
    knot: Annotated[int, Field(ge=2)] = 3
    knots: Sessions = Field(default_factory=lambda: [2, 6])
    slope_bound: Annotated[float, Field(gt=0)] = 0.2
    outcome_bound: Annotated[float, Field(gt=0)] = 0.1
    outcome_sessions: Annotated[int, Field(ge=3, le=20)] = 8
    peak_sessions: Sessions = Field(default_factory=lambda: [1, 5])
    min_sessions: Annotated[int, Field(ge=4)] = 6
    averaged: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] = Field(default_factory=lambda: [1, 3, 5])
    periods: Sessions = Field(default_factory=lambda: [3, 8])
    cycle_sessions: Annotated[int, Field(ge=8)] = 10
    surrogates: Annotated[int, Field(ge=100, le=10_000)] = 200

    @model_validator(mode="after")
    def sessions_in_order(self) -> Course:
        for name, least in (("knots", 2), ("peak_sessions", 1), ("periods", 3)):
            first, last = getattr(self, name)
            if not least <= first < last:
                raise ValueError(f"{name}: the first is at least {least} and smaller than the last")
        if self.peak_sessions[1] - self.peak_sessions[0] > 9:
            raise ValueError("peak_sessions: at most ten sessions")
        if 2 * self.periods[0] > self.cycle_sessions:
            raise ValueError("cycle_sessions: at least twice the shortest of periods")
        return self


class ComponentContrast(StrictModel):
    mean_of: Annotated[list[Name], Field(min_length=1)] = Field(default_factory=lambda: ["task", "goal"])
    against: Name = "bond"


class HelpingAlliance(StrictModel):
    instruments: list[Name] = Field(default_factory=list)
    rater: Rater = "observer"


class Components(StrictModel):
    enabled: bool = True
    scales: Annotated[list[Name], Field(min_length=2, max_length=6)] = Field(default_factory=lambda: ["task", "bond", "goal"])
    phases: Annotated[dict[Name, Name], Field(min_length=1)] = Field(default_factory=lambda: {"early": "early"})
    contrast: ComponentContrast = Field(default_factory=ComponentContrast)
    conditions: list[Condition] = Field(default_factory=list)
    types: HelpingAlliance = Field(default_factory=HelpingAlliance)

    @model_validator(mode="after")
    def contrast_of_these_scales(self) -> Components:
        unknown = sorted({*self.contrast.mean_of, self.contrast.against} - set(self.scales))
        if unknown:
            raise ValueError(f"contrast names {', '.join(unknown)}, which is none of scales ({', '.join(self.scales)})")
        return self


class Questions(StrictModel):
    measurement: Measurement = Field(default_factory=lambda: Measurement(enabled=False))
    convergent_validity: ConvergentValidity = Field(default_factory=lambda: ConvergentValidity(enabled=False))
    path_models: PathModels = Field(default_factory=lambda: PathModels(enabled=False))
    client_factors: ClientFactors = Field(default_factory=lambda: ClientFactors(enabled=False))
    therapist_factors: TherapistFactors = Field(default_factory=lambda: TherapistFactors(enabled=False))
    alliance_outcome: AllianceOutcome = Field(default_factory=lambda: AllianceOutcome(enabled=False))
    early_gains: EarlyGains = Field(default_factory=lambda: EarlyGains(enabled=False))
    congruence: Congruence = Field(default_factory=lambda: Congruence(enabled=False))
    dropout: LeavingTreatment = Field(default_factory=lambda: LeavingTreatment(enabled=False))
    interventions: Interventions = Field(default_factory=lambda: Interventions(enabled=False))
    course: Course = Field(default_factory=lambda: Course(enabled=False))
    components: Components = Field(default_factory=lambda: Components(enabled=False))
    ruptures: Ruptures = Field(default_factory=lambda: Ruptures(enabled=False))

    @model_validator(mode="after")
    def early_gains_have_their_contrast(self) -> Questions:
        if self.early_gains.enabled and not self.alliance_outcome.enabled:
            raise ValueError("early_gains needs the contrast of early and late alliance: set alliance_outcome.enabled: true too")
        return self


class Statements(StrictModel):
    eligibility: str | None = None
    participants: str | None = None
    recruitment: str | None = None
    sample_size: str | None = None
    rater_training: str | None = None
    masking: str | None = None
    ethics: str | None = None
    interpretation: str | None = None
    funding: str | None = None
    interests: str | None = None
    availability: str | None = None


class Report(StrictModel):
    decimals: Annotated[int, Field(ge=1, le=4)] = 2
    statements: Statements = Field(default_factory=Statements)


class ExclusionRule(StrictModel):
    when: dict[Name, Name | list[Name]]
    reason: Annotated[str, Field(min_length=3)]


class Grid(StrictModel):
    nodes: dict[Name, dict[Name, dict[str, Any]]] = Field(default_factory=dict)
    exclude: list[ExclusionRule] = Field(default_factory=list)


class MultiverseSection(StrictModel):
    enabled: bool = False
    flips: Annotated[int, Field(ge=100, le=10_000)] = 500
    shuffles: bool = False
    grids: dict[Literal["alliance_outcome", "within_clients", "dropout", "rupture_outcome"], Grid] = Field(default_factory=dict)


class Configuration(StrictModel):
    """A whole ``config.yaml`` with defaults filled in."""

    study: Study
    cleaning: Cleaning = Field(default_factory=Cleaning)
    scoring: Scoring = Field(default_factory=Scoring)
    alliance: Alliance = Field(default_factory=Alliance)
    empathy: SessionMeasure = Field(default_factory=SessionMeasure)
    regard: SessionMeasure = Field(default_factory=SessionMeasure)
    unconditionality: SessionMeasure = Field(default_factory=SessionMeasure)
    congruence: SessionMeasure = Field(default_factory=SessionMeasure)
    social_influence: SessionMeasure = Field(default_factory=SessionMeasure)
    adherence: SessionMeasure = Field(default_factory=SessionMeasure)
    symptoms: Measure = Field(default_factory=Measure)
    outcome: Outcome = Field(default_factory=Outcome)
    early_gain: EarlyGain = Field(default_factory=EarlyGain)
    dropout: Dropout = Field(default_factory=Dropout)
    pooling: Pooling = Field(default_factory=Pooling)
    resampling: Resampling = Field(default_factory=Resampling)
    questions: Questions = Field(default_factory=Questions)
    multiverse: MultiverseSection = Field(default_factory=MultiverseSection)
    report: Report = Field(default_factory=Report)
    publish: Publish = Field(default_factory=Publish)
