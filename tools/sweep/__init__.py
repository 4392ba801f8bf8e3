"""Sweeps: settings compared on the same images over folds and seeds, one launch of ``main.py`` after the other."""
