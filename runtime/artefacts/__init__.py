"""Artefacts: the files that a trained network leaves the program as, and comes back as; a module for each format."""
