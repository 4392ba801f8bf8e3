"""Observers of the loop: they receive each step's values and never change the experiment."""
