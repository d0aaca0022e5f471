"""What leaves the pipeline for other programs: scores as SPSS, Stata and text files.

This package's front imports no heavy library; it names what the launcher and the rules must know.
"""

FORMATS = {"sav": "SPSS", "csv": "text", "dta": "Stata"}
"""Endings of the files that scores are exported to, with the program that reads them."""

FOLDER = "results/private/export"
"""Folder of the exports within a study, one folder a scenario."""

READS = (
    "alliance",
    "empathy",
    "regard",
    "unconditionality",
    "congruence",
    "social_influence",
    "adherence",
    "symptoms",
    "outcome",
    "early_gain",
    "dropout",
    "questions.client_factors.factors",
    "questions.path_models.variables",
    "questions.path_models.models",
)
"""Configuration keys that an export reads."""


def origin_file(file_format: str) -> str:
    """Return the name of the file that says which sites, and which withdrawals, an export of one format rests on."""
    return f".sites_{file_format}.json"
