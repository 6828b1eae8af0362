"""Objectives: what training minimises, and the batches that it is computed on."""
