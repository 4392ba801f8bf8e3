"""Inspection of a data set as the network sees it: sheets of pictures, charts and numbers."""
