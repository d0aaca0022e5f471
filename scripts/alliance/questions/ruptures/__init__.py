"""Ruptures of the alliance, their repair, and the outcome."""
