"""Networks: pure functions from image tensors to tensors, and the tables of their variants."""
