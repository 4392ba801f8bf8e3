"""Trials that compare what a GPU computes with a reference; without a GPU, those that can run on the CPU."""
