"""A fitted recommender: what it holds, how it ranks a catalog and answers a request, and its folder."""
