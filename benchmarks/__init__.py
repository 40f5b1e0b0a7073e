"""Measurements: `make bench`. They report and gate nothing."""
