"""Wrapper tasks that compose whole studies; they compute nothing."""
