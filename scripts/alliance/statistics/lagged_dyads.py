"""Two raters over sessions: the panel model of whose rating leads to whose next one."""

from __future__ import annotations

from alliance.statistics.cross_lagged import panel_syntax


def lagged_model(waves: int) -> str:
    """Return the model of two raters over sessions as text: actor and partner effects on one's next rating.

    A panel model with random intercepts (Hamaker, Kuiper & Grasman, 2015) of ``first1, second1, first2, ...``, lagged effects and residuals
    equal over time: deviations from observed client means would bias lagged effects with few sessions (Nickell, 1981). Defined parameters
    are ``first_by_first`` (actor), ``first_by_second`` (partner), ``first_contrast`` (actor minus partner), and those of the second rater.

    Parameters
    ----------
    waves : int
        At least 3.
    """
    text = panel_syntax(("first", "second"), waves, equal_lags=True, equal_residuals=True)
    pairs = (("first", "second"), ("second", "first"))
    return text + "".join(f"\n{one}_contrast := {one}_by_{one}_1 - {one}_by_{other}_1" for one, other in pairs)
