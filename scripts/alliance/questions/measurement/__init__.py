"""Reliability, structure, invariance and stability of the measures."""
