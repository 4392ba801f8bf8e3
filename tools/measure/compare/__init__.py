"""A comparison of this program's speed with that of other programs: cells, contestants, turns and tables."""
