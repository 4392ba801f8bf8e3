"""Matching of anchors with groundtruth boxes, and the training targets that follow from it."""
