"""Commands, one folder or module each: ``python -m tools.NAME --help``."""
