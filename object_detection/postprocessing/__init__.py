"""Postprocessing: from a detector's endpoints to detections in pictures."""
