"""Readers of the file formats that sites send; :func:`alliance.sites.reading.read_file` chooses among them."""
