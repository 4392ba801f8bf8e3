"""The parts of the command line: the table of flags, their help, and the ways they can be given."""
