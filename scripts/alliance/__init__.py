"""Multi-site studies of the therapeutic alliance: cleaning, scoring, analysis and reports."""

__version__ = "0.1.0"
