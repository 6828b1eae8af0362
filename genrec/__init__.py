"""genrec turns a product table and a click log into an LLM recommender that can only name real items."""
