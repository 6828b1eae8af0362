"""Item-level evaluation: rankings, metrics with confidence intervals, and the baselines to beat.

Everything works on catalog indices; nothing here knows training or language models.
"""

from genrec.evaluation.bootstrap import Bootstrap
from genrec.evaluation.evaluate import Evaluation, compare, evaluate
from genrec.evaluation.metrics import Audit, audit, coverage, hit, mrr, ndcg, rank_of_target, recall
from genrec.evaluation.protocol import Protocol
from genrec.evaluation.ranking import Ranker, Ranking
from genrec.evaluation.report import markdown_table, rich_table
from genrec.evaluation.selection import top_k, top_k_sparse

__all__ = [
    "Audit",
    "Bootstrap",
    "Evaluation",
    "Protocol",
    "Ranker",
    "Ranking",
    "audit",
    "compare",
    "coverage",
    "evaluate",
    "hit",
    "markdown_table",
    "mrr",
    "ndcg",
    "rank_of_target",
    "recall",
    "rich_table",
    "top_k",
    "top_k_sparse",
]
