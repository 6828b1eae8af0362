"""Test suites that a new part inherits to show that it keeps its contract; they need pytest."""
