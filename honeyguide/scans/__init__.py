"""Scans over settings of a training: points, Optuna studies, tables, the importance of each setting."""
