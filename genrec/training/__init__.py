"""Training objectives, what they are computed on, and the resumable training loop."""

from genrec.training.adapter_weights import AdapterWeightLoss
from genrec.training.code_noise import CodeNeighbors
from genrec.training.distillation import DistillationLoss, DistillationSettings
from genrec.training.joint import JointLoss, JointSource
from genrec.training.objective import NextItemLoss
from genrec.training.packing import packs
from genrec.training.preference import PreferenceLoss, PreferenceSettings
from genrec.training.settings import TrainingSettings
from genrec.training.sft import TrainingResult, train
from genrec.training.sources import HistorySource
from genrec.training.task_objective import TaskLoss
from genrec.training.task_source import TaskSource

__all__ = [
    "AdapterWeightLoss",
    "CodeNeighbors",
    "DistillationLoss",
    "DistillationSettings",
    "HistorySource",
    "JointLoss",
    "JointSource",
    "NextItemLoss",
    "PreferenceLoss",
    "PreferenceSettings",
    "TaskLoss",
    "TaskSource",
    "TrainingResult",
    "TrainingSettings",
    "packs",
    "train",
]
