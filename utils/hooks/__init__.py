"""Observers of the loop: they get each step's values, and never change the experiment."""
