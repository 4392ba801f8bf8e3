"""Measurements: the speed of an input alone, tables of benchmarks, and a model of scaling."""
