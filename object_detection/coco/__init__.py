"""COCO: annotation files, results, metrics and their report."""
