"""Site summaries to the tables of a question: one job a question and scenario.

Requires: `results/summaries/{question}/{digest}/*/`; the tables of the questions it needs; the review's figures.
Produces: `results/{scenario}/tables/{question}/*.csv`.
"""


def summaries_of(question):
    def files(wildcards):
        folder = summaries_folder(wildcards.scenario, question)
        return expand(
            f"{folder}/{{site}}/{{part}}",
            site=STUDY.sites,
            part=["summary.json", "moments.csv", "estimates.csv", "vcov.csv", "draws.csv"],
        )

    return files


def tables_needed_by(question):
    def files(wildcards):
        return [
            f"results/{wildcards.scenario}/tables/{needed}/{table}.csv"
            for needed in STUDY.questions[question].needs
            for table in STUDY.questions[needed].tables
        ]

    return files


def one_stage_of(question):
    def files(wildcards):
        if STUDY.questions[question].one_stage:
            return f"results/one_stage/{question}/{STUDY.one_stage_digest(wildcards.scenario, question)}.csv"
        return []

    return files


def pool_options(question):
    def options(wildcards):
        return canonical_json(STUDY.pool_options(wildcards.scenario, question))

    return options


def summary_folder(question):
    def folder(wildcards):
        return summaries_folder(wildcards.scenario, question)

    return folder


for question in STUDY.questions:

    rule:
        name:
            f"pool_{question}"
        input:
            summaries=summaries_of(question),
            statuses=expand("results/sites/{site}/status.json", site=STUDY.sites),
            needed=tables_needed_by(question),
            one_stage=one_stage_of(question),
            benchmarks=BENCHMARKS,
            instruments=instrument_files(),
            code=code("pool_question.py", question),
            lock=LOCK,
        output:
            [update(f"results/{{scenario}}/tables/{question}/{table}.csv") for table in STUDY.questions[question].tables],
        log:
            f"results/logs/pool/{{scenario}}_{question}.log",
        params:
            script=script("pool_question.py"),
            question=question,
            summaries=summary_folder(question),
            sites=canonical_json(list(STUDY.sites)),
            options=pool_options(question),
            needs=canonical_json(list(STUDY.questions[question].needs)),
        shell:
            "{PYTHON:q} {params.script:q} --question {params.question:q} --scenario {wildcards.scenario:q} "
            "--summaries {params.summaries:q} --sites {params.sites:q} --site-tables results/sites --needs {params.needs:q} "
            "--tables results/{wildcards.scenario:q}/tables --one-stage {input.one_stage:q} --options {params.options:q} --benchmarks {input.benchmarks:q} "
            "--output results/{wildcards.scenario:q}/tables/{params.question:q} 2> {log:q}"
