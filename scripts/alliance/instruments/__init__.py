"""Instruments: what they are, how their items become scores, and what the scores' items look like."""

from alliance.instruments.registry import Instrument, Response, Scale, load_files, load_registry

__all__ = ["Instrument", "Response", "Scale", "load_files", "load_registry"]
