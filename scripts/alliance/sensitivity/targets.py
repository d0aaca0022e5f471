"""The effects whose specifications a multiverse can vary, and the configuration keys that each of them reads."""

from __future__ import annotations

from dataclasses import dataclass

SCORING = "scoring"
MULTIVERSE_TABLES = ("specifications", "node_influence", "summary")
"""Tables of ``results/sensitivity/tables/`` that stand there where the configuration declares a multiverse."""


@dataclass(frozen=True)
class Target:
    """An effect of the study that a multiverse evaluates under other choices.

    Attributes
    ----------
    name : str
        Key below ``multiverse.grids``.
    label : str
        What the effect is, in words.
    module : str
        Module of :mod:`alliance.sensitivity` that evaluates it at a site: ``site_effects(site, every_options)``.
    question, table : str
        Where the study reports the same effect for the configuration as it stands.
    reads : tuple of str
        Dotted keys that a site's estimate reads; a choice may change these and ``scoring``.
    pool_reads : tuple of str
        Dotted keys that pooling reads; a choice may change these too.
    estimate_type : str
        What the effect is where no site can say.
    scale : str
        Scale of pooling (:data:`alliance.questions.effects.LABELS`); empty: that of ``pooling.metric``.
    """

    name: str
    label: str
    module: str
    question: str
    table: str
    reads: tuple[str, ...]
    pool_reads: tuple[str, ...]
    estimate_type: str
    scale: str

    @property
    def allowed(self) -> tuple[str, ...]:
        """Dotted keys that a choice may change, with all below them, sorted."""
        every = {*self.reads, *self.pool_reads, SCORING}
        return tuple(sorted(key for key in every if not any(key.startswith(f"{above}.") for above in every)))


TARGETS = {
    one.name: one
    for one in (
        Target(
            "alliance_outcome",
            "alliance and outcome",
            "alliance_outcome_specifications",
            "alliance_outcome",
            "pooled",
            (
                "alliance",
                "outcome",
                "symptoms",
                "early_gain.window",
                "pooling.min_clients",
                "pooling.level",
                "questions.alliance_outcome.headline",
                "questions.alliance_outcome.imputation",
            ),
            ("pooling", "questions.alliance_outcome.coding", "questions.alliance_outcome.nonsignificant_p"),
            "partial_correlation",
            "",
        ),
        Target(
            "within_clients",
            "alliance of a session and symptoms of the next, within clients",
            "within_clients_specifications",
            "alliance_outcome",
            "levels",
            ("alliance", "symptoms", "pooling.min_clients", "pooling.level", "questions.alliance_outcome.within"),
            ("pooling",),
            "slope_standardised",
            "identity",
        ),
        Target(
            "dropout",
            "first-session alliance and dropout",
            "dropout_specifications",
            "dropout",
            "hazard",
            ("alliance", "outcome", "dropout", "pooling.min_clients", "pooling.level", "questions.dropout"),
            ("pooling",),
            "hazard_ratio",
            "log_ratio",
        ),
        Target(
            "rupture_outcome",
            "unrepaired ruptures against none, and outcome",
            "rupture_specifications",
            "ruptures",
            "outcome",
            (
                "alliance",
                "outcome",
                "symptoms",
                "early_gain.window",
                "pooling.min_clients",
                "pooling.level",
                "questions.ruptures",
            ),
            ("pooling",),
            "standardised_mean_difference",
            "identity",
        ),
    )
}
