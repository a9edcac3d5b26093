"""cuecheck: audits of image classifiers for data-set bias, as a library of plain functions."""

__version__ = "0.1.0"
