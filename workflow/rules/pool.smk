"""Site summaries to the tables of a question: one job a question and all scenarios that agree on what the tables rest on.

Requires: `results/summaries/{question}/{digest}/*/`; the tables of the questions it needs; the review's figures.
Produces: `results/{scenario}/tables/{question}/*.csv`.
"""


def summaries_of(question):
    def files(wildcards):
        folder = summaries_folder(wildcards.scenario, question)
        return expand(
            f"{folder}/{{site}}/{{part}}",
            site=STUDY.sites,
            part=SUMMARY_FILES,
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


def pooling_scenarios(question):
    """The scenarios in which a question is pooled, as a regular expression; the others get these tables under their own name."""
    names = sorted({first for (_, asked), first in POOLED_IN.items() if asked == question})
    return "|".join(names) or "(?!)"


def shared_tables(scenario):
    """Tables of the questions asked for that a scenario gets from another one."""
    return [
        (POOLED_IN[scenario, question], question, table)
        for question in chosen_questions(scenario)
        if POOLED_IN[scenario, question] != scenario
        for table in STUDY.questions[question].tables
    ]


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
            lock=LOCK,
        output:
            [update(table_in_report(question, table)) for table in STUDY.questions[question].tables],
        log:
            f"results/logs/pool/{{scenario}}_{question}.log",
        wildcard_constraints:
            scenario=pooling_scenarios(question),
        params:
            script=script("pool_question.py"),
            code=code("pool_question.py", question),
            instruments_digest=INSTRUMENTS_DIGEST,
            question=question,
            summaries=summary_folder(question),
            sites=canonical_json(list(STUDY.sites)),
            options=pool_options(question),
            needs=canonical_json(list(STUDY.questions[question].needs)),
        shell:
            "{PYTHON} {params.script:q} --question {params.question:q} --scenario {wildcards.scenario:q} "
            "--summaries {params.summaries:q} --sites {params.sites:q} --site-tables results/sites --needs {params.needs:q} "
            "--tables results/{wildcards.scenario:q}/tables --one-stage {input.one_stage:q} --options {params.options:q} --benchmarks {input.benchmarks:q} "
            "--output results/{wildcards.scenario:q}/tables/{params.question:q} 2> {log:q}"


for scenario in COMPUTED:
    if shared_tables(scenario):

        rule:
            name:
                f"share_tables_{scenario}"
            input:
                tables=[f"results/{first}/tables/{question}/{table}.csv" for first, question, table in shared_tables(scenario)],
                lock=LOCK,
            output:
                [update(f"results/{scenario}/tables/{question}/{table}.csv") for _, question, table in shared_tables(scenario)],
            log:
                f"results/logs/share_tables/{scenario}.log",
            params:
                script=script("share_tables.py"),
                code=code("share_tables.py"),
                scenario=scenario,
            shell:
                "{PYTHON} {params.script:q} --scenario {params.scenario:q} --tables {input.tables:q} "
                "--output results/{params.scenario:q}/tables 2> {log:q}"
