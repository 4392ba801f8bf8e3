"""Losses of a detector: of classes, of boxes, and their sum."""
