"""Factor models as the instrument files declare them: which indicators measure which factor, as text of a structural model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alliance.instruments.registry import Instrument
from alliance.questions.item_moments import item_name

ONE_FACTOR, THEORY, BOND_TASK_GOAL, BIFACTOR = "one_factor", "theory", "bond_task_goal", "bifactor"
GENERAL = "general"
MIN_ITEMS = 3
MIN_GROUP_ITEMS = 3
MIN_SCALE_ITEMS = 2

COMPARISONS = (
    (ONE_FACTOR, THEORY),
    (ONE_FACTOR, BOND_TASK_GOAL),
    (BOND_TASK_GOAL, THEORY),
    (THEORY, BIFACTOR),
    ("one_core", "two_cores"),
    ("one_construct", "constructs"),
)
"""Pairs of models that are compared, the more restricted first."""


@dataclass(frozen=True)
class FactorModel:
    """A confirmatory factor model.

    Attributes
    ----------
    name : str
        ``one_factor``, ``theory``, ...
    factors : dict of str to tuple of str
        Indicators of every factor; of a bifactor model without the general one.
    general : str
        The general factor, which all indicators measure beside one other, all factors uncorrelated; empty without one.
    """

    name: str
    factors: dict[str, tuple[str, ...]]
    general: str = ""

    @property
    def indicators(self) -> tuple[str, ...]:
        """All indicators, each once."""
        return tuple(dict.fromkeys(name for names in self.factors.values() for name in names))

    @property
    def loadings(self) -> list[tuple[str, str]]:
        """Pairs of factor and indicator, the general factor first."""
        of_general = [(self.general, name) for name in self.indicators] if self.general else []
        return of_general + [(factor, name) for factor, names in self.factors.items() for name in names]

    @property
    def syntax(self) -> str:
        """The model in the notation of lavaan; factors are to have a variance of 1."""
        lines = [f"{self.general} =~ {' + '.join(self.indicators)}"] if self.general else []
        return "\n".join([*lines, *(f"{factor} =~ {' + '.join(names)}" for factor, names in self.factors.items())])


@dataclass(frozen=True)
class AbsentModel:
    """A model that an instrument's theory calls for and that cannot be fitted, and why."""

    name: str
    reason: str


def instrument_models(instrument: Instrument, items: Sequence[int]) -> list[FactorModel | AbsentModel]:
    """Return the models of an instrument whose items are there.

    ``one_factor``; ``theory``: its scales as correlated factors; ``bond_task_goal``: bond against task and goal together, of instruments
    with these scales; ``bifactor``: a general factor beside the scales. An instrument of one scale, or of scales with one item each, has
    one factor only.

    Parameters
    ----------
    instrument : Instrument
    items : sequence of int
        Item numbers that were answered at all.
    """
    if len(items) < MIN_ITEMS:
        return [AbsentModel(ONE_FACTOR, f"needs at least {MIN_ITEMS} items; has {len(items)}")]
    names = tuple(item_name(item) for item in items)
    found: list[FactorModel | AbsentModel] = [FactorModel(ONE_FACTOR, {instrument.construct: names})]
    # A factor must not be called like an item or like the general factor.
    scales = {f"{name}_scale" if name in (*names, GENERAL) else name: members for name, members in own_scales(instrument, items).items()}
    if len(scales) < 2 or all(len(members) < MIN_SCALE_ITEMS for members in scales.values()):
        return found
    if {name for members in scales.values() for name in members} != set(names):
        return [*found, AbsentModel(THEORY, "needs every item in a scale; has items that belong to the total only")]
    short = min(scales, key=lambda scale: len(scales[scale]))
    if len(scales[short]) < MIN_SCALE_ITEMS:
        return [*found, AbsentModel(THEORY, f"needs at least {MIN_SCALE_ITEMS} items a scale; {short} has {len(scales[short])}")]
    found.append(FactorModel(THEORY, scales))
    if {"bond", "task", "goal"} <= set(scales):
        rest = {name: members for name, members in scales.items() if name not in ("bond", "task", "goal")}
        found.append(FactorModel(BOND_TASK_GOAL, {"bond": scales["bond"], "task_goal": (*scales["task"], *scales["goal"]), **rest}))
    if len(scales[short]) < MIN_GROUP_ITEMS:
        reason = f"needs at least {MIN_GROUP_ITEMS} items a scale beside the general factor; {short} has {len(scales[short])}"
        return [*found, AbsentModel(BIFACTOR, reason)]
    return [*found, FactorModel(BIFACTOR, scales, GENERAL)]


def own_scales(instrument: Instrument, items: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """Return the items of every scale that is scored and not made of other scales, as names."""
    there = set(items)
    scales = {name: scale for name, scale in instrument.scales.items() if scale.scored and scale.items}
    found = {name: tuple(item_name(item) for item in instrument.scale_items(name) if item in there) for name in scales}
    return {name: members for name, members in found.items() if members}


def nested(restricted: FactorModel, full: FactorModel) -> bool:
    """Return whether the first model is the second with restrictions, so that their chi-squares may be subtracted.

    Factors that are joined are factors that correlate 1. Three correlated factors are a bifactor model with proportional loadings, since
    a second-order factor then explains any correlations of theirs (Yung, Thissen & McLeod, 1999); more factors, or two, are not.
    """
    if restricted.general or set(restricted.indicators) != set(full.indicators):
        return False
    if full.general:
        return len(restricted.factors) == 1 or (len(restricted.factors) == 3 and restricted.factors == full.factors)
    return all(any(set(small) <= set(large) for large in restricted.factors.values()) for small in full.factors.values())


CORES: Mapping[str, frozenset[str]] = {
    "attachment": frozenset({"attachment"}),
    "collaboration": frozenset({"collaboration", "tasks", "goals", "participation"}),
}
"""The two cores of the review and the constructs of the content map (:mod:`alliance.instruments.content`) that count as each: agreement
on tasks and goals is how the inventories of one theory measure collaboration, active participation is willingness to invest."""


def core_of(instrument: Instrument, scale: str) -> str:
    """Return which of the two cores a scale is meant to measure; empty where neither or both."""
    declared = instrument.composites.get(scale)
    measured = set(declared.measures) if declared is not None else set()
    cores = [core for core, constructs in CORES.items() if measured & constructs]
    return cores[0] if len(cores) == 1 else ""
