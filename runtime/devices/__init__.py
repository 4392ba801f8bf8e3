"""The devices of a run: the GPU of each process, its errors, and the types of numbers."""
