"""Domain adapters: small updates of a shared language model, and their combination."""
