"""Trained models over samples: scores, latents."""
