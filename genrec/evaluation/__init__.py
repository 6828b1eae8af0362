"""Evaluation of rankings and of written titles: metrics with confidence intervals, baselines to beat.

Rankings are of catalog indices, titles are text; nothing here knows training or language models.
"""

from genrec.evaluation.bootstrap import Bootstrap
from genrec.evaluation.case_results import CaseResults
from genrec.evaluation.context import Context
from genrec.evaluation.evaluate import Evaluation, evaluate
from genrec.evaluation.metrics import (
    Audit,
    audit,
    average_precision,
    coverage,
    hit,
    mrr,
    ndcg,
    rank_of_target,
    recall,
)
from genrec.evaluation.paired import Difference, PairedSettings, compare, paired_differences
from genrec.evaluation.protocol import Protocol
from genrec.evaluation.ranking import Ranker, Ranking
from genrec.evaluation.report import markdown_table, rich_table
from genrec.evaluation.selection import top_k, top_k_sparse
from genrec.evaluation.titles.baselines import (
    choose_title_length,
    last_titles,
    shortened,
    top_item_titles,
)
from genrec.evaluation.titles.evaluation import (
    TitleEvaluation,
    TitleSettings,
    TitleTargets,
    bleu_difference,
    evaluate_titles,
)
from genrec.evaluation.titles.report import TitleComparison, compare_titles

__all__ = [
    "Audit",
    "Bootstrap",
    "CaseResults",
    "Context",
    "Difference",
    "Evaluation",
    "PairedSettings",
    "Protocol",
    "Ranker",
    "Ranking",
    "TitleComparison",
    "TitleEvaluation",
    "TitleSettings",
    "TitleTargets",
    "audit",
    "average_precision",
    "bleu_difference",
    "choose_title_length",
    "compare",
    "compare_titles",
    "coverage",
    "evaluate",
    "evaluate_titles",
    "hit",
    "last_titles",
    "markdown_table",
    "mrr",
    "ndcg",
    "paired_differences",
    "rank_of_target",
    "recall",
    "rich_table",
    "shortened",
    "top_item_titles",
    "top_k",
    "top_k_sparse",
]
