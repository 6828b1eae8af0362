"""Semantic IDs without vectors: numbers, and paths that behaviour, categories or titles give.

After "How to Index Item IDs for Recommendation Foundation Models" (Hua et al. 2023). An indexing
writes every item's codes as a path (none, or through clusters, categories or title words) and a
number among the items of the same path.
"""
