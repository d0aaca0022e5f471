"""Simulated answers of the reference test of reliability, agreement of raters and components, four sites unlike each other.

``python tests/reference/measurement_rows.py`` computes the stored values again (needs Rscript; some minutes).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import r_script
from statistics_reference import HERE, _normals

# Items, lowest and highest answer, reversed items, items of the scales; as printed on the forms.
FORMS = {
    "wai_s": (12, 1, 7, (4, 10), ((1, 2, 8, 12), (3, 5, 7, 9), (4, 6, 10, 11))),
    "wai_sr": (12, 1, 5, (), ((1, 2, 10, 12), (3, 5, 7, 9), (4, 6, 8, 11))),
    "haq_2": (19, 1, 6, (4, 8, 11, 16, 19), ((1, 2, 3, 5, 6, 7, 9, 10, 12, 13, 14, 15, 17, 18), (4, 8, 11, 16, 19))),
}
# Site, clients, therapists (0: not known).
SITES = (("a", 84, 12), ("b", 80, 9), ("c", 45, 0), ("d", 90, 6))
KEYS = ["site", "instrument", "rater", "rater_no", "client", "therapist", "session"]


class _Site:
    """Draws the answers of one site's clients."""

    def __init__(self, place: int) -> None:
        self.site, self.n, self.therapists = SITES[place]
        self.seed = 2000 + 100 * place
        self.random = np.random.Generator(np.random.PCG64(self.seed))
        self.client = np.arange(1, self.n + 1)
        sizes = np.arange(self.n) ** 2 % max(self.therapists, 1) if place == 1 else np.arange(self.n) % max(self.therapists, 1)
        self.therapist = np.where(self.random.random(self.n) < 0.15, (sizes + 1) % max(self.therapists, 1), sizes) + 1.0
        if not self.therapists:
            self.therapist[:] = np.nan
        shared = 0.4 * self.normals(max(self.therapists, 1))[np.nan_to_num(self.therapist, nan=1.0).astype(int) - 1]
        self.view = 0.7 * self.normals(self.n) + shared
        self.frames: list[pd.DataFrame] = []

    def normals(self, *shape: int) -> np.ndarray:
        self.seed += 1
        return _normals(self.seed, *shape)

    def fill_in(
        self, instrument, rater, sessions, *, view=None, own=0.6, error=0.7, missing=0.0, rated=1.0, rater_no=1, third=None, moments=None
    ):
        """Add the forms of some sessions: one general factor, one a scale, what a client's answers to an item share, and errors.

        ``third`` are the therapists of every third session, where they are others; ``moments`` what the session was like to all raters.
        """
        items, low, high, reverse, scales = FORMS[instrument]
        view = self.view if view is None else view
        of_item = 0.7 * self.normals(self.n, items)
        strength = 0.75 + 0.35 * np.sin(np.arange(items))
        for place, session in enumerate(sessions):
            general = view + 0.55 * self.normals(self.n) + (0.0 if moments is None else moments[:, place])
            values = general[:, None] * strength + of_item + error * self.normals(self.n, items)
            for numbers in scales:
                values[:, np.array(numbers) - 1] += own * self.normals(self.n, 1)
            answers = np.clip(np.rint((low + high) / 2 + 0.4 + values * (high - low) / 5.5), low, high)
            turned = np.array(reverse, dtype=int) - 1
            answers[:, turned] = low + high - answers[:, turned]
            answers[self.random.random(answers.shape) < missing] = np.nan
            frame = pd.DataFrame(answers, columns=[f"i{item}" for item in range(1, items + 1)])
            about = {"site": self.site, "instrument": instrument, "rater": rater, "rater_no": rater_no, "client": self.client}
            frame = frame.assign(**about, therapist=self.therapist if third is None or session % 3 else third, session=session)
            self.frames.append(frame[self.random.random(self.n) < rated])


def _conditions(site: _Site) -> pd.DataFrame:
    """Return two conditions of session 3, as a site sends scale scores."""
    care = 30 + 5 * (site.view + 0.6 * site.normals(site.n))
    regard = 20 + 8 * (0.7 * site.view + 0.8 * site.normals(site.n))
    frame = pd.DataFrame({"site": site.site, "client": site.client, "care": care.round(2), "regard": regard.round(2)})
    return frame[site.random.random(site.n) < 0.93]


def rows() -> dict[str, pd.DataFrame]:
    """Return what the sites sent.

    Returns
    -------
    dict
        ``answers`` (``site, instrument, rater, rater_no, client, therapist, session, i1, ...``), ``clients`` (``site, client, therapist``),
        ``sessions`` (attended ones: ``site, client, session``) and ``conditions`` (``site, client, care, regard``).
    """
    sites = [_Site(place) for place in range(len(SITES))]
    a, b, c, d = sites
    # a: twelve therapists; clients rated three sessions without a gap, therapists two with gaps, two observers
    # the third and fourth.
    a.fill_in("wai_s", "client", (3, 4, 5))
    a.fill_in("wai_s", "therapist", (3, 4), view=0.5 * a.view + 0.5 * a.normals(a.n), missing=0.01, rated=0.93)
    seen, moments = 0.6 * a.view + 0.8 * a.normals(a.n), 0.8 * a.normals(a.n, 2)
    for number in (1, 2):
        a.fill_in("wai_s", "observer", (3, 4), view=seen + 0.4 * (number - 1), own=0.3, rater_no=number, moments=moments)
    # b: clients change therapists and sessions are rated as it happens; two of three observers at a session, or one.
    other = np.where(b.client % 7 == 0, b.therapist % b.therapists + 1, b.therapist)
    b.fill_in("wai_sr", "client", range(1, 7), missing=0.01, rated=0.7, third=other)
    seen = 0.8 * b.view + 0.5 * b.normals(b.n)
    for number in (1, 2, 3):
        b.fill_in("wai_s", "observer", (2,), view=1.6 * seen + 0.3 * number, own=0.3, rated=0.75, rater_no=number)
    # c: therapists are not known; one session.
    c.fill_in("wai_s", "client", (3,), missing=0.005)
    c.fill_in("wai_s", "therapist", (3,), view=0.6 * c.view + 0.5 * c.normals(c.n))
    c.fill_in("haq_2", "client", (3,), missing=0.002)
    seen = 0.7 * c.view + 0.5 * c.normals(c.n)
    for number in (1, 2):
        c.fill_in("haq_2", "observer", (3,), view=seen - 0.2 * number, rater_no=number)
    # d: six therapists, the third of eight sessions.
    d.fill_in("wai_sr", "client", (3,), own=0.7, missing=0.003)
    d.fill_in("haq_2", "client", (3,), view=d.view + 1.1, error=0.6)
    answers = pd.concat([frame for site in sites for frame in site.frames], ignore_index=True)
    columns = [f"i{item}" for item in range(1, 20)]
    attended = [(site.site, site.client, last) for site, last in ((a, 6), (b, 6), (d, 8))]
    sessions = [
        pd.DataFrame({"site": site, "client": np.repeat(clients, last), "session": np.tile(np.arange(1, last + 1), len(clients))})
        for site, clients, last in attended
    ]
    clients = pd.concat([pd.DataFrame({"site": one.site, "client": one.client, "therapist": one.therapist}) for one in sites])
    # b sends therapists with the forms; its table of clients names those of the first twenty clients only.
    clients.loc[clients["site"].eq("b") & clients["client"].gt(20), "therapist"] = np.nan
    return {
        "answers": answers[KEYS + columns],
        "clients": clients.reset_index(drop=True),
        "sessions": pd.concat(sessions, ignore_index=True),
        "conditions": pd.concat([_conditions(site) for site in (a, b, d)], ignore_index=True),
    }


def computed(*, slow: bool = False) -> dict:
    """Return what R gives now; ``slow``: with what takes minutes (errors of two-level and categorical omega)."""
    with tempfile.TemporaryDirectory() as folder:
        for name, table in rows().items():
            table.to_csv(Path(folder) / f"{name}.csv", index=False, na_rep="NA")
        (Path(folder) / "slow.json").write_text(json.dumps(slow), encoding="utf-8")
        return r_script.values("measurement_tables.R", folder)


if __name__ == "__main__":
    lines = (json.dumps(row, sort_keys=True) for row in computed(slow=True))
    (HERE / "measurement_tables.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
