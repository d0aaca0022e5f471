"""The multiverse in sentences, figures and tables: what all specifications say together, and which decision matters most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alliance.questions.contract import COMPUTED, DECIMALS, WITH_NUMBERS
from alliance.questions.sentences import Sentence
from alliance.reports import figures_multiverse, methods_text, numbers
from alliance.reports.chapters import common
from alliance.reports.elements import Cell, Chapter, Column, Figure, Fold, Table, listed, number_cell, slug, text_cell
from alliance.reports.inputs import ReportData
from alliance.sensitivity.pooled_multiverse import FLIPS, HISTORICAL, SHUFFLES
from alliance.sensitivity.specifications import Multiverse, dotted

TITLES = {
    "alliance_outcome": "Alliance and outcome",
    "within_clients": "Alliance and symptoms within clients",
    "dropout": "Alliance and dropout",
    "rupture_outcome": "Unrepaired ruptures and outcome",
}
AXES = {
    "alliance_outcome": "Correlation of alliance and outcome",
    "within_clients": "Symptoms of the next session (better: up), SD",
    "dropout": "Hazard ratio of dropout, per SD of the alliance",
    "rupture_outcome": "Outcome after an unrepaired rupture, SD",
}
LIMITS = (
    "All specifications rest on the same clients. That many of them agree is no replication, and their share is not a probability.",
    "Specifications are not equally good. The curve shows how far the answer depends on choices that are listed here; choices that nobody "
    "listed are not in it.",
    "A specification that fewer sites can answer differs from the others in its sites too.",
)


SHARE_DECIMALS = DECIMALS + 1
"""Decimals with which shares of variance over specifications are published, so that what is said of them does not depend on more."""


def multiverse_chapter(data: ReportData, one: Multiverse, options: Mapping[str, Any]) -> Chapter:
    """Return the chapter of one multiverse.

    Parameters
    ----------
    data : ReportData
        With the tables of question ``sensitivity``.
    one : Multiverse
    options : mapping
        What the multiverse reads.
    """
    name = one.target.name
    tables = {key: table[table["multiverse"].eq(name)] for key, table in data.tables["sensitivity"].items() if "multiverse" in table}
    rows, influence, summary = (tables[key] for key in ("specifications", "node_influence", "summary"))
    used = rows[rows["status"].isin(WITH_NUMBERS)]
    told = _Told(data, one, rows, influence, summary)
    blocks: list[Any] = []
    if len(used):
        blocks.append(_curve(data, one, used))
    blocks += [_influence_table(one, influence), _rules(one), _option_table(one), _specification_table(data, one, rows)]
    return Chapter(
        id=f"multiverse-{slug(name)}",
        title=f"All specifications: {TITLES[name].lower()}",
        question=f"How much does the answer on {one.target.label} depend on the choices behind it?",
        sources=(),
        findings=told.findings(),
        blocks=tuple(blocks),
        methods=methods_text.printed(data, methods(one, options)),
        limits=LIMITS,
        headlines=told.headlines(),
        missing=_missing(one, rows),
        withheld=common.withheld_of(rows, "specification"),
    )


class _Told:
    """Sentences of one multiverse from its summary."""

    def __init__(self, data: ReportData, one: Multiverse, every: pd.DataFrame, influence: pd.DataFrame, summary: pd.DataFrame) -> None:
        self.data, self.one, self.influence = data, one, influence
        self.used = every[every["status"].isin(WITH_NUMBERS)]
        self.estimated = int(every["status"].isin(COMPUTED).sum())
        self.more = common.more_withheld(every)
        self.rows = {(row.statistic, row.method): row for row in summary.itertuples() if row.statistic != "removed_by_rule"}
        self.removed = int(summary.loc[summary["statistic"].eq("removed_by_rule"), "estimate"].sum())
        self.form = common.form(one.target.estimate_type)

    def _row(self, statistic: str, method: str = "over_specifications") -> Any:
        return self.rows.get((statistic, method))

    def _number(self, statistic: str) -> str:
        return self.form(self._row(statistic).estimate, self.data.decimals)

    def headlines(self) -> tuple[str, ...]:
        """Return what a reader of the summary needs."""
        if not len(self.used):
            return ()
        same = numbers.percent(self._row("share_same_sign").estimate)
        return (
            f"{TITLES[self.one.target.name]}: over {common.plural(self.estimated, 'specification')} the median is {self._number('median')} "
            f"({self._number('smallest')} to {self._number('largest')}); {same} lie on the same side of no effect.",
        )

    def findings(self) -> tuple[str, ...]:
        """Return how many specifications there are, what they say together, the tests, and which decision matters most."""
        total = int(self._row("combinations").estimate)
        count = int(self._row("specifications").estimate)
        text = f"{common.plural(len(self.one.nodes), 'decision')} with their options make {common.plural(total, 'combination')}"
        if self.removed:
            rules = len(self.one.removed)
            text += f"; {common.plural(rules, 'rule')} {'removes' if rules == 1 else 'remove'} {numbers.count(self.removed)} of them, "
            text += f"which leaves {common.plural(count, 'specification')}"
        sentences = [f"{text}. {numbers.count(self.estimated)} can be estimated."]
        if not len(self.used):
            return tuple(sentences)
        quartiles = f"{self._number('lower_quartile')} and {self._number('upper_quartile')}"
        sentences.append(
            f"Their median is {self._number('median')}, the middle half lies between {quartiles}, all between {self._number('smallest')} "
            "and "
            f"{self._number('largest')}. {numbers.percent(self._row('share_same_sign').estimate)} have the sign of the median; in "
            f"{numbers.percent(self._row('share_excluding_zero').estimate)} the {self.data.level} interval excludes no effect on that "
            "side, in "
            f"{numbers.percent(self._row('share_excluding_zero_other_sign').estimate)} on the other."
        )
        standing = self._row("as_it_stands")
        if standing is not None:
            interval = numbers.interval(standing.ci_low, standing.ci_high, self.data.decimals, bound=self.form is numbers.bounded)
            below = numbers.percent(self._row("share_below_as_it_stands").estimate)
            sentences.append(
                f"The configuration as it stands gives {self._number('as_it_stands')} {interval}, more than {below} of the specifications."
            )
        sentences += self._tests()
        sentences += self._decisions()
        return tuple(sentences)

    def _tests(self) -> list[str]:
        row = self._row("joint_test_any_specification", FLIPS)
        if row is None:
            reason = next((one.reason for (name, _), one in self.rows.items() if name == "joint_test_any_specification"), "")
            return [f"The joint test is {reason}."] if reason else []
        others = {name: self._row(f"joint_test_{name}", FLIPS) for name in ("median", "share_excluding_zero")}
        text = (
            f"If the alliance had no effect in any specification, one as strong as the strongest would come about by chance with "
            f"p {numbers.p_value(row.estimate)}, a median as far from no effect with p {numbers.p_value(others['median'].estimate)}, as "
            "many specifications that exclude "
            f"no effect with p {numbers.p_value(others['share_excluding_zero'].estimate)} (signs of {common.plural(row.n_units, 'unit')} "
            "of therapists flipped)."
        )
        sentences = [text + (f" {common.remark(row)}." if row.reason else "")]
        adjusted = int((self.used["p_adjusted"] < 0.05).sum())
        sentences.append(
            f"After adjusting for the search over all specifications, {numbers.count(adjusted)} of {numbers.count(len(self.used))}"
            f"{self.more} have p{numbers.SPACE}<{numbers.SPACE}.05."
        )
        old = self._row("historical_test_any_specification", SHUFFLES)
        if old is not None:
            sentences.append(
                f"Shuffling the alliance within sites gives p {numbers.p_value(old.estimate)} for the strongest ({HISTORICAL})."
            )
        return sentences

    def _decisions(self) -> list[str]:
        shares = self.influence[self.influence["share_of"].eq("with_interactions") & self.influence["status"].isin(WITH_NUMBERS)]
        if shares.empty:
            return []
        ordered = shares.sort_values("estimate", ascending=False, kind="stable")
        most = ordered.iloc[0]
        mains = self.influence[self.influence["share_of"].eq("main")].set_index("node")["estimate"]
        text = (
            f"The decision that matters most is “{common.words(most['node']).lower()}”: {numbers.percent(most['estimate'])} of the "
            "variance of the "
            f"estimates lies between specifications that differ in it alone ({numbers.percent(mains[most['node']])} by its main effect)."
        )
        text += f" {self._by_option(most['node'])}"
        alone = {row.node for row in shares.itertuples() if row.status == "flagged"}
        little = [node for node in ordered.loc[ordered["estimate"].round(SHARE_DECIMALS) < 0.01, "node"] if node not in alone]
        text += f" Less than 1% hangs on {_quoted(little)}." if little else ""
        open_ = [node for node in self.one.nodes if node in alone]
        return [text + (f" Nothing can be said of {_quoted(open_)}, of which one option only can be estimated." if open_ else "")]

    def _by_option(self, node: str) -> str:
        """Return the median of the specifications of each option, from the smallest to the largest."""
        chosen = {specification.number: specification.choices[node] for specification in self.one.specifications}
        medians = self.used.groupby(self.used["specification"].map(chosen))["estimate"].median().sort_values(kind="stable")
        each = [f"{self.form(value, self.data.decimals)} with “{_option_words(option)}”" for option, value in medians.items()]
        return f"The median is {listed(each)}{self.more}."


def _quoted(nodes: Sequence[str]) -> str:
    return listed([f"“{common.words(node).lower()}”" for node in nodes])


def _option_words(option: str) -> str:
    return option.replace("_", " ")


def _curve(data: ReportData, one: Multiverse, used: pd.DataFrame) -> Figure:
    ordered = used.sort_values(["estimate", "specification"], kind="stable")
    choices = {specification.number: specification.choices for specification in one.specifications}
    standing = np.flatnonzero(ordered["as_it_stands"].eq("yes").to_numpy())
    nodes = [
        (
            common.words(node),
            [
                (_option_words(option), np.array([choices[number][node] == option for number in ordered["specification"]]))
                for option in options
            ],
        )
        for node, options in one.nodes.items()
    ]
    columns = [ordered[name].to_numpy(dtype=float) for name in ("estimate", "ci_low", "ci_high")]
    curve = figures_multiverse.Curve(*columns, int(standing[0]) if len(standing) else None, nodes)
    reference = 1.0 if one.target.estimate_type in common.RATIO_TYPES else 0.0
    drawn = {"axis": AXES[one.target.name], "reference": reference, "bound": one.target.estimate_type in common.BOUNDED_TYPES}
    return Figure(
        id=f"curve-{slug(one.target.name)}",
        title=f"{TITLES[one.target.name]}: every specification in order of size, and the choices that made it",
        alt=f"{common.plural(len(ordered), 'estimate')} in order of size with their intervals; below, for every option, where its "
        "specifications stand in that order. The sentences above say the same in words; the table of specifications holds all numbers.",
        svg=figures_multiverse.specification_curve(curve, **drawn),
        narrow=figures_multiverse.specification_curve(curve, **drawn, narrow=True),
        note=f"Dots: pooled estimates, blue where the {data.level} interval (light) excludes no effect. Diamond: the configuration as it "
        f"stands. An option that matters gathers its marks at one end.{_beyond(figures_multiverse.beyond(curve, reference))}",
    )


def _beyond(count: int) -> str:
    """Return how many intervals the drawing cuts off, in a sentence; empty where it cuts none."""
    return f" {common.plural(count, 'interval')} {'reaches' if count == 1 else 'reach'} beyond the drawing." if count else ""


def _influence_table(one: Multiverse, influence: pd.DataFrame) -> Table:
    by_kind = {kind: own.set_index("node") for kind, own in influence.groupby("share_of")}
    pairs = influence[influence["share_of"].eq("interaction")]
    rows = []
    for node in one.nodes:
        main, total = (by_kind[kind].loc[node] for kind in ("main", "with_interactions"))
        own = pairs[pairs["node"].eq(node) | pairs["with_node"].eq(node)].sort_values("estimate", ascending=False, kind="stable")
        partner = own.iloc[0] if len(own) and own["estimate"].round(SHARE_DECIMALS).iloc[0] >= 0.005 else None
        other = "" if partner is None else partner["with_node"] if partner["node"] == node else partner["node"]
        rows.append(
            (
                Cell(common.words(node)),
                number_cell(_share(main["estimate"]), main["estimate"]),
                number_cell(_share(total["estimate"]), total["estimate"]),
                text_cell(f"{common.words(other)} ({_share(partner['estimate'])})" if other else ""),
                text_cell(main["reason"]),
            )
        )
    rows.sort(key=lambda row: -(row[2].value if isinstance(row[2].value, float) else -1.0))
    columns = (
        Column("Decision"),
        Column("By itself", True),
        Column("With interactions", True),
        Column("Strongest interaction"),
        Column("Remark", optional=True, wide=True),
    )
    return Table(
        f"influence-{slug(one.target.name)}",
        "Share of the variance of the estimates that each decision explains",
        columns,
        tuple(rows),
        note="By itself: what the main effects explain less without it. With interactions: what differs among specifications that agree "
        "in all "
        "other decisions.",
    )


def _share(value: Any) -> str:
    return numbers.percent(value, 1) if numbers.known(value) else numbers.UNKNOWN


def _rules(one: Multiverse) -> Table:
    rows = tuple(
        (
            Cell(" and ".join(f"{common.words(node)}: {' or '.join(map(_option_words, options))}" for node, options in rule.when.items())),
            text_cell(rule.reason),
            number_cell(numbers.count(rule.count), rule.count),
        )
        for rule in one.removed
    )
    columns = (Column("Combination", wide=True), Column("Why it is removed", wide=True), Column("Removed", True))
    return Table(
        f"rules-{slug(one.target.name)}",
        "Combinations removed by rule",
        columns,
        rows,
        note="A combination that several rules concern is counted with the first.",
        empty="No rule removes a combination.",
        folded=True,
    )


def _option_table(one: Multiverse) -> Table:
    rows = tuple(
        (
            Cell(common.words(node)),
            Cell(_option_words(option)),
            text_cell("; ".join(_assignments(one.changes[node][option])) or "as config.yaml says"),
        )
        for node, options in one.nodes.items()
        for option in options
    )
    columns = (Column("Decision"), Column("Option"), Column("Keys of config.yaml", wide=True))
    return Table(f"options-{slug(one.target.name)}", "Decisions, their options, and what they change", columns, rows, folded=True)


def _assignments(changes: Mapping[str, Any]) -> list[str]:
    texts = []
    for key in dotted(changes):
        value: Any = changes
        for part in key.split("."):
            value = value[part]
        texts.append(f"{key}: {_value(value)}")
    return texts


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _specification_table(data: ReportData, one: Multiverse, rows: pd.DataFrame) -> Fold:
    choices = {specification.number: specification.choices for specification in one.specifications}
    form = common.form(one.target.estimate_type)
    made = []
    for row in rows.itertuples():
        known = row.status in WITH_NUMBERS
        interval = numbers.interval(row.ci_low, row.ci_high, data.decimals, bound=form is numbers.bounded)
        made.append(
            (
                Cell(str(row.specification), float(row.specification)),
                number_cell(form(row.estimate, data.decimals) if known else numbers.UNKNOWN, row.estimate if known else None),
                number_cell(interval if known else numbers.UNKNOWN, row.ci_low if known else None),
                number_cell(numbers.p_value(row.p_adjusted), row.p_adjusted),
                common.count_cell(row.n_sites),
                common.count_cell(row.n_clients),
                *(Cell(_option_words(choices[row.specification][node])) for node in one.nodes),
                text_cell("" if known else common.remark(row)),
            )
        )
    columns = (
        Column("Number", True),
        Column("Estimate", True),
        Column(f"{data.level} CI", True),
        Column("p, adjusted", True),
        Column("Sites", True),
        Column("Clients", True),
        *(Column(common.words(node)) for node in one.nodes),
        Column("Not estimable", wide=True, optional=True),
    )
    standing = frozenset(np.flatnonzero(rows["as_it_stands"].eq("yes")).tolist())
    table = Table(
        id=f"specifications-{slug(one.target.name)}",
        caption="All specifications; the one in bold is the configuration as it stands",
        columns=columns,
        rows=tuple(made),
        note="A head sorts the table. The button beside a number copies the whole configuration of that specification, ready to be saved "
        "as "
        "config.yaml (JSON is YAML); without it, lay the keys of its options over the configuration at the end of this page.",
        emphasised=standing,
        configurations=f"option-changes-{slug(one.target.name)}",
    )
    return Fold(
        f"find-{slug(one.target.name)}", f"Find a specification: all {numbers.count(len(made))}, with their numbers and choices", (table,)
    )


def _missing(one: Multiverse, rows: pd.DataFrame) -> tuple[str, ...]:
    """Return how many specifications cannot be estimated, why, and which options they have in common."""
    choices = {specification.number: specification.choices for specification in one.specifications}
    absent = rows[~rows["status"].isin(COMPUTED)]
    told = []
    for reason, own in absent.groupby("reason", sort=True):
        chosen = {node: {choices[number][node] for number in own["specification"]} for node in one.nodes}
        shared = [
            f"{common.words(node).lower()} {' or '.join(_option_words(option) for option in one.nodes[node] if option in options)}"
            for node, options in chosen.items()
            if len(options) < len(one.nodes[node])
        ]
        where = f" (all with {listed(shared)})" if shared else ""
        told.append(f"{common.plural(len(own), 'specification')}{where}: {reason.removeprefix('not estimable: ')}.")
    return tuple(told)


def methods(one: Multiverse, options: Mapping[str, Any]) -> list[Sentence]:
    """Return what was done, with citation keys."""
    section = options["multiverse"]
    said = [
        Sentence(
            f"Every combination of the options of {common.plural(len(one.nodes), 'decision')} that no rule removes was estimated at every "
            "site "
            "and pooled by the functions of the main analysis",
            ("steegen_2016", "simonsohn_2020"),
        ),
        Sentence(
            f"The joint test flips the signs of whole therapists' scores (products of alliance and outcome, both freed of what is held "
            f"constant) {numbers.count(section['flips'])} times at random, the same flips for every specification; therapists with fewer "
            "than "
            "five clients are flipped together with others",
            ("hemerik_2020", "girardi_2024"),
        ),
        Sentence(
            "p values adjusted for the search are those of the strongest of all specifications under each flip", ("westfall_young_1993",)
        ),
        Sentence(
            "The variance that a decision explains is the loss of the model of all main effects without it and, with interactions, what "
            "remains among specifications that agree in all other decisions",
            ("homma_saltelli_1996",),
        ),
    ]
    if one.target.name == "alliance_outcome":
        said.append(Sentence("Scores of specifications that impute, or use clients with some values, are those of clients with all values"))
    return [Sentence(f"{sentence.text}.", sentence.citations) for sentence in said]
