"""Exported networks (artefacts), written and opened again; one module per format."""
