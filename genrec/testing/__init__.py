"""Contracts that a new part inherits as tests, tiny models for them, and pages as a browser sees them."""
