"""The resumable training loop: settings, sources of batches, checkpoints, one process or many.

It minimises any loss over any source of batches, and knows neither codes nor catalogs: what is learned, and
from what, is in `genrec.fitting.objectives`.
"""

from genrec.training.loop import TrainingResult, train
from genrec.training.settings import TrainingSettings

__all__ = ["TrainingResult", "TrainingSettings", "train"]
