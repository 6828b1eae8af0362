"""How fast the catalog is searched, beside Hugging Face `generate` and beside what the machine allows."""
