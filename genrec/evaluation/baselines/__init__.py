"""Baselines that need no language model: each one a `Ranker` that a model has to beat.

The networks (`sasrec`, `bert4rec`, `hstu`) are imported from their modules: they need PyTorch.
"""

from genrec.evaluation.baselines.choice import chosen
from genrec.evaluation.baselines.cooccurrence import CoOccurrence, CoOccurrenceConfig
from genrec.evaluation.baselines.ease import Ease, EaseConfig
from genrec.evaluation.baselines.item_knn import ItemKNN, ItemKNNConfig
from genrec.evaluation.baselines.pctm import PCTM, PCTMConfig
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.recency import Recency
from genrec.evaluation.baselines.repeat_last import RepeatLast
from genrec.evaluation.baselines.seqrules import SeqRules, SeqRulesConfig
from genrec.evaluation.baselines.standard import standard_baselines
from genrec.evaluation.baselines.text_neighbors import TextNeighbors, TextNeighborsConfig

__all__ = [
    "PCTM",
    "CoOccurrence",
    "CoOccurrenceConfig",
    "Ease",
    "EaseConfig",
    "ItemKNN",
    "ItemKNNConfig",
    "PCTMConfig",
    "Popularity",
    "Recency",
    "RepeatLast",
    "SeqRules",
    "SeqRulesConfig",
    "TextNeighbors",
    "TextNeighborsConfig",
    "chosen",
    "standard_baselines",
]
