"""How a recommender is made: of one catalog, of several, or from one that is fitted already."""
