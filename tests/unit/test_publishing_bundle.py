"""What stands in a published bundle, and what never does."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import posixpath
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import verify_bundle
import yaml
from alliance.publishing.about import About, Author, citation_cff, zenodo
from alliance.publishing.archive import archive, manifest
from alliance.publishing.bundle import OTHER_SITE, build, public_options, same_results
from alliance.publishing.changes import UnreadableBundle, changes_markdown, read_last
from alliance.publishing.crate import research_object
from alliance.publishing.methods import bibliography
from alliance.publishing.published_tables import Field, Published
from alliance.questions import contract
from alliance.questions.headlines import COLUMNS as HEADLINE_COLUMNS
from alliance.reports.bibliography import parse
from alliance.side_by_side import in_processes
from support import PROJECT
from unit import bundled_study, report_study
from unit.published_study import PUBLIC

AT_ROOT = {
    *("index.html", "README.md", "methods.md", "references.bib", "config.yaml", "codebook.csv", "datapackage.json", "requirements.lock"),
    *("CITATION.cff", ".zenodo.json", "CHANGES.md", "DISCLOSURE.md", "disclosure.csv", "disclosure.json", "verify_bundle.py"),
    *("ro-crate-metadata.json", "manifest-sha256.txt", "demo-study-of-the-therapeutic-alliance.zip"),
}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return bundled_study.public().files


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return bundled_study.write(tmp_path_factory.mktemp("bundle"), bundled_study.public())


def text(files: dict[str, bytes], name: str) -> str:
    return files[name].decode("utf-8")


def test_a_bundle_holds_pages_tables_figures_and_what_archives_ask_for(files):
    assert {name for name in files if "/" not in name} == AT_ROOT
    assert {"base/report/index.html", "base/report/quality.html", "base/report/tables.xlsx", "sensitivity/index.html"} <= set(files)
    assert {name.split("/")[0] for name in files if "/" in name} == {"base", "sensitivity", "tables", "figures", "workflow"}
    assert "figures/base/flow.svg" in files and "figures/base/flow.csv" in files
    assert "tables/alliance_outcome/pooled.csv" in files and "tables/study/headlines.csv" in files


def test_a_bundle_passes_its_own_check(folder):
    assert verify_bundle.check(folder, bundled_study.public().forbidden, here=False) == []


def test_the_study_page_of_a_bundle_says_where_its_tables_are(files):
    for name in files:
        if name.endswith("/report/index.html"):
            folder = re.search(r"as CSV in the folder <code>([^<]+)</code>", files[name].decode("utf-8")).group(1)
            assert posixpath.normpath(posixpath.join(posixpath.dirname(name), folder)) == "tables"


def test_equal_results_give_equal_bytes():
    first = bundled_study.bundle(bundled_study.few()).files
    again = bundled_study.bundle(report_study.only(report_study.made(), *bundled_study.few().tables)).files
    assert {name for name in {*first, *again} if first.get(name) != again.get(name)} == set()


def test_the_bundle_in_which_nothing_is_hidden_passes_too_and_says_so(tmp_path):
    made = bundled_study.internal()
    assert verify_bundle.check(bundled_study.write(tmp_path, made), here=False) == []
    told = text(made.files, "DISCLOSURE.md")
    assert "may not be given away" in told and "may not be given away" in text(made.files, "index.html")
    assert "may rest on single clients" in told and "never in a bundle" not in told


def test_every_column_of_every_table_is_described_and_typed(files):
    package = json.loads(files["datapackage.json"])
    assert {resource["path"] for resource in package["resources"]} == {name for name in files if name.startswith("tables/")}
    for resource in package["resources"]:
        rows = list(csv.DictReader(io.StringIO(text(files, resource["path"]))))
        described = {field["name"]: field for field in resource["schema"]["fields"]}
        assert all(field["description"] for field in described.values())
        for name, field in described.items():
            held = {row[name] for row in rows} - {""}
            if field["type"] != "string":
                assert all(re.fullmatch(r"-?\d+" if field["type"] == "integer" else r"-?\d+(\.\d+)?(e-?\d+)?", cell) for cell in held), (
                    resource["path"],
                    name,
                )
            assert held <= set(field.get("constraints", {}).get("enum", held)), (resource["path"], name)
    pooled = next(one for one in package["resources"] if one["path"] == "tables/alliance_outcome/pooled.csv")
    assert [field["name"] for field in pooled["schema"]["fields"]] == list(contract.table("alliance_outcome", "pooled").columns)
    codebook = {(row["table"], row["column"]) for row in csv.DictReader(io.StringIO(text(files, "codebook.csv")))}
    assert {(one["path"][7:-4], field["name"]) for one in package["resources"] for field in one["schema"]["fields"]} <= codebook


def test_published_tables_are_those_that_disclosure_control_left(files):
    shown = pd.read_csv(io.BytesIO(files["tables/alliance_outcome/pooled.csv"]), keep_default_na=False)
    counts = pd.to_numeric(shown["n_clients"].replace("", None)).dropna()
    assert len(counts) and (counts % 5 == 0).all() and counts.min() >= 10
    exact = pd.read_csv(io.BytesIO(bundled_study.internal().files["tables/alliance_outcome/pooled.csv"]))
    assert (exact["n_clients"].dropna() % 5 != 0).any()


def test_every_figure_of_the_study_page_is_a_file_that_says_what_it_shows(files):
    page = text(files, "base/report/index.html")
    shown = set(re.findall(r'<figure id="([^"]+)"', page))
    assert shown and {f"figures/base/{name}.svg" for name in shown} == {
        n for n in files if n.startswith("figures/base/") and n.endswith("svg")
    }
    for name in shown:
        drawing = text(files, f"figures/base/{name}.svg")
        assert re.match(r"<svg [^>]*><title>[^<]+</title><desc>[^<]+</desc>", drawing), name
        assert f"figures/base/{name}.csv" in files, "every figure has its numbers beside it"
    flow = list(csv.reader(io.StringIO(text(files, "figures/base/flow.csv"))))
    assert flow[0][0] == "Site" and flow[-1][0] == "All sites" and all(cell.isdigit() for cell in flow[-1][1:] if cell)


def test_intervals_in_the_data_of_figures_have_two_ends(files):
    found = []
    for name in sorted(one for one in files if one.startswith("figures/base/") and one.endswith(".csv")):
        head, *lines = csv.reader(io.StringIO(text(files, name)))
        found += [line[head.index("95% CI")] for line in lines if "95% CI" in head]
    assert len([one for one in found if one]) > 20
    assert [one for one in found if one and not re.fullmatch(r"\[.+,\N{NO-BREAK SPACE}.+\]", one)] == []


def test_the_methods_cite_works_that_the_bibliography_has_and_no_more(files):
    methods = text(files, "methods.md")
    cited = set(re.findall(r"@([a-z_0-9]+)", methods.split("## References")[0]))
    held = parse(text(files, "references.bib"))
    assert cited and cited <= set(held)
    assert set(re.findall(r"^- `([a-z_0-9]+)`:", methods, re.MULTILINE)) == cited
    used = {key for status in report_study.study().included for key in status.get("instruments", {})}
    instruments = {key for name in used for key in report_study.study().instruments[name].reference}
    assert set(held) == cited | instruments
    assert held["horvath_symonds_1991"] == report_study.study().references["horvath_symonds_1991"]


def test_a_work_that_is_cited_and_unknown_is_a_fault():
    with pytest.raises(KeyError, match="nobody_1900"):
        bibliography("@misc{somebody_1900, title = {A}}", ["nobody_1900"])


def test_the_configuration_names_no_folder_no_day_and_no_hidden_site(files):
    held = yaml.safe_load(text(files, "config.yaml"))
    assert held["study"]["seed"] == report_study.study().options["study"]["seed"] and held["study"]["year"] == 2026
    assert not {"sites_dir", "instruments_dir"} & set(held["study"]) and "latest_date" not in held["cleaning"]
    options = {"study": {"title": "A", "sites_dir": "x"}, "pooling": {"sites": {"leave_out": ["elm", "oak"]}}}
    made = public_options(options, {"released": "2026-12-01"}, [("elm", "Elm Court")])
    assert made["pooling"]["sites"]["leave_out"] == [OTHER_SITE, "oak"] and options["study"]["sites_dir"] == "x"


def test_nothing_that_is_private_is_in_a_bundle(files):
    held = " ".join(sorted(files))
    assert not re.search(r"private|quarantine|\.parquet|\.log|\.snakemake|lavaan|status\.json|scores|summaries|issues\.csv", held)
    assert "../lavaan" not in text(files, "base/report/index.html")
    assert "../lavaan" in report_study.rendered()["index.html"]


def test_small_sites_stand_nowhere_in_the_bundle():
    data = bundled_study.few()
    smallest = {status["site"]: status for status in data.statuses}["elm"]
    small = {**smallest, "counts": {**smallest["counts"], "clients": 12}}
    changed = dataclasses.replace(data, statuses=[small if status["site"] == "elm" else status for status in data.statuses])
    made = bundled_study.bundle(changed)
    assert {"elm", "Elm Court"} <= set(made.forbidden)
    assert "base/report/sites/elm.html" not in made.files
    for name, content in made.files.items():
        if not name.endswith((".zip", ".xlsx")):
            assert not re.search(rb"(?<![\w-])(?:elm|Elm Court)(?![\w-])", content), name


ABOUT = About(
    title="A study",
    description="What it is.",
    version="1.2",
    released="2026-12-01",
    authors=(Author("Other, Ann", "University of Elsewhere", "0000-0002-1825-0097"), Author("The developers")),
    keywords=("alliance",),
    licence="CC-BY-4.0",
    doi="10.5281/zenodo.1",
    simulated=False,
    software_version="0.1.0",
)


def test_people_and_groups_are_cited_as_archives_ask():
    cff = citation_cff(ABOUT)
    assert cff["authors"] == [
        {
            "family-names": "Other",
            "given-names": "Ann",
            "affiliation": "University of Elsewhere",
            "orcid": "https://orcid.org/0000-0002-1825-0097",
        },
        {"name": "The developers"},
    ]
    assert (cff["version"], cff["date-released"], cff["license"], cff["doi"]) == ("1.2", "2026-12-01", "CC-BY-4.0", "10.5281/zenodo.1")
    deposit = zenodo(ABOUT)
    assert deposit["creators"] == [
        {"name": "Other, Ann", "affiliation": "University of Elsewhere", "orcid": "0000-0002-1825-0097"},
        {"name": "The developers"},
    ]
    assert deposit["license"] == "cc-by-4.0" and deposit["publication_date"] == "2026-12-01"
    bare = dataclasses.replace(ABOUT, version="", licence="", doi="", keywords=())
    assert not {"version", "license", "doi", "keywords"} & (set(citation_cff(bare)) | set(zenodo(bare)))


def test_the_research_object_links_the_run_to_what_it_made():
    files = {"workflow/Snakefile": b"rule all:", "config.yaml": b"a: 1", "tables/a/b c.csv": b"x\n", "index.html": b"<html>"}
    digests = {"data": "0123456789ab", "configuration": "abcdef012345", "code": "99aa88bb77cc"}
    crate = research_object(ABOUT, files, {}, digests, {"snakemake": "9.27.1"}, ("manifest-sha256.txt",))
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])

    def references(value: object) -> set[str]:
        if isinstance(value, dict):
            return {value["@id"]} if set(value) == {"@id"} else {id for part in value.values() for id in references(part)}
        return {id for part in value for id in references(part)} if isinstance(value, list) else set()

    outside = {id for entity in entities.values() for id in references(entity)} - set(entities)
    assert all(id.startswith("https://") for id in outside), outside
    root = entities["./"]
    assert {part["@id"] for part in root["hasPart"]} == {*map(lambda name: name.replace(" ", "%20"), files), "manifest-sha256.txt"}
    assert root["datePublished"] == "2026-12-01" and entities[root["license"]["@id"]]["identifier"] == "CC-BY-4.0"
    run = entities["#run"]
    assert run["instrument"] == root["mainEntity"] == {"@id": "workflow/Snakefile"}
    assert {one["@id"] for one in run["result"]} == {"tables/a/b%20c.csv", "index.html"} and run["object"][0] == {"@id": "config.yaml"}
    assert entities["tables/a/b%20c.csv"]["contentSize"] == "2"


def test_the_archive_has_sorted_names_one_date_and_one_permission(files):
    made = zipfile.ZipFile(io.BytesIO(files["demo-study-of-the-therapeutic-alliance.zip"])).infolist()
    assert [one.filename for one in made] == sorted(one.filename for one in made)
    assert {one.date_time for one in made} == {(1980, 1, 1, 0, 0, 0)} and {one.external_attr >> 16 for one in made} == {0o100644}
    assert {one.create_system for one in made} == {3}
    assert archive({"b": b"1", "a": b"2"}, "x") == archive({"a": b"2", "b": b"1"}, "x")
    assert manifest({"b": b"", "a": b""}).splitlines()[0].endswith("  a")


HEADLINES = pd.DataFrame(
    [
        {
            "scenario": "base",
            "headline": "a",
            "label": "Alliance | outcome",
            "estimate": 0.25,
            "ci_low": 0.1,
            "ci_high": 0.4,
            "n_clients": 57,
        },
        {"scenario": "base", "headline": "b", "label": "Gone", "estimate": 0.1, "ci_low": 0.0, "ci_high": 0.2, "n_clients": 57},
    ]
).assign(status="estimated")


def headlines(rows: pd.DataFrame) -> list[Published]:
    types = {"scenario": contract.TEXT, **HEADLINE_COLUMNS}
    fields = tuple(Field(name, kind, "") for name, kind in types.items())
    return [Published("study", "headlines", "", fields, (rows,))]


def test_changes_name_numbers_tables_and_columns_that_differ_and_no_count_of_clients(tmp_path):
    data = report_study.study()
    last = bundled_study.published_before(tmp_path, bundled_study.public())
    assert "None of" in changes_markdown(last, _tables_of(last), "2", 2)
    made = dataclasses.replace(last, tables={**last.tables, "study/headlines": headlines(HEADLINES)[0].rows}, version="1.0")
    moved = HEADLINES.assign(estimate=[0.3, 0.1], n_clients=58).iloc[:1]
    told = changes_markdown(made, headlines(moved), "1.1", data.decimals)
    assert told.startswith("# Changes in version 1.1") and "Compared with version 1.0." in told
    assert "| base | Alliance \\| outcome | 0.25 [0.10, 0.40] | 0.30 [0.10, 0.40] |" in told
    assert "| base | Gone | 0.10 [0.00, 0.20] | not there |" in told and "57" not in told and "58" not in told
    assert "- table `alliance_outcome/pooled` is gone" in told
    same_numbers = changes_markdown(made, headlines(HEADLINES.assign(n_clients=58)), "1.1", 2)
    assert "None of 2 headline numbers differs." in same_numbers


def _tables_of(last) -> list[Published]:
    kinds = {True: contract.NUMBER, False: contract.TEXT}
    return [
        Published(
            *key.split("/"),
            "",
            tuple(Field(name, kinds[pd.api.types.is_numeric_dtype(column)], "") for name, column in table.items()),
            (table,),
        )
        for key, table in last.tables.items()
    ]


def test_a_new_column_is_named(tmp_path):
    last = bundled_study.published_before(tmp_path, bundled_study.public())
    tables = [
        dataclasses.replace(one, fields=(*one.fields, Field("more", contract.NUMBER, ""))) if one.key == "alliance_outcome/pooled" else one
        for one in _tables_of(last)
    ]
    assert "- `alliance_outcome/pooled`: new column `more`" in changes_markdown(last, tables, "", 2)


def test_the_archive_can_stand_for_the_folder_as_the_bundle_published_last(folder):
    from_folder, from_archive = read_last(folder), read_last(folder / "demo-study-of-the-therapeutic-alliance.zip")
    assert from_folder.columns == from_archive.columns and from_folder.data_digest == from_archive.data_digest == "0123456789ab"
    assert all(table.equals(from_archive.tables[key]) for key, table in from_folder.tables.items())
    assert "alliance_outcome/pooled" in from_folder.of_scenario("base") and from_folder.of_scenario("late") == {}
    assert set(from_folder.over_scenarios) == {"sensitivity/scenario_comparison"}


def test_tables_read_back_are_those_that_were_published(files, folder):
    read = read_last(folder).tables["alliance_outcome/pooled"]
    again = pd.read_csv(io.BytesIO(files["tables/alliance_outcome/pooled.csv"]), keep_default_na=False, dtype=str)
    assert list(read.columns) == list(again.columns) and len(read) == len(again)
    assert read["estimate"].notna().sum() == again["estimate"].ne("").sum()


@pytest.mark.parametrize("what", ["missing", "empty", "broken"])
def test_a_bundle_that_cannot_be_read_is_named(tmp_path, what):
    path = tmp_path / "bundle"
    if what != "missing":
        path.mkdir()
    if what == "broken":
        (path / "datapackage.json").write_text("{", encoding="utf-8")
    with pytest.raises(UnreadableBundle, match="cannot be read as a bundle"):
        read_last(path)


def test_publishing_the_same_results_again_changes_nothing_but_what_rests_on_the_last_bundle(tmp_path):
    first = bundled_study.bundle(bundled_study.few())
    second = bundled_study.bundle(bundled_study.few(), bundled_study.published_before(tmp_path, first))
    assert same_results(first.files, second.files)
    changed = first.files | {"methods.md": b"other"}
    assert not same_results(first.files, changed)


def test_the_statement_names_profile_limits_and_who_accepted_weaker_ones(files):
    assert json.loads(files["disclosure.json"])["profile"] == "public"
    told = text(files, "DISCLOSURE.md")
    assert "Profile: **public**" in told and "clients behind a number, in a share and in its rest: at least 10" in told
    accepted = bundled_study.bundle(bundled_study.few(), profile="share", min_clients=4, i_accept_disclosure_risk="Ann Other")
    for name in ("DISCLOSURE.md", "index.html", "disclosure.json"):
        assert "Ann Other" in text(accepted.files, name)
    rows = list(csv.DictReader(io.StringIO(text(files, "disclosure.csv"))))
    assert rows and {row["scenario"] for row in rows} == {"base"}


def test_the_lock_file_and_the_check_are_those_of_the_project(files):
    assert files["requirements.lock"] == (PROJECT / "envs" / "requirements.lock").read_bytes()
    assert files["verify_bundle.py"] == (PROJECT / "scripts" / "verify_bundle.py").read_bytes()


def test_a_bundle_is_the_same_from_one_process_and_from_several():
    data = bundled_study.few()
    late = dataclasses.replace(data, scenario="late", provenance={**data.provenance, "reason": "another window"})
    source = bundled_study.source(data)
    source = dataclasses.replace(source, scenarios={**source.scenarios, "late": late})
    one, several = build(source, PUBLIC), build(source, PUBLIC, in_processes(3))
    assert one.files.keys() == several.files.keys() and {"base/report/index.html", "late/report/tables.xlsx"} <= one.files.keys()
    assert {name for name in one.files if one.files[name] != several.files[name]} == set()
    assert one.decisions == several.decisions
