"""The folder of a recommender: saved, opened, restocked, exported, and described by its model card."""
