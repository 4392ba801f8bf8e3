"""Inspection of a data set as a network gets it: sheets of pictures, charts and numbers."""
