"""Object detection: anchors, box codes, matching, losses, postprocessing and evaluation."""
