"""Cleaned tables to scores, and the checks that compare a site with the others.

Requires: `results/sites/{site}/`.
Produces: `results/scores/{digest}/{site}/` (scores, item statistics, moments of scales, faults found while scoring);
`results/issues.csv`, the faults of all sites together.
"""


def score_options(wildcards):
    return canonical_json(SCORE_OPTIONS[wildcards.digest])


rule score_site:
    input:
        status="results/sites/{site}/status.json",
        ratings="results/sites/{site}/ratings",
        tables=[f"results/sites/{{site}}/{table}.parquet" for table in CLEANED_TABLES],
        lock=LOCK,
    output:
        scores=update("results/scores/{digest}/{site}/scores.parquet"),
        item_statistics=update("results/scores/{digest}/{site}/item_statistics.csv"),
        moments=update("results/scores/{digest}/{site}/scale_moments.csv"),
        issues=update("results/scores/{digest}/{site}/issues.csv"),
    log:
        "results/logs/score_site/{digest}/{site}.log",
    params:
        script=script("score_site.py"),
        instruments=INSTRUMENTS,
        code=code("score_site.py"),
        instruments_digest=INSTRUMENTS_DIGEST,
        options=score_options,
    shell:
        "{PYTHON} {params.script:q} --site-tables results/sites/{wildcards.site:q} --instruments {params.instruments:q} "
        "--options {params.options:q} --output results/scores/{wildcards.digest:q}/{wildcards.site:q} 2> {log:q}"


rule compare_sites:
    input:
        statuses=expand("results/sites/{site}/status.json", site=STUDY.sites),
        issues=expand("results/sites/{site}/issues.csv", site=STUDY.sites),
        item_statistics=expand(f"{scores_folder(BASE)}/{{site}}/item_statistics.csv", site=STUDY.sites),
        moments=expand(f"{scores_folder(BASE)}/{{site}}/scale_moments.csv", site=STUDY.sites),
        score_issues=expand(f"{scores_folder(BASE)}/{{site}}/issues.csv", site=STUDY.sites),
        lock=LOCK,
    output:
        update("results/issues.csv"),
    log:
        "results/logs/compare_sites.log",
    params:
        script=script("compare_sites.py"),
        code=code("compare_sites.py"),
        sites=canonical_json(list(STUDY.sites)),
        scores=scores_folder(BASE),
        names=canonical_json(asdict(names_in_use(STUDY.scenarios.values(), STUDY.instrument_files))),
    shell:
        "{PYTHON} {params.script:q} --sites {params.sites:q} --site-tables results/sites --scores {params.scores:q} "
        "--names {params.names:q} "
        "--output {output:q} 2> {log:q}"
