"""Data in memory: blocks of events, features and their units, input specifications, splits, batches."""
