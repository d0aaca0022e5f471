"""The model that tells what raters share from what is their own: correlated traits, correlated methods less one, with one trait.

CT-C(M-1) of Eid (2000): the factor of the reference rater's scales is the trait. The scales of every other rater load on it, and on a
factor of their own that is uncorrelated with it: what the reference rater's view does not explain. Factors of different raters correlate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TRAIT = "trait"
MIN_INDICATORS = 2


@dataclass(frozen=True)
class RaterModel:
    """A CT-C(M-1) model.

    Attributes
    ----------
    reference : str
        The rater whose view is the trait.
    scales : dict of str to tuple of str
        Scales of every rater, the reference among them.
    """

    reference: str
    scales: dict[str, tuple[str, ...]]

    @property
    def others(self) -> list[str]:
        """Raters beside the reference."""
        return [rater for rater in self.scales if rater != self.reference]

    @property
    def indicators(self) -> list[tuple[str, str]]:
        """Pairs of rater and scale, the reference first."""
        return [(rater, scale) for rater in (self.reference, *self.others) for scale in self.scales[rater]]

    @property
    def names(self) -> list[str]:
        """Names of the indicators in blocks and in the model."""
        return [indicator_name(rater, scale) for rater, scale in self.indicators]

    @property
    def syntax(self) -> str:
        """The model and its coefficients in the notation of lavaan; factors are to have a variance of 1.

        With two scales a rater's own factor is known from their one covariance: its loadings are equal.
        """
        at = {pair: place + 1 for place, pair in enumerate(self.indicators)}
        loads = [f"t{place}*{indicator_name(*pair)}" for pair, place in at.items()]
        lines = [f"{TRAIT} =~ {' + '.join(loads)}"]
        lines += [f"{indicator_name(*pair)} ~~ e{place}*{indicator_name(*pair)}" for pair, place in at.items()]
        for rater in self.others:
            own = [(f"m{at[rater, scale]}", indicator_name(rater, scale)) for scale in self.scales[rater]]
            if len(own) == MIN_INDICATORS:
                own = [(own[0][0], name) for _, name in own]
            lines.append(f"{own_factor(rater)} =~ {' + '.join(f'{label}*{name}' for label, name in own)}")
            lines.append(f"{TRAIT} ~~ 0*{own_factor(rater)}")
            trait = [f"t{at[rater, scale]}" for scale in self.scales[rater]]
            method = [label for label, _ in own]
            for scale, t, m in zip(self.scales[rater], trait, method):
                place = at[rater, scale]
                lines.append(f"consistency{place} := {t}^2/({t}^2 + {m}^2)")
                lines.append(f"reliability{place} := ({t}^2 + {m}^2)/({t}^2 + {m}^2 + e{place})")
            total = f"({' + '.join(trait)})^2"
            lines.append(f"consistency_{rater} := {total}/({total} + ({' + '.join(method)})^2)")
        for scale in self.scales[self.reference]:
            place = at[self.reference, scale]
            lines.append(f"reliability{place} := t{place}^2/(t{place}^2 + e{place})")
        return "\n".join(lines)


def indicator_name(rater: str, scale: str) -> str:
    """Return what a rater's scale is called in blocks and in the model."""
    return f"{rater}.{scale}"


def own_factor(rater: str) -> str:
    """Return the name of the factor that is a rater's own."""
    return f"{rater}_own"


def model_of(reference: str, names: Sequence[str]) -> RaterModel:
    """Return the model of indicators named ``<rater>.<scale>``."""
    scales: dict[str, list[str]] = {}
    for name in names:
        rater, _, scale = name.partition(".")
        scales.setdefault(rater, []).append(scale)
    return RaterModel(reference, {rater: tuple(own) for rater, own in scales.items()})
