"""How far the answers depend on choices of analysis.

Requires: the tables, resolved configuration and provenance of every scenario asked for, and of base, with which they are compared; for the
multiverse every site's cleaned tables, and its scores under every way of scoring that a specification asks for.
Produces: `results/sensitivity/tables/` (scenario_comparison; with a multiverse specifications, node_influence, summary),
`results/sensitivity/index.html`, and `results/summaries/multiverse/{digest}/{site}/`.
"""

from alliance.sensitivity.targets import MULTIVERSE_TABLES


rule compare_scenarios:
    """The headline numbers of all scenarios of this run."""
    input:
        tables=[
            f"results/{scenario}/tables/{question}/{table}.csv"
            for scenario in COMPUTED
            for question, table in HEADLINE_TABLES
            if question in chosen_questions(scenario)
        ],
        configs=expand("results/{scenario}/resolved_config.json", scenario=COMPUTED),
        provenance=expand("results/{scenario}/provenance.json", scenario=COMPUTED),
        headlines=HEADLINES,
        lock=LOCK,
    output:
        update(
            report(
                "results/sensitivity/tables/scenario_comparison.csv",
                caption="../report/comparison.rst",
                category="Tables",
                subcategory="sensitivity",
                labels={"scenario": "all", "table": "scenario_comparison", "what it holds": "headline numbers of all scenarios"},
            )
        ),
    log:
        "results/logs/compare_scenarios.log",
    params:
        script=script("compare_scenarios.py"),
        code=code("compare_scenarios.py"),
        scenarios=canonical_json(COMPUTED),
        questions=canonical_json({scenario: chosen_questions(scenario) for scenario in COMPUTED}),
    shell:
        "{PYTHON} {params.script:q} --scenarios {params.scenarios:q} --questions {params.questions:q} --results results "
        "--headlines {input.headlines:q} --output {output:q} 2> {log:q}"


MULTIVERSE_OPTIONS = STUDY.multiverse_options() if STUDY.has_multiverse else {}
MULTIVERSE_DIGEST = STUDY.multiverse_digest() if STUDY.has_multiverse else "none"
MULTIVERSE_FOLDER = f"results/summaries/{MULTIVERSE}/{MULTIVERSE_DIGEST}"
MULTIVERSE_SCORES = [scoring_digest(section) for section in STUDY.multiverse_scorings()] if STUDY.has_multiverse else []


def code_of_multiverse(name):
    """A script with the modules that evaluate the effects declared, which it imports by name."""
    from alliance.sensitivity.targets import TARGETS

    modules = [PROJECT / "scripts" / "alliance" / "sensitivity" / f"{TARGETS[grid].module}.py" for grid in STUDY.base[MULTIVERSE]["grids"]]
    return digest_of_files(*code_files(PROJECT / "scripts" / name, *modules))


def multiverse_tables():
    """The tables of the multiverse where the configuration asks for one."""
    return [f"results/sensitivity/tables/{table}.csv" for table in MULTIVERSE_TABLES] if STUDY.has_multiverse else []


rule estimate_multiverse:
    """Every specification at one site."""
    input:
        status="results/sites/{site}/status.json",
        scores=lambda wildcards: [f"results/scores/{digest}/{wildcards.site}/scores.parquet" for digest in MULTIVERSE_SCORES],
        ratings="results/sites/{site}/ratings",
        lock=LOCK,
    output:
        summary=update(f"{MULTIVERSE_FOLDER}/{{site}}/summary.json"),
        moments=update(f"{MULTIVERSE_FOLDER}/{{site}}/moments.csv"),
        estimates=update(f"{MULTIVERSE_FOLDER}/{{site}}/estimates.csv"),
        vcov=update(f"{MULTIVERSE_FOLDER}/{{site}}/vcov.csv"),
        draws=update(f"{MULTIVERSE_FOLDER}/{{site}}/draws.csv"),
    log:
        "results/logs/estimate_multiverse/{site}.log",
    params:
        script=script("estimate_multiverse.py"),
        instruments=INSTRUMENTS,
        code=code_of_multiverse("estimate_multiverse.py"),
        instruments_digest=INSTRUMENTS_DIGEST,
        options=canonical_json(MULTIVERSE_OPTIONS),
        digest=MULTIVERSE_DIGEST,
        folder=MULTIVERSE_FOLDER,
    shell:
        "{PYTHON} {params.script:q} --site {wildcards.site:q} --site-tables results/sites/{wildcards.site:q} --scores results/scores "
        "--instruments {params.instruments:q} --options {params.options:q} --options-digest {params.digest:q} "
        "--output {params.folder:q}/{wildcards.site:q} 2> {log:q}"


rule pool_multiverse:
    """Every specification over sites, and what they say together."""
    input:
        statuses=expand("results/sites/{site}/status.json", site=STUDY.sites),
        summaries=expand(
            f"{MULTIVERSE_FOLDER}/{{site}}/{{part}}",
            site=STUDY.sites,
            part=SUMMARY_FILES,
        ),
        lock=LOCK,
    output:
        [update(f"results/sensitivity/tables/{table}.csv") for table in MULTIVERSE_TABLES],
    log:
        "results/logs/pool_multiverse.log",
    params:
        script=script("pool_multiverse.py"),
        code=code_of_multiverse("pool_multiverse.py"),
        sites=canonical_json(list(STUDY.sites)),
        options=canonical_json(MULTIVERSE_OPTIONS),
        folder=MULTIVERSE_FOLDER,
    shell:
        "{PYTHON} {params.script:q} --summaries {params.folder:q} --sites {params.sites:q} --site-tables results/sites "
        "--options {params.options:q} --output results/sensitivity/tables 2> {log:q}"


rule render_sensitivity:
    input:
        comparison="results/sensitivity/tables/scenario_comparison.csv",
        multiverse=multiverse_tables(),
        statuses=expand("results/sites/{site}/status.json", site=STUDY.sites),
        config=f"results/{BASE}/resolved_config.json",
        provenance=f"results/{BASE}/provenance.json",
        deviations=expand("results/{scenario}/deviations.csv", scenario=COMPUTED),
        references=REFERENCES,
        templates=[from_here(path) for path in sorted((PROJECT / "workflow" / "templates").glob("*"))],
        lock=LOCK,
    output:
        update(
            report(
                "results/sensitivity/index.html",
                caption="../report/sensitivity.rst",
                category="Pages",
                labels={"scenario": "all", "page": "sensitivity"},
            )
        ),
    log:
        "results/logs/render_sensitivity.log",
    params:
        script=script("render_sensitivity.py"),
        code=code("render_sensitivity.py"),
        sites=canonical_json(list(STUDY.sites)),
        multiverse=canonical_json(MULTIVERSE_OPTIONS),
        templates=TEMPLATES,
        preregistration=canonical_json(STUDY.preregistration),
    shell:
        "{PYTHON} {params.script:q} --sites {params.sites:q} --site-tables results/sites --tables results/sensitivity/tables "
        "--preregistration {params.preregistration:q} --deviations {input.deviations:q} --multiverse {params.multiverse:q} "
        "--config {input.config:q} --provenance {input.provenance:q} --references {input.references:q} --templates {params.templates:q} "
        "--output {output:q} 2> {log:q}"
