"""Pages hold what the tables hold, as text that cannot do harm, the same bytes every time."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree

import pandas as pd
import pytest
import report_study
import report_study_large
from alliance.configuration.preregistration import COLUMNS
from alliance.issues import why_left_out
from alliance.questions import coverage
from alliance.questions.contract import POOLED
from alliance.reports import diagram, figures, inputs, numbers, page, pages, quality_page, site_page, study_page
from alliance.reports.chapters import alliance_outcome, common, early_gains, measurement, order, published, therapist_factors
from alliance.reports.diagram import Edge, Node
from alliance.reports.elements import FIRST_FOLDED_ROWS, FIRST_ROWS, MOST_ROWS, Figure, Fold, Part, Verdict
from alliance.side_by_side import in_processes
from support import PROJECT

NUMBER = re.compile(r"(?<![\w.])[−-]?(?:\d[\d,]*)?\.?\d+%?(?![\w])")
VOID = {"meta", "img", "source", "br", "hr", "input", "link"}


class Tree(HTMLParser):
    """Collects tags with their attributes and checks that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def study():
    return report_study.study()


@pytest.fixture(scope="module")
def rendered():
    return report_study.rendered()


@pytest.fixture(scope="module")
def trees(rendered):
    return {name: Tree(text) for name, text in rendered.items()}


def printed_values(study) -> set[str]:
    """Return every way in which a value of the tables, statuses or options may be printed."""
    shown = {study.level, numbers.level(0.95), "0"}
    for tables in study.tables.values():
        for table in tables.values():
            for name in table.select_dtypes("number"):
                for value in table[name].dropna().astype(float).unique():
                    shown |= {
                        numbers.bounded(value, study.decimals),
                        numbers.bounded(value, study.decimals + 1),
                        numbers.points(value).partition(numbers.SPACE)[0],
                        numbers.decimal(value, study.decimals),
                        numbers.decimal(value, study.decimals + 1),
                        numbers.percent(value),
                        numbers.percent(value, 1),
                        numbers.count(value),
                    }
    return shown


def inner_sentences(chapter) -> list[str]:
    """Return the sentences that stand between the tables and figures of a chapter."""
    told = [sentence for block in chapter.blocks if isinstance(block, Part) for sentence in block.sentences]
    for block in chapter.blocks:
        told += [*block.tests, *block.cautions, block.conclusion] if isinstance(block, Verdict) else []
    return told


def test_every_number_in_a_finding_stands_in_the_tables(study):
    shown = printed_values(study)
    checked = 0
    for chapter in report_study.chapters_built():
        for sentence in (*chapter.headlines, *chapter.findings, *inner_sentences(chapter)):
            text = sentence.replace("\N{NO-BREAK SPACE}", " ")
            for name in ("WAI-36", "WAI-SR", "HAq-II", "session 3", *report_study.LABELS.values()):
                text = text.replace(name, "")
            for number in NUMBER.findall(text):
                assert number in shown, f"{number} in: {sentence}"
                checked += 1
    assert checked > 60


BUILDERS = {"alliance-outcome": alliance_outcome.build, "early-gains": early_gains.build, "therapists": therapist_factors.build}


def chapter_of(study, id):
    if study is report_study.study():
        return next(chapter for chapter in report_study.chapters_built() if chapter.id == id)
    return BUILDERS[id](study)


def block_of(chapter, id):
    return next(block for block in chapter.blocks if block.id == id)


def test_alliance_and_outcome_comes_first():
    assert [chapter.id for chapter in report_study.chapters_built()][:2] == ["alliance-outcome", "early-gains"]


def test_the_figure_of_the_review_stands_only_beside_forms_that_it_averaged(study):
    pooled = study.tables["alliance_outcome"]["pooled"].copy()
    wrong = pooled["form"].eq("ancova") & pooled["headline"].eq("yes")
    pooled.loc[wrong, ["claim", "published", "difference"]] = ["B1", 0.26, 0.05]
    tables = {**study.tables, "alliance_outcome": {**study.tables["alliance_outcome"], "pooled": pooled}}
    for given in (study, dataclasses.replace(study, tables=tables)):
        rows = alliance_outcome.headline_rows(given)
        shown = set(rows.loc[rows["published"].notna(), "form"])
        assert shown == {"zero_order", "residual_gain"}
        chapter = chapter_of(given, "alliance-outcome")
        assert ".26" not in chapter.headlines[0] and ".26" not in chapter.findings[0]
        forms = block_of(chapter, "alliance-outcome-forms")
        place = [column.label for column in forms.columns].index("Published")
        published_by_form = {row[0].text: row[place].text for row in forms.rows}
        assert published_by_form["Headline: given the intake level (partial r)"] == numbers.UNKNOWN
        assert [text for text in published_by_form.values() if text != numbers.UNKNOWN] == [".26", ".26"]
        beside = block_of(chapter, "published-alliance-outcome")
        assert not [row for row in beside.rows if row[1].text == "B1" and "intake level" in row[0].text]


def test_the_figure_of_the_review_stands_beside_a_headline_that_has_its_form(study):
    options = json.loads(json.dumps(study.options))
    options["outcome"]["form"] = "residual_gain"
    turned = {"ancova": "beside", "residual_gain": "yes"}
    tables = {
        name: table.assign(
            headline=table["form"].map(turned).where(table["headline"].isin(("yes", "beside")), table["headline"]).fillna("beside")
        )
        if name in ("site_effects", "pooled")
        else table
        for name, table in study.tables["alliance_outcome"].items()
    }
    given = dataclasses.replace(study, options=options, tables={**study.tables, "alliance_outcome": tables})
    rows = alliance_outcome.headline_rows(given)
    drawn = common.forest_rows(given, rows[rows["headline"] == "yes"])
    assert drawn[-1].kind == "pooled" and drawn[-1].published == 0.26
    data = block_of(chapter_of(given, "alliance-outcome"), "alliance-outcome-forest").data
    assert ".26" in [cell.text for cell in data.rows[-1]]


def test_the_headline_stands_in_all_its_forms_with_the_numbers_of_the_tables(study):
    forms = block_of(chapter_of(study, "alliance-outcome"), "alliance-outcome-forms")
    pooled, missed = (study.tables["alliance_outcome"][name] for name in ("pooled", "missing"))
    found = {row[0].text: row[1].value for row in forms.rows}
    for coding in ("zero", "dropped", "imputed"):
        value = pooled.loc[pooled["coding"] == coding, "estimate"].item()
        assert found[f"Non-significant effects: {alliance_outcome.CODINGS[coding]}"] == value
    assert (
        found["One stage: one mixed model over the clients of all sites that share rows"]
        == pooled.loc[pooled["method"] == "one_stage", "estimate"].item()
    )
    assert found["All outcomes of a site at once: three levels"] == 0.222
    shifted = missed.loc[pd.to_numeric(missed["delta"]) == -0.5, "estimate"].item()
    assert found[f"Missing values: imputed outcomes shifted by {numbers.MINUS}0.50 SD"] == shifted


def test_figures_of_the_outcome_chapter_state_their_finding_and_have_a_drawing_for_narrow_screens(study):
    chapter, tables = chapter_of(study, "alliance-outcome"), study.tables["alliance_outcome"]
    found = {block.id: block for block in chapter.blocks if isinstance(block, Figure)}
    assert set(found) == {"alliance-outcome-forest", "rater-matrix", "timing-curve", "level-coefficients", "variance-shares"}
    for block in found.values():
        assert block.narrow and block.narrow != block.svg and ElementTree.fromstring(block.narrow) is not None
        width = float(ElementTree.fromstring(block.narrow).attrib["width"].removesuffix("pt"))
        assert width <= 3.4 * 72 + 0.1
    pooled, timing, levels = tables["pooled"], tables["timing"], tables["levels"]
    main = pooled[pooled["headline"].eq("yes")].iloc[0]
    crossed = pooled[pooled["alliance_rater"].eq("therapist") & pooled["outcome_rater"].eq("client")].iloc[0]
    early = timing[timing["phase"].eq("early") & timing["sessions"].eq("equalised")].iloc[0]
    within = levels[levels["part"].eq("within_client")].iloc[0]
    for id, row, before in (
        ("alliance-outcome-forest", main, "partial r given the intake level\xa0=\xa0"),
        ("rater-matrix", crossed, "alliance by therapist, outcome by client "),
        ("timing-curve", early, "equal number of ratings: early "),
        ("level-coefficients", within, "within clients, from session to session "),
    ):
        assert before + numbers.bounded(row["estimate"], study.decimals) in found[id].alt, id
    assert found["rater-matrix"].alt.count("(same rater)") == 2
    assert "client 91%" in found["variance-shares"].alt


def test_no_moderator_is_said_to_make_no_difference_because_a_test_found_none(study):
    chapter = chapter_of(study, "alliance-outcome")
    told = " ".join(block_of(chapter, "outcome-moderators").sentences)
    assert "Treatment: cognitive minus psychodynamic" in told and "neither a difference nor its absence is shown" in told
    assert "no difference" not in told.lower()


def test_a_site_that_misses_a_criterion_of_the_review_is_named_with_the_reason(study):
    table = block_of(chapter_of(study, "alliance-outcome"), "alliance-outcome-eligibility")
    oak = next(row for row in table.rows if row[0].text == report_study.LABELS["oak"])
    assert [cell.text for cell in oak[1:]] == ["met", "met", "met", "met", "not met", "not met", "treatment is group"]
    assert len(table.rows) == 5


def test_very_many_sites_do_not_blow_up_the_chapter(study):
    tables = dict(study.tables["alliance_outcome"])
    for name in ("site_effects", "eligibility"):
        table = tables[name]
        elm = table[table["site"] == "elm"]
        tables[name] = pd.concat([table, *(elm.assign(site=f"site_{number}") for number in range(500))], ignore_index=True)
    many = dataclasses.replace(study, tables={**study.tables, "alliance_outcome": tables})
    chapter = chapter_of(many, "alliance-outcome")
    eligibility, forest = block_of(chapter, "alliance-outcome-eligibility"), block_of(chapter, "alliance-outcome-forest")
    assert len(eligibility.rows) == 6 and len(forest.data.rows) == 1 and "site_effects.csv" in forest.data.note
    assert dict((row[0].text, row[1].value) for row in eligibility.rows)["All five"] == 504


def test_the_chapter_on_therapists_tells_training_shares_and_what_could_be_found(study):
    chapter = chapter_of(study, "therapists")
    effects, variance = study.tables["therapist_factors"]["effects"], study.tables["therapist_factors"]["variance"]
    together = effects[effects["method"].eq("one_stage_therapist_means") & effects["factor"].eq("training")]
    contrast = together[together["contrast"].ne("")].iloc[0]
    assert f"(task and goal minus bond) differ by {numbers.bounded(contrast['estimate'], study.decimals)} SD" in chapter.headlines[0]
    constant = variance[variance["part"].eq("constant") & variance["case_mix"].eq("not held constant") & variance["basis"].eq("sessions")]
    assert chapter.headlines[1].startswith(numbers.percent(constant["estimate"].iloc[0]))
    told = " ".join(chapter.findings)
    fewest = effects[effects["site"].ne(POOLED)]["n_therapists"].min()
    assert f"with {fewest} therapists at one site only a correlation of .67 or more" in told
    assert "one of .34." in told or "one of .35." in told
    assert "client’s dominance × therapist’s dominance" in told
    assert any("after_training of the sessions table" in text for text in chapter.missing)


def test_the_chapter_on_therapists_stays_small_and_draws_shares_that_add_up(study):
    few = report_study.only(study, "early_gains"), report_study.only(study, "early_gains", "therapist_factors")
    without, with_it = (len(pages.render_all(given, report_study.TEMPLATES)["index.html"].encode()) for given in few)
    assert 0 < with_it - without < 60_000
    shares = block_of(chapter_of(study, "therapists"), "therapist-shares")
    assert "As it is: therapists 9%, clients 46%, sessions 44%" in shares.alt
    width = float(ElementTree.fromstring(shares.svg).attrib["width"].removesuffix("pt"))
    assert width <= 3.4 * 72 + 0.1


def test_therapist_factors_that_nothing_could_be_said_of_leave_a_chapter_with_reasons(study):
    effects, variance = (study.tables["therapist_factors"][name] for name in ("effects", "variance"))
    silent = {"status": "not_estimable", "reason": "not estimable: needs the column training of the therapists table"}
    empty = dict.fromkeys(("estimate", "std_error", "ci_low", "ci_high"), float("nan"))
    tables = {"effects": effects.assign(**silent, **empty), "variance": variance.assign(**silent, **empty)}
    chapter = chapter_of(dataclasses.replace(study, tables={**study.tables, "therapist_factors": tables}), "therapists")
    assert chapter.headlines == () and chapter.findings == ()
    assert any("needs the column training" in text for text in chapter.missing)


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        ("contradicts", "In these data the alliance is not explained away by early gains: "),
        ("supports", "In these data early gains explain the alliance away: "),
        ("undecided", "In these data it stays undecided whether early gains explain the alliance away: "),
        ("not estimable", "cannot be told from these data: needs at least 2 sites with early symptoms; has 1."),
    ],
)
def test_the_box_on_early_gains_ends_in_the_sentence_that_its_tests_allow(study, decision, words):
    tables = report_study.early_gains(random.Random(4), decision)
    given = dataclasses.replace(study, tables={**study.tables, "early_gains": tables})
    chapter = chapter_of(given, "early-gains")
    box = block_of(chapter, "artifact")
    assert words in box.conclusion and len(box.tests) == 3
    row = tables["hypotheses"].query("hypothesis == 'c'").iloc[0]
    if decision == "not estimable":
        assert chapter.headlines == (box.conclusion,)
        assert any("needs at least 2 sites with early symptoms" in text for text in chapter.missing)
    else:
        assert (
            f"partial r = {numbers.bounded(row['estimate'], 2)}, 95% CI {numbers.interval(row['ci_low'], row['ci_high'])}" in box.conclusion
        )
        assert ("no proof that nothing is left" in box.conclusion) == (decision == "undecided")
    page_text = pages.render_all(report_study.only(given, "early_gains"), report_study.TEMPLATES)["index.html"]
    assert f'<p class="conclusion"><strong>{html.escape(box.conclusion, quote=False)}' in page_text


def test_support_for_another_hypothesis_qualifies_the_sentence_of_the_box(study):
    tables = report_study.early_gains(random.Random(4), "contradicts")
    hypotheses = tables["hypotheses"]
    hypotheses.loc[hypotheses["hypothesis"] == "b", "decision"] = "supports"
    box = block_of(chapter_of(dataclasses.replace(study, tables={**study.tables, "early_gains": tables}), "early-gains"), "artifact")
    assert "is not explained away" in box.conclusion and "yet hypothesis (b) finds support" in box.conclusion


def test_what_the_alliance_adds_beyond_early_gains_is_shown_as_correlation_and_as_shares(study):
    table = block_of(chapter_of(study, "early-gains"), "early-gains-partial")
    partial = study.tables["early_gains"]["partial"]
    pooled = partial[(partial["site"] == POOLED) & (partial["covariates"] == "intake and early symptoms")].set_index("estimate_type")
    row = next(row for row in table.rows if row[1].text == "intake level and early symptoms")
    kinds = ("partial_correlation", "share_of_rest", "semipartial_correlation", "r_squared_change")
    assert [row[place].value for place in (2, 4, 6, 7)] == [pooled.loc[kind, "estimate"] for kind in kinds]
    assert row[4].text == numbers.percent(pooled.loc["share_of_rest", "estimate"])
    assert "36% to 57%" in table.note


def test_a_site_sees_its_own_headline_beside_the_pooled_one(study):
    tables = {table.id: table for table in site_page.estimate_tables(study, "elm")}
    effects, pooled = (study.tables["alliance_outcome"][name] for name in ("site_effects", "pooled"))
    own = effects[effects["site"].eq("elm") & effects["headline"].eq("yes")].iloc[0]
    all_sites = pooled[pooled["headline"].eq("yes")].iloc[0]
    row = next(row for row in tables["estimates-alliance-outcome"].rows if row[0].text == "Given the intake level")
    assert row[1].value == own["estimate"] and row[4].value == all_sites["estimate"]
    assert len(tables["estimates-early-gains"].rows) == 2


def test_the_summary_counts_are_those_of_the_sites_in_the_results(study):
    cards = {card["label"]: card["number"] for card in study_page.cards(study)}
    included = [status for status in study.statuses if status["status"] != "excluded"]
    assert cards["sites"] == str(len(included)) == "5"
    assert cards["clients"] == f"{sum(status['counts']['clients'] for status in included):,}" == "610"


def test_a_figure_tells_its_pooled_estimate_in_its_alternative_text(study):
    indirect = study.tables["path_models"]["indirect"]
    row = indirect[
        (indirect["site"] == POOLED) & (indirect["model"] == "empathy_alliance_outcome") & (indirect["method"] == "two_stage_reml")
    ].iloc[0]
    found = [block for chapter in report_study.chapters_built() for block in chapter.blocks if isinstance(block, Figure)]
    forest = next(block for block in found if block.id == "forest-empathy-alliance-outcome-indirect")
    assert f"{row['estimate']:.2f}".lstrip("0") in forest.alt
    assert all(len(block.alt) > 40 for block in found)


def test_rows_that_could_not_be_estimated_say_what_they_need(rendered):
    text = html.unescape(rendered["index.html"])
    assert "needs 2 sites with prognosis and an early alliance; has 1" in text
    assert "not estimable" in text


@pytest.mark.parametrize(("key", "shown"), [("tas_marziali", "TAS"), ("wai_sr", "WAI-SR"), ("iip_32_barkham", "IIP-32 (Barkham)")])
def test_an_instrument_has_its_usual_short_name(key, shown):
    assert common.instrument_name(key) == shown


def test_methods_are_set_like_the_rest_of_the_report(rendered):
    text = html.unescape(rendered["index.html"])
    assert "k − 1 degrees of freedom" in text and "Fisher’s z" in text and "95 %" not in text


@pytest.mark.parametrize(
    ("count", "said"), [(1, "the chapter “A” names what they need"), (2, "the chapters “A” and “B” name what they need")]
)
def test_the_summary_counts_the_chapters_with_gaps(study, count, said):
    parts = [dataclasses.replace(part, title=title, missing=("x",)) for part, title in zip(report_study.chapters_built(), "AB")][:count]
    assert said in " ".join(study_page.coverage(study, parts))


def test_every_page_says_that_the_data_are_simulated_and_which_site_was_left_out(rendered):
    for name, text in rendered.items():
        assert "<strong>Simulated data.</strong>" in text, name
        assert "1 of 6 sites not included" in text, name
        assert "ratings.csv has no column for the client (PID)" in text, name


def test_pages_rendered_side_by_side_are_the_same(study):
    alone, beside = (pages.render_all(study, report_study.TEMPLATES, each=in_processes(number)) for number in (1, 2))
    assert list(alone) == list(beside) and alone == beside
    assert pages.CHECKLIST in alone and "sites/" in "".join(alone)


def test_drawing_imports_nothing_that_opens_windows():
    code = (
        "import sys; from alliance.reports import drawing; context = drawing.style(); context.__enter__(); "
        "from matplotlib.figure import Figure; Figure().savefig('/dev/null', format='svg'); print('matplotlib.pyplot' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT / "scripts", check=True).stdout
        == "False\n"
    )


def test_real_data_are_not_called_simulated(study):
    options = json.loads(json.dumps(study.options))
    options["study"]["simulated"] = False
    made = pages.render_all(dataclasses.replace(study, options=options), report_study.TEMPLATES)
    assert all("simulated data" not in text.lower() for text in made.values())


def test_pages_are_well_formed_and_load_nothing(rendered, trees):
    for name, tree in trees.items():
        assert tree.open == [], name
        ids = [attributes["id"] for _, attributes in tree.tags if "id" in attributes]
        assert len(ids) == len(set(ids)), name
        assert tree.all("html")[0]["lang"] == "en"
        assert all(re.match(r"data:image/svg\+xml,", image["src"]) and image["alt"] for image in tree.all("img"))
        assert tree.all("link") == [] and tree.all("iframe") == []
        anchors = {link["href"] for link in tree.all("a")}
        inside = {anchor.removeprefix("#") for anchor in anchors if anchor.startswith("#")}
        assert inside <= set(ids), name
        folder = name.rpartition("/")[0]
        others = {os.path.normpath(os.path.join(folder, anchor.partition("#")[0])) for anchor in anchors if not anchor.startswith("#")}
        # Scripts for R and what is over scenarios lie beside the report's folder; the workbook is written by a step of its own.
        beside = {"../../sensitivity/index.html", "../../index.html", "tables.xlsx"}
        others = {other for other in others if not other.startswith("../lavaan/")} - beside
        assert others <= set(rendered), name
        assert not any("style" in attributes or any(key.startswith("on") for key in attributes) for _, attributes in tree.tags), name


def test_tables_have_captions_and_heads_with_scope_and_scroll_in_a_region_of_their_own(trees):
    for name, tree in trees.items():
        assert len(tree.all("caption")) == len(tree.all("table")), name
        assert all(head.get("scope") in ("col", "row") for head in tree.all("th")), name
        regions = [part for part in tree.all("div") if (part.get("class") or "").startswith("scroll")]
        assert len(regions) == len(tree.all("table")) and all(part["tabindex"] == "0" and part["aria-labelledby"] for part in regions), name


def test_the_policy_allows_this_style_and_script_and_nothing_else(rendered):
    text = rendered["index.html"]
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text).group(1))
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    for tag in ("style", "script"):
        inner = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}$\\frac{1}{0}$ & \u202egnp.exe\x07'


def test_hostile_text_is_only_ever_text(study):
    options = json.loads(json.dumps(study.options))
    options["study"]["title"] = HOSTILE
    options["questions"]["path_models"]["models"]["empathy_alliance_outcome"]["label"] = HOSTILE
    statuses = [{**status, "label": HOSTILE, "reasons": [HOSTILE], "site_facts": {"country": HOSTILE}} for status in study.statuses]
    faults = [dataclasses.replace(issue, message=HOSTILE, fix=HOSTILE, value_shown=HOSTILE, file=HOSTILE) for issue in study.issues]
    made = pages.render_all(dataclasses.replace(study, options=options, statuses=statuses, issues=faults), report_study.TEMPLATES)
    for name, text in made.items():
        tree = Tree(text)
        assert len(tree.all("script")) == 1, name
        assert all(image["src"].startswith("data:image/svg+xml") for image in tree.all("img")), name
        assert "\u202e" not in text and "\x07" not in text, name
        assert r"\u202egnp.exe\x07" in html.unescape(text), name
        assert "{{ 7*7 }}" in html.unescape(text), name


def test_equal_data_give_equal_bytes_and_no_clock_or_path(rendered):
    again = pages.render_all(report_study.made(), report_study.TEMPLATES)
    assert again == rendered
    for text in rendered.values():
        svgs = [unquote(found) for found in re.findall(r'"data:image/svg\+xml,([^"]*)"', text)]
        assert "<svg" in "".join(svgs) or not Tree(text).all("img")
        for inside in (text, *svgs):
            assert str(PROJECT) not in inside
            assert "dc:date" not in inside and "matplotlib v" not in inside.lower()


def test_pages_are_small(rendered):
    assert max(len(text.encode()) for text in rendered.values()) < 3_000_000


def test_a_long_table_is_drawn_in_part_and_keeps_all_its_rows():
    table = report_study_large.specifications(1440)
    text = str(page.environment(report_study.TEMPLATES).get_template("parts.html.j2").module.table(table))
    tree = Tree(text)
    assert len(tree.tags) < 2_100 and len(text) < 400_000
    assert text.count("<tr") == 1 + FIRST_ROWS + 1, "head, first rows, and the emphasised one"
    lines = html.unescape(re.search(r"<pre[^>]*>(.*?)</pre>", text, re.S)[1]).split("\n")
    values = json.loads(next(part for part in tree.all("pre"))["data-values"])
    assert len(lines) == len(values) == 1440 - FIRST_ROWS - 1
    assert lines[0].split("\t") == [cell.text for cell in table.rows[FIRST_ROWS]] and values[0][0] == ["100.0"]
    short = dataclasses.replace(table, rows=table.rows[:MOST_ROWS], emphasised=frozenset())
    assert short.further == () and len(short.drawn) == MOST_ROWS
    for folded in (
        Figure("f", "F", "F", b"", data=short).data,
        Fold("o", "O", (short,)).blocks[0],
        dataclasses.replace(short, folded=True),
    ):
        assert folded is not None and len(folded.drawn) == FIRST_FOLDED_ROWS
        assert len(folded.drawn) + len(folded.further) == len(short.rows)


def test_pages_of_very_many_sites_stay_small():
    many = report_study.only(report_study_large.many_sites(200), "early_gains", "client_factors")
    for name, made in report_study_large.pages(many, report_study.TEMPLATES):
        text = made()
        assert len(text.encode()) < 10_000_000 and len(Tree(text).tags) < 20_000, name


def test_figures_are_drawn_in_bounded_elements_whatever_the_number_of_sites():
    rows = [figures.ForestRow(f"Site {index}", 0.2, 0.1, 0.3) for index in range(500)]
    assert len(figures.forest(rows, axis="r")) < 1_000_000


def test_a_figure_holds_no_text_elements_that_depend_on_fonts_of_the_machine():
    drawing = diagram.path_diagram({"a": Node("Cause"), "b": Node("Effect")}, [Edge("a", "b", ".30", "[.10, .50]")])
    root = ElementTree.fromstring(drawing)
    assert not [element for element in root.iter() if element.tag.endswith("}text")]


def test_a_study_without_any_site_in_the_results_still_gets_its_pages(study):
    empty = {question: {name: table.iloc[:0] for name, table in tables.items()} for question, tables in study.tables.items()}
    statuses = [
        {**status, "status": "excluded", "reasons": ["no file"], "flow": {}, "counts": {}, "instruments": {}} for status in study.statuses
    ]
    made = pages.render_all(
        dataclasses.replace(study, tables=empty, statuses=statuses, scale_moments=pd.DataFrame()), report_study.TEMPLATES
    )
    assert "No result could be computed" in made["index.html"]
    assert "6 of 6 sites not included" in made["index.html"]


def test_a_question_without_a_chapter_of_its_own_is_shown_all_the_same(study, monkeypatch):
    tables = {name: study.tables[name] for name in ("early_gains", "dropout")}
    tables["convergent_validity"] = {"overlap_summary": study.tables["convergent_validity"]["overlap_summary"]}
    others = {questions: make for questions, make in order.CHAPTERS.items() if questions != measurement.QUESTIONS}
    monkeypatch.setattr(order, "CHAPTERS", others)
    built = order.build(dataclasses.replace(study, tables=tables))
    general = next(chapter for chapter in built if chapter.id == "convergent-validity")
    assert general.title == "Convergent validity" and len(general.blocks[0].rows) > 0


def test_invisible_characters_are_written_out():
    assert page.visible("a\u200bb\u202ec\x00é\n") == "a\\u200bb\\u202ec\\x00é\n"


def test_the_command_writes_all_pages_and_removes_those_of_sites_that_are_gone(study, rendered, tmp_path):
    report_study.write(study, tmp_path)
    (tmp_path / "deviations.csv").write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
    stale = tmp_path / "report" / "sites" / "gone.html"
    stale.parent.mkdir(parents=True)
    stale.write_text("old", encoding="utf-8")
    workflow = PROJECT / "workflow"
    command = [
        sys.executable,
        str(PROJECT / "scripts" / "render_reports.py"),
        *("--scenario", "base", "--sites", json.dumps(list(report_study.SITES))),
        *("--site-tables", tmp_path / "sites", "--scores", tmp_path / "scores", "--tables", tmp_path / "tables"),
        *("--issues", tmp_path / "issues.csv", "--config", tmp_path / "options.json", "--constants", tmp_path / "constants.json"),
        *("--provenance", tmp_path / "provenance.json", "--instruments", *sorted((workflow / "instruments").glob("*.yaml"))),
        *("--benchmarks", workflow / "benchmarks.yaml", "--references", workflow / "references.bib"),
        *("--guide", workflow / "guide", "--headlines", workflow / "headlines.yaml", "--workbook", "tables.xlsx"),
        *("--coverage", workflow / "simulated_coverage.csv", "--preregistration", "null", "--deviations", tmp_path / "deviations.csv"),
        *("--templates", workflow / "templates", "--output", tmp_path / "report"),
    ]
    surroundings = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": "C"}
    subprocess.run([str(part) for part in command], check=True, env=surroundings, cwd=tmp_path)
    written = {
        path.relative_to(tmp_path / "report").as_posix(): path.read_text(encoding="utf-8") for path in (tmp_path / "report").rglob("*.html")
    }
    assert set(written) == set(rendered)
    assert written == rendered


def test_methods_tell_how_often_their_intervals_held_the_truth_in_simulations(study, trees):
    text = " ".join("".join(trees["index.html"].text).split())
    table = study.tables["convergent_validity"]["pairs"]
    used = set(table.loc[table["status"].eq("estimated"), ["estimate_type", "method"]].itertuples(index=False, name=None))
    assert {("correlation", "cluster_robust"), ("correlation", "two_stage_reml")} <= used
    known = coverage.of_rows(study.coverage, used, "guarded_hartung_knapp")
    assert {"sandwich", "guarded_hartung_knapp"} <= {one.interval for one in known}
    for told in coverage.sentences(known):
        assert told.replace(" %", "%") in text
    assert "95% normal intervals held" not in text
    unknown = dataclasses.replace(report_study.only(study, "convergent_validity", "early_gains"), coverage=())
    assert "In simulation" not in pages.render_all(unknown, report_study.TEMPLATES)["index.html"]


def test_long_reasons_are_cut_at_a_word_and_say_how_many_more_there_are():
    shown = why_left_out(["needs columns that the file does not have: " + "S1_HAQ_1 " * 60, "another", "a third"])
    assert shown.endswith("S1_HAQ_1… (+ 2 more; see the quality report)") and len(shown) < 165
    assert why_left_out(["no client ids"]) == "no client ids"
    assert why_left_out([]) == "no reason was recorded; see the quality report"


def test_a_row_that_several_published_figures_speak_to_is_shown_once(study):
    overlap = study.tables["convergent_validity"]["overlap_summary"]
    keys = ["level", "rater", "basis", "estimate_type", "site"]
    assert overlap.duplicated(keys).any(), "the invented study must hold such a row"
    assert not inputs.distinct(overlap).duplicated(keys).any()
    beside = published.tables(study, "convergent_validity", lambda table, row: table if table == "overlap_summary" else "")[0]
    assert len(beside.rows) == len(overlap[overlap["claim"] != ""])


def test_a_published_quality_page_says_of_no_site_that_nothing_was_found(study):
    hidden = [dataclasses.replace(issue, site="", code="") for issue in study.issues]
    published = dataclasses.replace(study, issues=hidden, provenance={**study.provenance, "disclosure": {"name": "public"}})
    told = " ".join(quality_page.summary(published))
    assert hidden and "Nothing was found" not in told and "site" in told and " 0 " not in told
    reach = {row[0].text: row[2].text for row in quality_page.reach_table(published).rows if row[1].value}
    assert reach and set(reach.values()) == {numbers.UNKNOWN}
