"""Build, load, train and save a classifier."""
