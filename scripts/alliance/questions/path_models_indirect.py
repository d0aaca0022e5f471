"""Indirect effects of the path models, one value a client: the chain, its place in time, and what would undo it (claims F6, I6, J1)."""

from __future__ import annotations

from alliance.statistics.indirect_effects import Chain

CONFOUNDER, E_VALUE = "confounder_correlation", "e_value"
LEVEL = "client"
KEYS = ["model", "effect", "level", "definition", "estimate_type", "interval"]


def told(chain: Chain) -> str:
    """Return an effect's chain of variables in one expression."""
    return "; ".join(" -> ".join(one) for one in chain.variables)
