"""Write every path model of a scenario as an R script with its summary data, to be run with lavaan."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alliance.files import hold_text_as_python, read_json, write_text
from alliance.portable.lavaan import LavaanModel, lavaan_script
from alliance.questions import pooled_sites
from alliance.questions.path_models.pooling import PooledFit, pooled_fits
from alliance.questions.path_models.sample import block
from alliance.questions.path_models.sent import Sent, sent_by, site_moments
from alliance.questions.summary import SiteSummary
from alliance.statistics.within_sites import GroupsWithinSites
from alliance.variables.path_model import plan


def lavaan_model(name: str, found: PooledFit, sent: Sequence[Sent], options: Mapping[str, Any], study: Mapping[str, Any]) -> LavaanModel:
    """Return what a model's script tells."""
    content = options["questions"]["path_models"]["models"][name]
    minimum = options["pooling"]["min_clients"]
    sites = {}
    for one in sent if not found.model.groups else ():
        own = site_moments(one, name, found.model)
        if own is not None and one.blocks[block(name)].of(list(found.model.observed)).n.min() >= minimum:
            sites[one.site] = (own.n, own.covariance)
    fitted = found.fitted is not None and found.within is not None
    matrix = found.within.covariances if isinstance(found.within, GroupsWithinSites) else getattr(found.within, "correlation", None)
    return LavaanModel(
        name=name,
        label=content["label"],
        syntax=content["syntax"],
        variables=found.model.observed,
        exogenous=plan(found.model).exogenous,
        min_clients=minimum,
        sites=sites,
        correlation=matrix if fitted else None,
        sampling=found.within.acov if fitted else None,
        n=found.within.n if fitted else 0.0,
        n_sites=found.counts["n_sites"],
        n_clients=found.counts["n_clients"],
        reason=found.fitted.reason if fitted else found.reason,
        groups=found.model.groups,
        group_equal=found.model.group_equal,
        group_partial=found.model.group_partial,
        **study,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the step; return the exit status."""
    hold_text_as_python()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", required=True)
    parser.add_argument("--study", required=True, type=json.loads, help="title of the study, and whether it is simulated, as JSON")
    parser.add_argument("--summaries", required=True, type=Path, help="folder with one folder of summaries a site")
    parser.add_argument("--sites", required=True, type=json.loads, help="site ids as a JSON list")
    parser.add_argument("--site-tables", required=True, type=Path, help="folder with one folder of cleaned tables a site")
    parser.add_argument("--options", required=True, type=json.loads, help="what the question reads of the configuration, as JSON")
    parser.add_argument("--output", required=True, type=Path, help="folder for one script a model")
    given = parser.parse_args(arguments)

    statuses = [read_json(given.site_tables / site / "status.json") for site in sorted(given.sites)]
    left_out = pooled_sites.left_out(statuses, given.options["pooling"]["sites"])
    sent = sent_by(pooled_sites.without([SiteSummary.read(given.summaries / site) for site in sorted(given.sites)], left_out))
    study = {"study": given.study["title"], "simulated": given.study["simulated"], "scenario": given.scenario}
    shutil.rmtree(given.output, ignore_errors=True)
    given.output.mkdir(parents=True)
    for name, found in pooled_fits(sent, given.options).items():
        write_text(given.output / f"{name}.R", lavaan_script(lavaan_model(name, found, sent, given.options, study)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
