"""The input of detection: examples from records or synthetic."""
