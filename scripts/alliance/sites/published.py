"""Names in what a site published: a misspelt one would be left unused without a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alliance.configuration.errors import nearest
from alliance.issues import Issue, Severity, shown
from alliance.variables.checks import CONDITIONS
from alliance.variables.path_models import RESERVED, definitions

if TYPE_CHECKING:
    import pandas as pd

CONSTRUCTS = ("alliance", *CONDITIONS, "intake", "outcome")


@dataclass(frozen=True)
class NamesInUse:
    """Names that a study's questions look for in published matrices and effects.

    Attributes
    ----------
    variables : list of str
        Variables and constructs of path models, constructs, client factors.
    questions, models, factors, instruments : list of str
        Questions, path models, client factors and keys of instruments.
    """

    variables: list[str]
    questions: list[str]
    models: list[str]
    factors: list[str]
    instruments: list[str]


def names_in_use(configurations: Iterable[Mapping[str, Any]], instruments: Iterable[str]) -> NamesInUse:
    """Return the names that any of a study's configurations (one a scenario) looks for."""
    variables, questions, models, factors = set(CONSTRUCTS), set(), set(RESERVED), set()
    for configuration in configurations:
        asked = configuration["questions"]
        questions.update(asked)
        factors.update(asked.get("client_factors", {}).get("factors") or {})
        section = asked.get("path_models", {})
        for name in section.get("models") or {}:
            models.add(name)
            for variable, content in definitions(section, name).items():
                variables.update((variable, content["construct"]))
    return NamesInUse(sorted(variables | factors), sorted(questions), sorted(models), sorted(factors), sorted(instruments))


def unused_names(site: str, moments: pd.DataFrame | None, effects: pd.DataFrame | None, names: NamesInUse) -> list[Issue]:
    """Return a warning (A13) for each name of a site's published matrix or effects that no question looks for.

    Parameters
    ----------
    site : str
        Id of the site.
    moments, effects : DataFrame or None
        Content of ``published_moments.csv`` and ``published_effects.csv``.
    names : NamesInUse
        What the study looks for.
    """
    found: dict[tuple[str, str], str] = {}
    if moments is not None:
        for name in dict.fromkeys(moments[["var1", "var2"]].to_numpy().ravel()):
            instrument, dot, _ = str(name).partition(".")
            known = names.instruments if dot else names.variables
            if instrument not in known:
                found["variable", str(name)] = nearest(instrument, known)
    if effects is not None:
        columns = {name: effects[name].fillna("").astype(str) for name in ("question", "model", "parameter")}
        for question, model, parameter in sorted(set(zip(columns["question"], columns["model"], columns["parameter"]))):
            if question not in names.questions:
                found["question", question] = nearest(question, names.questions)
            elif question == "client_factors" and parameter not in names.factors:
                found["factor", parameter] = nearest(parameter, names.factors)
            elif question == "path_models" and model not in names.models:
                found["model", model] = nearest(model, names.models)
    fix = "Correct the name where it is misspelt; else nothing to do: what is named so is not used."
    return [
        Issue("A13", Severity.WARN, f"No question of this study has the {kind} {shown(name)!r}{hint}.", fix, site=site)
        for (kind, name), hint in sorted(found.items())
    ]
