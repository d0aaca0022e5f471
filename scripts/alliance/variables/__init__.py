"""Study variables: one value a client, made from scores as the configuration says.

This package's front holds the check of the configuration only and imports no heavy library; :mod:`alliance.variables.client` computes.
"""

from alliance.variables.checks import checks

__all__ = ["checks"]
