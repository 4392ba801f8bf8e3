"""The plan of a run: its steps, its network's size, the memory it needs, and advice."""
