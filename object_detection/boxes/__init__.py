"""Boxes: arithmetic, anchors, codes and distributions relative to anchors, centerness."""
