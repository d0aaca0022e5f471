"""How far the answers depend on choices of analysis.

Requires: the tables, resolved configuration and provenance of every scenario asked for, and of base, with which they are compared.
Produces: `results/sensitivity/tables/scenario_comparison.csv`.
"""

from alliance.questions.headlines import load_headlines

HEADLINE_TABLES = sorted({(one.question, one.table) for one in load_headlines(Path(HEADLINES))})


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
        code=code("compare_scenarios.py"),
        lock=LOCK,
    output:
        update("results/sensitivity/tables/scenario_comparison.csv"),
    log:
        "results/logs/compare_scenarios.log",
    params:
        script=script("compare_scenarios.py"),
        scenarios=canonical_json(COMPUTED),
        questions=canonical_json({scenario: chosen_questions(scenario) for scenario in COMPUTED}),
    shell:
        "{PYTHON:q} {params.script:q} --scenarios {params.scenarios:q} --questions {params.questions:q} --results results "
        "--headlines {input.headlines:q} --output {output:q} 2> {log:q}"
