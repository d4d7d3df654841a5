"""Measurements of this machine: each prints what is promised beside what one run measured."""
