"""From raw site data to reports: a map over sites and a reduce over the study.

`make run` calls it through scripts/pipeline.py; `snakemake --cores 2` runs the demo study here, and
`snakemake --snakefile path/to/Snakefile --directory path/to/study` a study elsewhere. The study's folder is the
working directory; its configuration file is config.yaml there, or the one named by `--config study_config=FILE`.
"""

from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"


wildcard_constraints:
    site="[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?",
    scenario="[a-z][a-z0-9_]{0,40}",
    question="|".join(STUDY.questions),
    digest="[0-9a-f]{12}",


include: "workflow/rules/clean.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/estimate.smk"
include: "workflow/rules/pool.smk"
include: "workflow/rules/lavaan.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/sensitivity.smk"
include: "workflow/rules/export.smk"


rule all:
    """Reports, R scripts and the comparison of the scenarios asked for (SCENARIOS; base by default)."""
    default_target: True
    input:
        expand("results/{scenario}/report/{page}", scenario=SCENARIOS, page=["index.html", "tables.xlsx"]),
        lavaan_scripts(),
        "results/sensitivity/index.html",
        "results/issues.csv",


onsuccess:
    # The launcher writes the page itself, after it has told what changed.
    if not BY_LAUNCHER:
        from alliance.launch.overview import write_overview

        write_overview(STUDY, Path(TEMPLATES))


rule check_all:
    """Clean every site and gather the faults; no analysis."""
    input:
        expand("results/sites/{site}/status.json", site=STUDY.sites),


rule pool_all:
    """Tables, R scripts and comparison of the questions asked for (QUESTIONS; all by default), without the report."""
    input:
        lavaan_scripts(),
        "results/sensitivity/tables/scenario_comparison.csv",
        [
            f"results/{scenario}/tables/{question}/{table}.csv"
            for scenario in SCENARIOS
            for question in chosen_questions(scenario)
            for table in STUDY.questions[question].tables
        ],
