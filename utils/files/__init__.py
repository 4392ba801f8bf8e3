"""Files that are complete or absent: atomic writes, locks, and checked JSON values."""
