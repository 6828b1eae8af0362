"""Text model: a small sequence network that learns from clicks what the items' words mean."""
