"""A data set as a network receives it."""
