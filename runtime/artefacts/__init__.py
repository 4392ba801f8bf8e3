"""What a trained network leaves the program as, and comes back as to be evaluated: one file for each format."""
