"""Validation of a data set: faults of its files, images and labels, duplicates, and a copy without the faults."""
