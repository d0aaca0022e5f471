"""Tables to pages, and the record of what they rest on.

Requires: the tables of a scenario, every site's status and faults, the instruments and the references.
Produces: `results/{scenario}/resolved_config.json`, `constants.json`, `provenance.json`, `deviations.csv` and `report/`.
"""

from alliance.configuration.preregistration import leaves, part


def tables_of_scenario(wildcards):
    return [
        f"results/{wildcards.scenario}/tables/{question}/{table}.csv"
        for question in STUDY.enabled_questions(wildcards.scenario)
        for table in STUDY.questions[question].tables
    ]


def resolved_config(wildcards):
    return canonical_json(STUDY.scenarios[wildcards.scenario])


def reason_for_scenario(wildcards):
    return STUDY.reasons[wildcards.scenario]


def constants_of_scenario(wildcards):
    return [
        f"results/constants/{question}/{STUDY.estimate_digest(wildcards.scenario, question)}.json"
        for question in STUDY.enabled_questions(wildcards.scenario)
        if STUDY.questions[question].prepares
    ]


def all_code(wildcards):
    """Every file that a number or a page of a scenario can depend on."""
    scripts = ["clean_site.py", "score_site.py", "compare_sites.py", "render_reports.py"]
    files = {path for name in scripts for path in code_of(name)}
    files.update(code_of("estimate_site.py", *STUDY.enabled_questions(wildcards.scenario)))
    files.update(code_of("pool_question.py"))
    return [from_here(path) for path in sorted(files)]


rule record_provenance:
    input:
        statuses=expand("results/sites/{site}/status.json", site=STUDY.sites),
        constants=constants_of_scenario,
        benchmarks=BENCHMARKS,
        lock=LOCK,
    output:
        config=update("results/{scenario}/resolved_config.json"),
        constants=update("results/{scenario}/constants.json"),
        provenance=update("results/{scenario}/provenance.json"),
    log:
        "results/logs/record_provenance/{scenario}.log",
    params:
        script=script("record_provenance.py"),
        instruments=INSTRUMENTS,
        code=code("record_provenance.py"),
        hashed=all_code,
        hashed_digest=lambda wildcards: digest_of_files(*all_code(wildcards)),
        instruments_digest=INSTRUMENTS_DIGEST,
        config=resolved_config,
        reason=reason_for_scenario,
        project=from_here(PROJECT),
    shell:
        "{PYTHON} {params.script:q} --scenario {wildcards.scenario:q} --reason {params.reason:q} --config {params.config:q} "
        "--statuses {input.statuses:q} --constants {input.constants:q} --instruments {params.instruments:q} "
        "--code {params.hashed:q} --lock {input.lock:q} --project {params.project:q} --output results/{wildcards.scenario:q} 2> {log:q}"


def registered_of_run(wildcards):
    """What a scenario has of what was registered; nothing where nothing was, so that no change of the study concerns it."""
    scenario, registered = wildcards.scenario, STUDY.preregistration
    if registered is None:
        return canonical_json({"scenario": scenario, "scenarios": [], "questions": [], "config": {}, "base": None})
    keys = leaves(registered["config"])
    return canonical_json(
        {
            "scenario": scenario,
            "scenarios": list(STUDY.scenarios),
            "questions": STUDY.enabled_questions(scenario),
            "config": part(STUDY.scenarios[scenario], keys),
            "base": None if scenario == BASE else part(STUDY.base, keys),
        }
    )


rule list_deviations:
    input:
        statuses=[] if STUDY.preregistration is None else expand("results/sites/{site}/status.json", site=STUDY.sites),
        lock=LOCK,
    output:
        update("results/{scenario}/deviations.csv"),
    log:
        "results/logs/list_deviations/{scenario}.log",
    params:
        script=script("list_deviations.py"),
        code=code("list_deviations.py"),
        preregistration=canonical_json(STUDY.preregistration),
        run=registered_of_run,
    shell:
        "{PYTHON} {params.script:q} --preregistration {params.preregistration:q} --run {params.run:q} "
        "--statuses {input.statuses:q} --output {output:q} 2> {log:q}"


rule render_reports:
    input:
        tables=tables_of_scenario,
        statuses=expand("results/sites/{site}/status.json", site=STUDY.sites),
        scores=lambda wildcards: expand(
            f"{scores_folder(wildcards.scenario)}/{{site}}/{{part}}",
            site=STUDY.sites,
            part=["item_statistics.csv", "scale_moments.csv"],
        ),
        issues="results/issues.csv",
        config="results/{scenario}/resolved_config.json",
        constants="results/{scenario}/constants.json",
        provenance="results/{scenario}/provenance.json",
        deviations="results/{scenario}/deviations.csv",
        benchmarks=BENCHMARKS,
        references=REFERENCES,
        coverage=COVERAGE,
        headlines=HEADLINES,
        guide=[from_here(path) for path in sorted((PROJECT / "workflow" / "guide").glob("*.yaml"))],
        templates=[from_here(path) for path in sorted((PROJECT / "workflow" / "templates").glob("*"))],
        lock=LOCK,
    output:
        study=update(page_in_report("results/{scenario}/report/index.html", "study")),
        quality=update(page_in_report("results/{scenario}/report/quality.html", "quality")),
        dictionary=update(page_in_report("results/{scenario}/report/dictionary.html", "dictionary")),
        checklist=update(page_in_report("results/{scenario}/report/checklist.html", "checklist")),
        sites=update(directory("results/{scenario}/report/sites")),
    log:
        "results/logs/render_reports/{scenario}.log",
    params:
        script=script("render_reports.py"),
        instruments=INSTRUMENTS,
        code=lambda wildcards: code("render_reports.py", *STUDY.enabled_questions(wildcards.scenario)),
        instruments_digest=INSTRUMENTS_DIGEST,
        sites=canonical_json(list(STUDY.sites)),
        scores=lambda wildcards: scores_folder(wildcards.scenario),
        templates=TEMPLATES,
        guide=GUIDE,
        preregistration=canonical_json(STUDY.preregistration),
    shell:
        "{PYTHON} {params.script:q} --scenario {wildcards.scenario:q} --sites {params.sites:q} --site-tables results/sites "
        "--scores {params.scores:q} --tables results/{wildcards.scenario:q}/tables --issues {input.issues:q} "
        "--config {input.config:q} --constants {input.constants:q} --provenance {input.provenance:q} "
        "--preregistration {params.preregistration:q} --deviations {input.deviations:q} "
        "--instruments {params.instruments:q} --benchmarks {input.benchmarks:q} --references {input.references:q} --coverage {input.coverage:q} "
        "--guide {params.guide:q} --headlines {input.headlines:q} --workbook tables.xlsx "
        "--templates {params.templates:q} --output results/{wildcards.scenario:q}/report 2> {log:q}"


rule write_workbook:
    input:
        tables=tables_of_scenario,
        config="results/{scenario}/resolved_config.json",
        provenance="results/{scenario}/provenance.json",
        lock=LOCK,
    output:
        update("results/{scenario}/report/tables.xlsx"),
    log:
        "results/logs/write_workbook/{scenario}.log",
    params:
        script=script("write_workbook.py"),
        code=code("write_workbook.py"),
    shell:
        "{PYTHON} {params.script:q} --scenario {wildcards.scenario:q} --tables results/{wildcards.scenario:q}/tables "
        "--config {input.config:q} --provenance {input.provenance:q} --output {output:q} 2> {log:q}"
