"""Reads weights of other programs and converts them to checkpoints."""
