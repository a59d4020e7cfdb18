"""Figures of stored results; nothing here computes."""
