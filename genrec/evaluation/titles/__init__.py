"""Evaluation of written titles: metrics, baselines, tables."""
