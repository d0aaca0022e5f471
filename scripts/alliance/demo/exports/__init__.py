"""Writers of the export formats; each turns the tables of one site into the files a clinic would send."""
