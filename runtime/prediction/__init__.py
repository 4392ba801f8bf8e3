"""Prediction on image files: which images, in which pieces, and the files that result."""
