"""Statistics of evaluations: intervals, tests and resampling, in NumPy alone."""
