"""Boxes: anchors, codes, matching, losses and what becomes of predictions."""
