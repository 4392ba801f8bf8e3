"""The command line: the table of flags, recipe files and environment variables."""
