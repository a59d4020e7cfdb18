"""Normalising flows of a posterior, with parameters that the encoder gives (amortised)."""
