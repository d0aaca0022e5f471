"""Raw files of a site to cleaned tables.

Requires: `site.yaml` and the files it names in the site's folder; the instruments it names.
Produces: `results/sites/{site}/` (status, issues, tables as Parquet) and, private, the rows that could not be used.
A fault in the data never ends the job in an error: the site's status says `excluded` and its tables are empty.
"""

CLEANED_TABLES = ["clients", "therapists", "sessions", "outcomes", "events", "termination"]


def site_files(wildcards):
    return list(STUDY.sites[wildcards.site].files)


def instruments_of_site(wildcards):
    return instrument_files(STUDY.sites[wildcards.site].instruments)


def cleaning_options(wildcards):
    """Options of this site only, and what no file content shows: the folder's listing and the withdrawals."""
    return canonical_json(STUDY.base["cleaning"])


def site_fingerprint(wildcards):
    site = STUDY.sites[wildcards.site]
    return canonical_json({"listing": site.listing, "withdrawn": STUDY.withdrawn.get(site.site, "")})


rule clean_site:
    input:
        files=site_files,
        instruments=instruments_of_site,
        lock=LOCK,
    output:
        status=update("results/sites/{site}/status.json"),
        issues=update("results/sites/{site}/issues.csv"),
        tables=[update(f"results/sites/{{site}}/{table}.parquet") for table in CLEANED_TABLES],
        ratings=update(directory("results/sites/{site}/ratings")),
        quarantine=update(directory("results/private/quarantine/{site}")),
    log:
        "results/logs/clean_site/{site}.log",
    params:
        script=script("clean_site.py"),
        code=code("clean_site.py"),
        folder=lambda wildcards: STUDY.sites[wildcards.site].folder,
        options=cleaning_options,
        fingerprint=site_fingerprint,
    shell:
        "{PYTHON} {params.script:q} --site {wildcards.site:q} --folder {params.folder:q} "
        "--instruments {input.instruments:q} --options {params.options:q} --withdrawn withdrawn.csv --key-file .id_key "
        "--output results/sites/{wildcards.site:q} --quarantine {output.quarantine:q} 2> {log:q}"
