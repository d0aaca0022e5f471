"""The chapters of the study page, a module each; :mod:`alliance.reports.chapters.order` puts them together."""
