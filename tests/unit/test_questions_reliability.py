"""Reliability over sites: forms and answers that differ between sites are not taken for one another."""

from __future__ import annotations

import numpy as np
import pandas as pd
from alliance.questions import effects
from alliance.questions.contract import MOMENTS, POOLED, check, finish, typed
from alliance.questions.measurement import reliability as measurement_reliability
from alliance.questions.site_data import Published, SiteData
from alliance.questions.summary import SiteSummary
from simulated_items import REGISTRY, bifactor_answers, item_frame, item_site
from simulated_site import OPTIONS


def summary_of(site) -> SiteSummary:
    part = measurement_reliability.estimate(site, OPTIONS)
    rows = pd.DataFrame(part.rows).assign(model="reliability")
    names = [row["parameter"] for row in part.rows]
    vcov = pd.DataFrame({"model": "reliability", "parameter1": names, "parameter2": names, "cov": part.variances})
    return SiteSummary(site.site, "measurement", site.label, estimates=rows, vcov=vcov[np.isfinite(vcov["cov"].astype(float))])


def pooled(sites) -> pd.DataFrame:
    summaries = [summary_of(site) for site in sites]
    table = finish(measurement_reliability.pool(effects.gather(summaries), summaries, OPTIONS), "measurement", "reliability")
    check(table, "measurement", "reliability")
    return table[table["site"].eq(POOLED) & table["window"].eq("session_3")]


def answered(name, instrument, seed, n=40) -> SiteData:
    return item_site(name, {instrument: item_frame(instrument, bifactor_answers(instrument, n, np.random.default_rng(seed)))})


def published(name, instrument, seed, n=100) -> SiteData:
    covariance = np.cov(bifactor_answers(instrument, n, np.random.default_rng(seed)), rowvar=False)
    names = [f"{instrument}.i{item}.client" for item in range(1, len(covariance) + 1)]
    rows = [(names[i], names[j], covariance[i, j]) for i in range(len(names)) for j in range(i, len(names))]
    frame = pd.DataFrame(rows, columns=["var1", "var2", "cov"]).assign(block="all", level="client", n=n, method="covariance")
    none = pd.DataFrame(columns=["question", "model", "parameter", "estimate", "n", "std_error"])
    return SiteData(name, name.upper(), instruments=REGISTRY, published=Published(typed(frame, MOMENTS), none))


def test_pooled_short_forms_have_the_categories_of_the_forms_that_were_filled_in():
    sites = [answered(name, "wai_36", seed) for seed, name in enumerate("ab")] + [
        answered(name, "wai_sr", seed) for seed, name in enumerate("cd")
    ]
    table = pooled(sites)
    own = table[table["instrument"].eq("wai_sr") & table["estimate_type"].eq("alpha") & table["instrument_scale"].eq("bond")]
    assert own.set_index("derived_from")["categories"].to_dict() == {"": 5, "wai_36": 7}


def test_a_published_matrix_of_ordinal_items_is_pooled_with_the_omega_of_rows():
    table = pooled([answered("a", "wai_sr", 1), answered("b", "wai_sr", 2), published("p", "wai_sr", 3)])
    own = table[table["instrument"].eq("wai_sr") & table["instrument_scale"].eq("bond") & table["estimate_type"].eq("omega_total")]
    assert own[["n_sites", "headline"]].to_numpy().tolist() == [[3, "no"]]
    ordinal = table[table["instrument"].eq("wai_sr") & table["instrument_scale"].eq("bond") & table["estimate_type"].eq("omega_ordinal")]
    assert ordinal[["n_sites", "headline"]].to_numpy().tolist() == [[2, "yes"]]


def test_pooled_ceilings_that_rest_on_half_clients_say_so():
    table = pooled([answered(name, "wai_sr", seed) for seed, name in enumerate("abc")])
    row = table[table["estimate_type"].eq("share") & table["instrument_scale"].eq("total")].iloc[0]
    assert row["estimate"] > 0 and row["status"] == "flagged"
    assert "half a client was added at 3 sites" in row["reason"] and "of all clients together it is 0.000" in row["reason"]
