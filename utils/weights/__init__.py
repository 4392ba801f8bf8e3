"""Stored weights: the contents of checkpoints, their descriptions, moving averages and pretrained configurations."""
