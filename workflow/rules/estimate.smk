"""A site's scores to its part of a question: the site summary, which holds no rows.

Requires: `results/sites/{site}/`, `results/scores/{digest of scoring}/{site}/`.
Produces: `results/summaries/{question}/{digest}/{site}/` (summary.json, moments, estimates, vcov, draws), and where a question asks for it
`results/one_stage/{question}/{digest}.csv`, the estimates of models over the rows of all sites that share them.
"""

SUMMARY_FILES = ["summary.json", "moments.csv", "estimates.csv", "vcov.csv", "draws.csv"]


def estimate_scenario(wildcards):
    return ESTIMATE_SCENARIO[wildcards.question, wildcards.digest]


@functools.cache
def options_of(question, digest):
    return canonical_json(STUDY.estimate_options(ESTIMATE_SCENARIO[question, digest], question))


def estimate_options(wildcards):
    return options_of(wildcards.question, wildcards.digest)


def scores_of_estimate(wildcards):
    return f"{scores_folder(estimate_scenario(wildcards))}/{wildcards.site}/scores.parquet"


def ratings_of_estimate(wildcards):
    if STUDY.questions[wildcards.question].reads_ratings:
        return f"results/sites/{wildcards.site}/ratings"
    return []


def code_of_estimate(wildcards):
    return code("estimate_site.py", wildcards.question)


def constants_of_estimate(wildcards):
    if STUDY.questions[wildcards.question].prepares:
        return f"results/constants/{wildcards.question}/{wildcards.digest}.json"
    return []


def moments_of_all_sites(wildcards):
    folder = scores_folder(estimate_scenario(wildcards))
    return expand(f"{folder}/{{site}}/scale_moments.csv", site=STUDY.sites)


@functools.cache
def base_digest(question, digest):
    return STUDY.base_digest(ESTIMATE_SCENARIO[question, digest], question)


def base_summary(wildcards):
    """The site's answer for base, where parts of it may be taken over: the file that holds a digest of all others."""
    of_base = base_digest(wildcards.question, wildcards.digest)
    return f"results/summaries/{wildcards.question}/{of_base}/{wildcards.site}/summary.json" if of_base else []


def base_options(wildcards):
    of_base = base_digest(wildcards.question, wildcards.digest)
    return options_of(wildcards.question, of_base) if of_base else ""


rule prepare_constants:
    """Constants that every site must share, where a question asks for them."""
    input:
        moments=moments_of_all_sites,
        lock=LOCK,
    output:
        update("results/constants/{question}/{digest}.json"),
    log:
        "results/logs/prepare_constants/{question}_{digest}.log",
    params:
        script=script("prepare_constants.py"),
        code=lambda wildcards: code("prepare_constants.py", wildcards.question),
        options=estimate_options,
    shell:
        "{PYTHON} {params.script:q} --question {wildcards.question:q} --moments {input.moments:q} "
        "--options {params.options:q} --output {output:q} 2> {log:q}"


rule estimate_site:
    input:
        status="results/sites/{site}/status.json",
        scores=scores_of_estimate,
        ratings=ratings_of_estimate,
        constants=constants_of_estimate,
        base=base_summary,
        lock=LOCK,
    output:
        summary=update("results/summaries/{question}/{digest}/{site}/summary.json"),
        moments=update("results/summaries/{question}/{digest}/{site}/moments.csv"),
        estimates=update("results/summaries/{question}/{digest}/{site}/estimates.csv"),
        vcov=update("results/summaries/{question}/{digest}/{site}/vcov.csv"),
        draws=update("results/summaries/{question}/{digest}/{site}/draws.csv"),
    log:
        "results/logs/estimate_site/{question}/{digest}/{site}.log",
    params:
        script=script("estimate_site.py"),
        instruments=INSTRUMENTS,
        code=code_of_estimate,
        instruments_digest=INSTRUMENTS_DIGEST,
        options=estimate_options,
        base_options=base_options,
        scores=lambda wildcards: f"{scores_folder(estimate_scenario(wildcards))}/{wildcards.site}",
        folder="results/summaries/{question}/{digest}/{site}",
    shell:
        "{PYTHON} {params.script:q} --question {wildcards.question:q} --site {wildcards.site:q} "
        "--site-tables results/sites/{wildcards.site:q} --scores {params.scores:q} "
        "--instruments {params.instruments:q} --options {params.options:q} --options-digest {wildcards.digest:q} "
        "--constants {input.constants:q} --base-options {params.base_options:q} --base-summary {input.base:q} --output {params.folder:q} 2> {log:q}"


def status_of_all_sites(wildcards):
    return expand("results/sites/{site}/status.json", site=STUDY.sites)


def one_stage_scenario(wildcards):
    return ONE_STAGE_SCENARIO[wildcards.question, wildcards.digest]


def scores_of_all_sites(wildcards):
    folder = scores_folder(one_stage_scenario(wildcards))
    return expand(f"{folder}/{{site}}/scores.parquet", site=STUDY.sites)


rule fit_one_stage:
    """Models over all rows, for questions that need them beside the site summaries."""
    input:
        statuses=status_of_all_sites,
        scores=scores_of_all_sites,
        lock=LOCK,
    output:
        update("results/one_stage/{question}/{digest}.csv"),
    log:
        "results/logs/fit_one_stage/{question}_{digest}.log",
    params:
        script=script("fit_one_stage.py"),
        instruments=INSTRUMENTS,
        code=lambda wildcards: code("fit_one_stage.py", wildcards.question),
        instruments_digest=INSTRUMENTS_DIGEST,
        sites=canonical_json(list(STUDY.sites)),
        scores=lambda wildcards: scores_folder(one_stage_scenario(wildcards)),
        options=lambda wildcards: canonical_json(STUDY.estimate_options(one_stage_scenario(wildcards), wildcards.question)),
        pooled_sites=lambda wildcards: canonical_json(STUDY.scenarios[one_stage_scenario(wildcards)]["pooling"]["sites"]),
    shell:
        "{PYTHON} {params.script:q} --question {wildcards.question:q} --sites {params.sites:q} --site-tables results/sites "
        "--scores {params.scores:q} --instruments {params.instruments:q} --options {params.options:q} --pooled-sites {params.pooled_sites:q} --output {output:q} 2> {log:q}"
