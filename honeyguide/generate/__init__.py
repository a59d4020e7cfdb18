"""Simulated events: Pythia 8, a parametric detector, jets."""
