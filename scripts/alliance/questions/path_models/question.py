"""Path models: does empathy precede the alliance, and the alliance the outcome? (claims C1, E1, E7, F6, H9, I1 to I7, J1, J2)

The parts lie in modules of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alliance.questions import effects
from alliance.questions.contract import finish
from alliance.questions.part import Part, summary_fields
from alliance.questions.path_models import comparison as path_models_comparison
from alliance.questions.path_models import conditions, cross_lagged, mediation, pooling, sites, technique
from alliance.questions.path_models import fits as path_models_fits
from alliance.questions.path_models import indirect as path_models_indirect
from alliance.questions.path_models import parts as path_models_parts
from alliance.questions.path_models.parts import models_options, with_unchanged_comparisons, with_unchanged_models
from alliance.questions.path_models.sent import sent_by
from alliance.questions.sentences import Sentence
from alliance.questions.site_data import SiteData
from alliance.questions.summary import SiteSummary
from alliance.questions.unchanged import NOTHING, Unchanged

estimate_reads = (
    "alliance",
    "empathy",
    "regard",
    "unconditionality",
    "congruence",
    "adherence",
    "social_influence",
    "symptoms",
    "outcome",
    "early_gain",
    "dropout",
    "pooling.min_clients",
    "pooling.level",
    "resampling.draws",
    "questions.path_models",
)
pool_reads = ("pooling", "questions.path_models")
needs = ()
tables = (
    "parameters",
    "defined",
    "indirect",
    "fit",
    "comparison",
    "site_paths",
    "cross_lagged",
    "conditions",
    "diagnostics",
    "leave_one_out",
)

PARTS = {
    "cross_lagged": cross_lagged,
    "mediation": mediation,
    "conditions": conditions,
    "technique": technique,
}
"""Parts that read clients or sessions themselves; the others rest on the fits of the configured models."""
_ROWS_OF = {"mediation": "indirect", "technique": "conditions"}


def part_options(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the options of every model, by its name, and of the parts that read clients or sessions themselves."""
    return path_models_parts.part_options(options)


def estimate(site: SiteData, options: Mapping[str, Any], constants: Mapping[str, Any], unchanged: Unchanged = NOTHING) -> SiteSummary:
    """Return one site's part of every table.

    Clients whose alliance or empathy was measured after the outcome it should predict are left out and counted; paths between measures
    that were not taken strictly one after the other are flagged.

    Parameters
    ----------
    site : SiteData
    options : mapping
        The keys of ``estimate_reads``, and ``seed``.
    constants : mapping
        Not used.
    unchanged : Unchanged
        Parts, and models by their names, that are taken over.
    """
    own, given = options["questions"]["path_models"], part_options(options)
    every = sorted(own["models"])
    chosen = models_options(options, [name for name in every if name not in unchanged])
    fits = path_models_fits.site_fits(site, chosen)
    models = path_models_fits.estimate(site, fits, chosen)
    indirect = path_models_indirect.estimate(fits, chosen)
    comparison = path_models_comparison.estimate(fits, chosen)
    parts: dict[str, Part] = {
        "models": with_unchanged_models(models, unchanged, every, of_effects=False),
        "indirect": with_unchanged_models(indirect, unchanged, every, of_effects=True),
        "comparison": with_unchanged_comparisons(comparison, unchanged, own["comparisons"]),
        **{name: unchanged.part(name) if name in unchanged else part.estimate(site, given[name]) for name, part in PARTS.items()},
    }
    return SiteSummary(
        site=site.site,
        label=site.label,
        question="path_models",
        facts={name: part.facts for name, part in parts.items() if part.facts},
        **summary_fields(parts, own_models=("models", "indirect")),
    )


def pool(summaries: list[SiteSummary], options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables; see the results dictionary.

    Parameters
    ----------
    summaries : list of SiteSummary
    options : mapping
        The keys of ``pool_reads``, and ``seed``.
    tables : mapping
        Not used.
    """
    summaries = sorted(summaries, key=lambda one: one.site)
    gathered = effects.gather(summaries)
    own = {name: gathered[gathered["model"].eq(name)].reset_index(drop=True) for name in ("comparison", *PARTS)}
    of_models = gathered[~gathered["model"].isin(list(own))].reset_index(drop=True)
    sent = sent_by(summaries)
    pooled = pooling.pooled_fits(sent, options)
    found = pooling.pool(of_models[of_models["effect"].eq("")], pooled, sent, options)
    of_chains = mediation.pool(own["mediation"], summaries, options)
    found["indirect"] = effects.stack(path_models_indirect.pool(of_models, found["defined"], pooled, options), of_chains)
    found["comparison"] = path_models_comparison.pool(own["comparison"], pooled, summaries, options)
    equality = sites.equalities(sent, options)
    found["site_paths"] = sites.site_rows(equality, summaries, options)
    found["diagnostics"] = effects.stack(found["diagnostics"], sites.pooled_rows(equality))
    for name in ("cross_lagged", "conditions"):
        found[name] = PARTS[name].pool(own[name], summaries, options)
    found["conditions"] = effects.stack(found["conditions"], technique.pool(own["technique"], summaries, options))
    return {name: finish(table, "path_models", name) for name, table in found.items()}


def methods(options: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return what was done in this run, with citation keys."""
    return [
        *pooling.methods(options, tables),
        *path_models_indirect.methods(options, tables["indirect"]),
        *path_models_comparison.methods(options, tables["comparison"]),
        *sites.methods(options, tables["site_paths"]),
        *(sentence for name, part in PARTS.items() for sentence in part.methods(options, tables[_ROWS_OF.get(name, name)])),
    ]
