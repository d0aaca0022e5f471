"""Every headline number of the demo is one row of a result table."""

from __future__ import annotations

from alliance.files import read_json
from alliance.questions.headlines import headline_numbers, load_headlines
from alliance.reports.inputs import read_tables
from support import PROJECT, Checkout


def test_every_headline_of_the_demo_is_one_row_and_has_a_number(computed: Checkout):
    headlines = load_headlines(PROJECT / "workflow" / "headlines.yaml")
    folder = computed.results / "base"
    tables = read_tables(folder / "tables", sorted({one.question for one in headlines}))
    numbers = headline_numbers(headlines, tables, read_json(folder / "resolved_config.json")).set_index("headline")
    assert numbers["status"].isin(["estimated", "flagged"]).all(), numbers.loc[numbers["estimate"].isna(), "reason"].tolist()
    for one in headlines:
        rows = tables[one.question][one.table]
        pooled = rows[rows["site"].eq("(pooled)") & rows["estimate"].eq(numbers.loc[one.key, "estimate"])]
        assert len(pooled.drop(columns=["claim", "published", "difference"]).drop_duplicates()) >= 1, one.key
