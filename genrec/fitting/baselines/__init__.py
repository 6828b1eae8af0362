"""Baselines that train: their losses, their fit and their folder."""
