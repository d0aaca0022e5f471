"""Scores for other programs (`make export`): not among the default targets, read by no other step.

Requires: `results/sites/*/`, `results/scores/{digest of scoring}/*/`.
Produces: `results/private/export/{scenario}/`: `sessions` and `clients` in one format, `variables.csv`, and beside each format the sites and
withdrawals it rests on, by which the launcher knows what may no longer be kept.
"""

from alliance.configuration.study import restrict
from alliance.portable import FOLDER, FORMATS, READS, origin_file


wildcard_constraints:
    format="|".join(FORMATS),


EXPORT_INPUT = {
    "statuses": expand("results/sites/{site}/status.json", site=STUDY.sites),
    "tables": expand("results/sites/{site}/{table}.parquet", site=STUDY.sites, table=CLEANED_TABLES),
    "scores": lambda wildcards: expand(
        f"{scores_folder(wildcards.scenario)}/{{site}}/{{part}}", site=STUDY.sites, part=["scores.parquet", "scale_moments.csv"]
    ),
    "instruments": INSTRUMENTS,
    "lock": LOCK,
}
EXPORT_PARAMS = {
    "script": script("export_scores.py"),
    "code": code("export_scores.py"),
    "sites": canonical_json({site: STUDY.withdrawn.get(site, "") for site in STUDY.sites}),
    "scores": lambda wildcards: scores_folder(wildcards.scenario),
    "options": lambda wildcards: canonical_json(restrict(STUDY.scenarios[wildcards.scenario], READS)),
}
EXPORT_CALL = (
    "{PYTHON} {params.script:q} --sites {params.sites:q} --site-tables results/sites --scores {params.scores:q} "
    "--instruments {input.instruments:q} --options {params.options:q} "
)


rule export_scores:
    input:
        **EXPORT_INPUT,
    output:
        sessions=update(f"{FOLDER}/{{scenario}}/sessions.{{format}}"),
        clients=update(f"{FOLDER}/{{scenario}}/clients.{{format}}"),
        origin=update(f"{FOLDER}/{{scenario}}/{origin_file('{format}')}"),
    log:
        "results/logs/export_scores/{scenario}_{format}.log",
    params:
        **EXPORT_PARAMS,
    shell:
        EXPORT_CALL + "--sessions {output.sessions:q} --clients {output.clients:q} --origin {output.origin:q} 2> {log:q}"


rule export_codebook:
    input:
        **EXPORT_INPUT,
    output:
        update(f"{FOLDER}/{{scenario}}/variables.csv"),
    log:
        "results/logs/export_scores/{scenario}.log",
    params:
        **EXPORT_PARAMS,
    shell:
        EXPORT_CALL + "--codebook {output:q} 2> {log:q}"
