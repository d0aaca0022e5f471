"""Path models as R scripts for lavaan, with their summary data, beside the tables.

Requires: `results/summaries/path_models/{digest}/*/`.
Produces: `results/{scenario}/lavaan/{model}.R`.
"""


def lavaan_scripts():
    """The folders of scripts of the chosen scenarios that ask about path models."""
    return [f"results/{scenario}/lavaan" for scenario in SCENARIOS if "path_models" in chosen_questions(scenario)]


rule write_lavaan_scripts:
    input:
        summaries=summaries_of("path_models"),
        statuses=expand("results/sites/{site}/status.json", site=STUDY.sites),
        lock=LOCK,
    output:
        update(directory("results/{scenario}/lavaan")),
    log:
        "results/logs/write_lavaan_scripts/{scenario}.log",
    params:
        script=script("write_lavaan_scripts.py"),
        code=code("write_lavaan_scripts.py"),
        study=canonical_json({name: STUDY.base["study"][name] for name in ("title", "simulated")}),
        summaries=summary_folder("path_models"),
        sites=canonical_json(list(STUDY.sites)),
        options=pool_options("path_models"),
    shell:
        "{PYTHON} {params.script:q} --scenario {wildcards.scenario:q} --study {params.study:q} --summaries {params.summaries:q} "
        "--sites {params.sites:q} --site-tables results/sites --options {params.options:q} --output {output:q} 2> {log:q}"
