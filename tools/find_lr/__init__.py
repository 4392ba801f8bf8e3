"""Range test of the learning rate."""
