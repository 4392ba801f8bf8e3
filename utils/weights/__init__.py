"""Stored weights: checkpoint contents, descriptions, moving averages and pretrained configurations."""
