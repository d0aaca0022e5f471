"""A run that has nothing to do is known without Snakemake, but never where a file changed while the last one went on."""

from __future__ import annotations

import os

from alliance.configuration.study import load
from alliance.launch import last_run


def test_a_file_replaced_during_a_run_is_not_taken_as_what_the_run_rested_on(study_folder):
    study = load(study_folder / "config.yaml")
    file = study_folder / "data" / "demo" / "northgate" / "ratings.csv"
    file.write_text("old\n", encoding="utf-8")
    (study_folder / "results" / "base").mkdir(parents=True)
    given = last_run.given_files(study)
    file.write_text("new\n", encoding="utf-8")
    os.utime(file, ns=(1, 1))
    last_run.record(study, ["base"], given)
    assert not last_run.is_complete(study, ["base"], last_run.given_files(study))
    last_run.record(study, ["base"], last_run.given_files(study))
    assert last_run.is_complete(study, ["base"], last_run.given_files(study))
    assert not last_run.is_complete(study, ["base", "late"], last_run.given_files(study))
    (study_folder / "results" / "base" / "table.csv").touch()
    assert not last_run.is_complete(study, ["base"], last_run.given_files(study))
