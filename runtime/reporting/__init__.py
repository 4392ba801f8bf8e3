"""Facts and results of a run for people: lines, files and the report."""
