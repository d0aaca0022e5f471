"""What the path models of the configuration are fitted to at one site: one row a client, or a matrix the site published."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.correlations import therapist_codes
from alliance.questions.moments import no_moments
from alliance.questions.site_data import COVARIANCE, Published, SiteData
from alliance.statistics.structural_model import StructuralModel
from alliance.statistics.structural_optimum import Parameters
from alliance.variables.checks import OUTCOMES, PROCESS, PRODUCT
from alliance.variables.client import Measure, gain_window_overlap, measure, order_violations, product
from alliance.variables.path_model import PathModel, groups_of, path_model, plan
from alliance.variables.path_models import definitions

_LATER = (*OUTCOMES, "symptoms")


def block(model: str, group: str = "") -> str:
    """Return the name of a model's block of moments, or of one of its groups."""
    return f"path_models:{model}:{group}" if group else f"path_models:{model}"


def model_of(section: Mapping[str, Any], name: str) -> PathModel:
    """Return a model of the configuration's section ``questions.path_models``."""
    return path_model(section, name)


@dataclass(frozen=True)
class PathSample:
    """The clients of one site for one model.

    Attributes
    ----------
    name : str
        The model's name.
    model : PathModel
    rows : DataFrame
        One row a client with any of the model's variables, one column a variable, NaN where not known; of a model with groups only
        clients who are in one of them.
    therapists : ndarray or None
        Therapist of each row as a code; None where therapists are not known.
    group : ndarray of int, shape (n,)
        Which of the model's groups each row is in; 0 for a model of all clients.
    n_sessions : int or None
        Ratings behind the variable with the most of them.
    facts : dict
        Plain values for reports.
    cautions : dict of str to str
        By path (``outcome ~ alliance``), why its two ends are not strictly in the order of time; under ``""`` what concerns all.
    reason : str
        Why the model cannot be fitted here, in words; empty where it can.
    """

    name: str
    model: PathModel
    rows: pd.DataFrame
    therapists: np.ndarray | None
    group: np.ndarray
    n_sessions: int | None
    facts: dict[str, Any] = field(default_factory=dict)
    cautions: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    @property
    def n_clients(self) -> int:
        """Clients with any of the variables; with listwise deletion those with all."""
        return len(self.rows)

    @property
    def n_therapists(self) -> int | None:
        """Their therapists, None where not known."""
        return None if self.therapists is None else len(np.unique(self.therapists))

    @property
    def parts(self) -> list[tuple[pd.DataFrame, np.ndarray | None]]:
        """Rows and therapists of each group; of all clients for a model without groups."""
        places = [np.flatnonzero(self.group == group) for group in range(max(len(self.model.groups), 1))]
        return [(self.rows.iloc[place], None if self.therapists is None else self.therapists[place]) for place in places]

    @property
    def clustered(self) -> int | None:
        """Fewest therapists of any group, None where therapists are not known."""
        return None if self.therapists is None else min(len(np.unique(own)) for _, own in self.parts)

    @property
    def share_missing(self) -> float | None:
        """Share of the clients who lack one of the variables, or are in none of the model's groups."""
        total = self.facts["clients_with_any"]
        return 1 - self.facts["clients_complete"] / total if total else None

    @property
    def counts(self) -> dict[str, Any]:
        """Columns of every row of the site's summary."""
        return {
            "n_clients": self.n_clients,
            "n_therapists": self.n_therapists,
            "share_missing": self.share_missing,
        }

    @property
    def counts_by_group(self) -> dict[str, dict[str, Any]]:
        """What differs in the rows of one group."""
        return {
            name: {"n_clients": len(rows), "n_therapists": None if therapists is None else len(np.unique(therapists))}
            for name, (rows, therapists) in zip(self.model.groups, self.parts)
        }


def free_parameters(model: StructuralModel) -> list[float]:
    """Return how many parameters of each group concern more than the moments of exogenous variables.

    A parameter of several groups is shared out among them.
    """
    parameters = Parameters.of(plan(model, fixed_x=True))
    uses = np.bincount(np.concatenate(parameters.columns), minlength=parameters.count)
    return [float((1 / uses[own]).sum()) for own in parameters.columns]


def samples(site: SiteData, options: Mapping[str, Any]) -> dict[str, PathSample]:
    """Return the sample of every model; each study variable is made once.

    Models of one comparison leave out the same clients: whoever's ratings contradict the order in time of one of them.
    """
    section = options["questions"]["path_models"]
    known: dict[str, Measure] = {}

    def measured(definition: Mapping[str, Any]) -> Measure:
        key = json.dumps(definition, sort_keys=True)
        if key not in known:
            known[key] = measure(site, definition, options)
        return known[key]

    models, measures, constructs, violating = {}, {}, {}, {}
    for name in sorted(section["models"]):
        model = models[name] = model_of(section, name)
        defined = definitions(section, name)
        own: dict[str, Measure] = {}
        for variable in model.observed:
            factors = defined[variable].get("of") if defined[variable]["construct"] == PRODUCT else None
            own[variable] = product(*(measured(defined[one]) for one in factors)) if factors else measured(defined[variable])
        measures[name], constructs[name] = own, {variable: defined[variable]["construct"] for variable in model.observed}
        violating[name] = _order_violations(model, own, constructs[name])
    left_out = _same_in_comparisons(violating, [content["models"] for content in section["comparisons"].values()])
    return {name: _sample(site, name, models[name], measures[name], constructs[name], left_out[name], options) for name in models}


def _same_in_comparisons(violating: Mapping[str, pd.Index], comparisons: Sequence[Sequence[str]]) -> dict[str, pd.Index]:
    """Return, by model, the clients whom it or any model leaves out that it is compared with, directly or by way of others."""
    left_out = dict(violating)
    for _ in comparisons:
        for compared in comparisons:
            together = pd.Index([], dtype="int64")
            for name in compared:
                together = together.union(left_out[name])
            left_out |= dict.fromkeys(compared, together)
    return left_out


def _sample(
    site: SiteData,
    name: str,
    model: PathModel,
    measures: Mapping[str, Measure],
    construct: Mapping[str, str],
    violating: pd.Index,
    options: Mapping[str, Any],
) -> PathSample:
    section, minimum = options["questions"]["path_models"], options["pooling"]["min_clients"]
    clients = sorted(set().union(*(one.values.index for one in measures.values())))
    index = pd.Index(clients, dtype="int64", name="client_no")
    rows = pd.DataFrame({variable: found.values.reindex(index) for variable, found in measures.items()}, index=index)
    rows = rows.drop(violating, errors="ignore")
    group, left_out, no_groups = _groups(site, model, rows.index)
    complete = rows.notna().all(axis=1) & (group >= 0)
    available = [variable for variable in model.observed if not measures[variable].reason]
    facts = {
        "sources": {variable: measures[variable].source for variable in available},
        "not_measured": {variable: measures[variable].reason for variable in model.observed if variable not in available},
        "clients_with_any": len(rows),
        "clients_complete": int(complete.sum()),
        "left_out_predictor_after_outcome": len(violating),
        **left_out,
    }
    kept = complete.to_numpy() if section["missing"] == "listwise" else group >= 0
    rows, group = rows[kept], group[kept]
    codes, therapists_known = therapist_codes(pd.Index(rows.index), site.clients, site.scores)
    overlaps = _overlaps(model, measures, rows.index)
    facts["not_strictly_ordered"] = overlaps
    caution = _gain_caution(measures, construct, options)
    sessions = [found.n_sessions for found in measures.values() if found.n_sessions is not None]
    return PathSample(
        name=name,
        model=model,
        rows=rows,
        therapists=codes if therapists_known and len(codes) else None,
        group=group,
        n_sessions=max(sessions, default=None),
        facts=facts,
        cautions=_touched(model, overlaps) | ({"": caution} if caution else {}),
        reason=no_groups or _lacking(model, measures, rows, group, minimum, section["clients_per_parameter"]),
    )


def _groups(site: SiteData, model: PathModel, clients: pd.Index) -> tuple[np.ndarray, dict[str, int], str]:
    """Return the group of each client (-1 for none), how many are in none, and why nobody is in any."""
    if not model.groups:
        return np.zeros(len(clients), dtype=int), {}, ""
    group = np.full(len(clients), -1)
    if model.by not in site.clients:
        reason = f"not estimable: needs the column {model.by} of the clients table"
        return group, {"left_out_group_unknown": len(clients), "left_out_other_group": 0}, reason
    values = site.clients.drop_duplicates("client_no").set_index("client_no")[model.by].reindex(clients)
    known = values.notna().to_numpy()
    place = {name: position for position, name in enumerate(model.groups)}
    group[known] = [place.get(_group_name(value), -1) for value in values[known]]
    return group, {"left_out_group_unknown": int((~known).sum()), "left_out_other_group": int((known & (group < 0)).sum())}, ""


def _group_name(value: Any) -> str:
    """Return a value of the clients table as the configuration writes it; whole numbers without a decimal point."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)


def _lacking(
    model: PathModel,
    measures: Mapping[str, Measure],
    rows: pd.DataFrame,
    group: np.ndarray,
    minimum: int,
    clients_per_parameter: float,
) -> str:
    """Return in words what a site lacks for a model, in its first group that lacks something."""
    absent = [f"{variable}: {measures[variable].reason}" for variable in model.observed if measures[variable].reason]
    if absent:
        return f"not estimable: {'; '.join(absent)}"
    parameters = free_parameters(model)
    where = [f" in the group {name}" for name in model.groups] or [""]
    found = (
        _too_few(model, rows[group == place], own, where[place], minimum, clients_per_parameter) for place, own in enumerate(parameters)
    )
    return next((reason for reason in found if reason), "")


def _too_few(model: PathModel, rows: pd.DataFrame, parameters: float, where: str, minimum: int, clients_per_parameter: float) -> str:
    """Return in words why clients are too few; pairs of variables must be there together, or nothing says how they covary."""
    present = rows[list(model.observed)].notna().to_numpy(dtype=float)
    together = present.T @ present
    first, second = np.unravel_index(int(np.argmin(together)), together.shape)
    smallest = int(together[first, second])
    if smallest < minimum:
        pair = " and ".join(dict.fromkeys((model.observed[first], model.observed[second])))
        return f"not estimable: needs at least {minimum} clients with {pair}{where}; has {smallest}"
    needed = int(np.ceil(max(clients_per_parameter * parameters, len(model.observed) + 2)))
    usable = effective_clients(present)
    if usable < needed:
        return (
            f"not estimable: needs at least {needed} clients{where} for {parameters:.3g} free parameters "
            f"(clients_per_parameter {clients_per_parameter:g}); has {int(usable)} (mean over pairs of variables)"
        )
    return ""


def effective_clients(present: np.ndarray) -> float:
    """Return the harmonic mean, over pairs of variables, of the clients who have both.

    Parameters
    ----------
    present : ndarray of float, shape (n, p)
        1 where a client has a variable.
    """
    together = present.T @ present
    return _harmonic_mean(together[np.triu_indices(len(together), 1)] if len(together) > 1 else together.ravel())


def _harmonic_mean(counts: np.ndarray) -> float:
    """Return the harmonic mean, 0 where a count is 0; exact for equal counts, whose reciprocals do not add up to their number."""
    if not len(counts) or not (counts > 0).all():
        return 0.0
    return float(counts.min() / (counts.min() / counts).mean())


def _order_violations(model: StructuralModel, measures: Mapping[str, Measure], construct: Mapping[str, str]) -> pd.Index:
    """Return clients whose alliance or empathy was measured after an outcome that a path of the model predicts from it."""
    violating = pd.Index([], dtype="int64")
    for earlier, later in _observed_paths(model):
        if construct[earlier] in PROCESS and construct[later] in _LATER:
            violating = violating.union(order_violations(measures[earlier], measures[later]))
    return violating


def _observed_paths(model: StructuralModel) -> list[tuple[str, str]]:
    """Return predictor and outcome of every regression among observed variables; a factor stands for its indicators."""
    indicators: dict[str, list[str]] = {}
    for term in model.terms:
        if term.op == "=~":
            indicators.setdefault(term.lhs, []).append(term.rhs)
    return [
        (earlier, later)
        for term in model.terms
        if term.op == "~"
        for earlier in indicators.get(term.rhs, [term.rhs])
        for later in indicators.get(term.lhs, [term.lhs])
        if earlier in model.observed and later in model.observed
    ]


def _overlaps(model: StructuralModel, measures: Mapping[str, Measure], clients: pd.Index) -> dict[str, str]:
    """Return why the two ends of a path were not measured strictly one after the other, by path; only those of measures in sessions."""
    found = {}
    for term in model.terms:
        if term.op != "~" or term.lhs not in measures or term.rhs not in measures:
            continue
        earlier, later = measures[term.rhs], measures[term.lhs]
        if not (earlier.in_sessions and later.in_sessions):
            continue
        n = len(order_violations(earlier, later, same_time=True).intersection(clients))
        if n:
            found[f"{term.lhs} ~ {term.rhs}"] = (
                f"order in time is not strict: {term.lhs} was rated in the same session as {term.rhs}, or before it, "
                f"for {n} of {len(clients)} clients"
            )
    return found


def _touched(model: StructuralModel, overlaps: Mapping[str, str]) -> dict[str, str]:
    """Return the cautions of paths, and of the defined effects that are made of them, by the name of their row."""
    cautions = dict(overlaps)
    by_label = {
        label: overlaps.get(f"{term.lhs} ~ {term.rhs}", "") for term in model.terms if term.op == "~" for label in term.labels if label
    }
    for item in model.defined:
        texts = [by_label.get(name, cautions.get(name, "")) for name in item.names]
        if any(texts):
            cautions[item.name] = next(text for text in texts if text)
    return cautions


def shared_labels(model: StructuralModel) -> dict[str, str]:
    """Return, by defined effect, what is to be said of its standardised value where one label stands for several coefficients."""
    groups = max(len(groups_of(model)), 1)
    uses = Counter(label for term in model.terms for label in (term.labels * groups if len(term.labels) == 1 else term.labels) if label)
    found: dict[str, str] = {}
    for item in model.defined:
        for name in item.names:
            if uses[name] > 1:
                text = f"the label {name} stands for {uses[name]} coefficients, which differ in standard deviations: the first is taken"
                found.setdefault(item.name, text)
            elif name in found:
                found.setdefault(item.name, found[name])
    return found


def touched_over_sites(model: StructuralModel, sites_by_path: Mapping[str, int]) -> dict[str, str]:
    """Return the same for rows over sites, from the number of sites where a path's two ends overlap in time."""
    return _touched(
        model,
        {path: f"order in time is not strict at {n} site{'s' if n > 1 else ''} (see the sites' rows)" for path, n in sites_by_path.items()},
    )


def _gain_caution(measures: Mapping[str, Measure], construct: Mapping[str, str], options: Mapping[str, Any]) -> str:
    if "early_gain" not in construct.values():
        return ""
    found = [gain_window_overlap(measures[name], options) for name, what in construct.items() if what == "alliance"]
    return next((text for text in found if text), "")


@dataclass(frozen=True)
class PublishedSample:
    """A published matrix for one model.

    Attributes
    ----------
    name : str
    model : PathModel
    moments : DataFrame
        Its rows, under the names of the model's variables.
    covariance : DataFrame
        NaN in holes.
    n : float
        Harmonic mean of the clients behind its cells.
    correlations_only : bool
        Whether units are unknown.
    reason : str
        Why the model cannot be fitted to it.
    """

    name: str
    model: PathModel
    moments: pd.DataFrame
    covariance: pd.DataFrame
    n: float
    correlations_only: bool
    reason: str


def published_samples(published: Published, options: Mapping[str, Any]) -> dict[str, PublishedSample]:
    """Return what a site's published matrix holds for every model."""
    section, minimum = options["questions"]["path_models"], options["pooling"]["min_clients"]
    found = {}
    for name in sorted(section["models"]):
        model = model_of(section, name)
        moments = no_moments() if model.groups else _published_moments(published, name, definitions(section, name), model, minimum)
        matrix, smallest, n = _published_matrix(moments, model)
        holes = [
            f"{first} with {second}"
            for position, first in enumerate(model.observed)
            for second in model.observed[position + 1 :]
            if not np.isfinite(matrix.loc[first, second])
        ]
        reason = ""
        if model.groups:
            reason = f"not estimable at this site: its published matrix does not tell groups of {model.by} apart; its own summary would"
        elif holes:
            reason = f"not estimable at this site: it published no usable correlation of {', '.join(holes)}"
        elif smallest < minimum:
            reason = f"not estimable: needs at least {minimum} clients; has {smallest}"
        correlations_only = bool(len(moments)) and not moments["method"].eq(COVARIANCE).any()
        found[name] = PublishedSample(name, model, moments, matrix, n, correlations_only, reason)
    return found


def _published_moments(
    published: Published, name: str, defined: Mapping[str, Mapping[str, Any]], model: StructuralModel, minimum: int
) -> pd.DataFrame:
    """Return the rows of a published matrix that concern a model, under the names of its variables.

    A published variable is a model's variable by its name, else by its construct where only one variable of the model has it.
    """
    rows = published.moments
    own = rows[rows["block"].eq(block(name))]
    rows = own if len(own) else rows
    names = {variable: variable for variable in model.observed}
    constructs = [defined[variable]["construct"] for variable in model.observed]
    for variable, construct in zip(model.observed, constructs):
        if constructs.count(construct) == 1:
            names.setdefault(construct, variable)
    rows = rows.assign(var1=rows["var1"].map(names), var2=rows["var2"].map(names)).dropna(subset=["var1", "var2"])
    place = {variable: position for position, variable in enumerate(model.observed)}
    swapped = rows["var1"].map(place) > rows["var2"].map(place)
    columns = {"var1": "var2", "var2": "var1", "mean1": "mean2", "mean2": "mean1"}
    rows = pd.concat([rows[~swapped], rows[swapped].rename(columns=columns)])
    rows = rows[rows["cov"].notna() & rows["n"].fillna(0).ge(minimum)]
    rows = rows.assign(block=block(name), level="client", first=rows["var1"].map(place), second=rows["var2"].map(place))
    rows = rows.sort_values(["first", "second"], kind="stable").drop_duplicates(["var1", "var2"])
    return rows.drop(columns=["first", "second"]).reset_index(drop=True).reindex(columns=no_moments().columns)


def _published_matrix(moments: pd.DataFrame, model: StructuralModel) -> tuple[pd.DataFrame, int, float]:
    """Return the matrix (NaN in holes), the smallest and the harmonic mean number of clients of its cells."""
    names = list(model.observed)
    matrix = pd.DataFrame(np.nan, index=names, columns=names)
    for row in moments.itertuples(index=False):
        matrix.loc[row.var1, row.var2] = matrix.loc[row.var2, row.var1] = row.cov
    correlations = not len(moments) or not moments["method"].eq(COVARIANCE).any()
    for name in names:
        if correlations:
            matrix.loc[name, name] = 1.0
    n = moments.loc[moments["var1"].ne(moments["var2"]), "n"].astype("float64")
    if not correlations:
        lacking = [name for name in names if not matrix.loc[name, name] > 0]
        matrix.loc[lacking, :] = np.nan
        matrix.loc[:, lacking] = np.nan
    return matrix, int(n.min()) if len(n) else 0, float(np.floor(_harmonic_mean(n.to_numpy())))
