"""Curves, efficiencies and their uncertainties: arrays in, dataclass out."""
