"""Groups of layers that the networks repeat; they take their scope names from the caller."""
