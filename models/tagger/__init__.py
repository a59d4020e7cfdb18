"""Jet taggers: classifiers of rows by their truth."""
