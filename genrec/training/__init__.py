"""Training objectives and the resumable training loop."""

from genrec.training.objective import NextItemLoss
from genrec.training.sft import TrainingResult, TrainingSettings, train

__all__ = ["NextItemLoss", "TrainingResult", "TrainingSettings", "train"]
