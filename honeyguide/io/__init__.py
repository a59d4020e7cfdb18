"""Readers and writers of files: sources, the event store, results, and the atomic folders that they all use."""
