"""HTML pages that stand alone: of an evaluation and of an inspection, with their plots."""
