"""Small trainings that one process or two run alike: a program, started by the tests beside it.

python spread.py FOLDER, in every process: each case leaves ``FOLDER/<case>.safetensors``.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from genrec.data.histories import Histories
from genrec.fitting.objectives.histories import HistorySource
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.fitting.objectives.packing import stack
from genrec.fitting.objectives.task_loss import TaskLoss
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.language_model.prompts import Example
from genrec.testing.fakes import TinyCatalog
from genrec.training import TrainingSettings, train
from genrec.training.sources import share

CATALOG = TinyCatalog.random(12, (4, 3), seed=2)
VECTORS = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
DATA = Histories.of(np.random.default_rng(5).integers(0, 12, (30, 5)).tolist())
STEPS = 6

CASES = {
    "lora": {"base": "qwen3", "tuning": "lora", "gradient_checkpointing": True},
    "full": {"base": "qwen3-untied", "tuning": "full"},
    "drops": {"base": "qwen3", "tuning": "lora", "lora": {"dropout": 0.3}},
}


class Mixed:
    """Rows of words and rows of items in turn, so that two processes meet one kind each."""

    def __init__(self, lm):
        self.levels = lm.vocabulary.levels_of(lm.core.get_input_embeddings().weight.shape[0])
        self.codes = lm.vocabulary.encode(CATALOG.codes)

    def epoch(self, number):
        return self

    def __len__(self):
        return 3

    def units(self, batch):
        return 4.0

    def tokens(self, batch):
        return 20

    def part(self, batch, part):
        rows, counts = share(np.arange(4), part)
        return stack([[self.example(batch, row)] for row in rows], self.levels), counts

    def example(self, batch, row):
        rng = np.random.default_rng((batch, row))
        item, words = int(rng.integers(12)), rng.integers(2, 11, 3)
        answer = self.codes[item] if row % 2 else rng.integers(2, 11, 2)
        return Example(np.concatenate([words, answer]).astype(np.int64), 3, item)


class Killed(Exception):
    """Stands for a SIGKILL of all processes."""


def run(folder, case, name, kill=None):
    """Train the case with its checkpoints in ``folder/name``; return trained weights and the run's result."""
    settings = {"instruction": "a b", "lora": {"dropout": 0}} | CASES[case]
    base = folder / settings.pop("base")
    lm = LanguageModel.create(
        LanguageModelSettings.model_validate(settings | {"backbone": str(base)}),
        CATALOG.codes,
        VECTORS,
        CATALOG.codebook_sizes,
        max_items=8,
        seed=0,
    )
    values = {"batch_items": 30, "validations": 2, "checkpoint_seconds": 0, "warmup_steps": 0}
    values |= {"codes_first": 2, "max_steps": STEPS, "min_steps": STEPS, "learning_rate": 1e-3}
    training = TrainingSettings(**values, accumulate=1 if case == "full" else 2)
    loss = NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "catalog")
    source = HistorySource(DATA, training, 3)
    if case == "full":
        loss, source = TaskLoss(lm, CATALOG.trie, "catalog", 1.0), Mixed(lm)
    fixed = torch.tensor([[1, 2, 3], [4, 5, 6]])

    def validate():
        measured = NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "catalog")
        with torch.no_grad():
            return {"ndcg@10": -float(measured.eval()(fixed))}

    def report(step, total, value):
        if step == kill:
            raise Killed

    result = train(loss, source, training, validate, folder=folder / name, seed=3, report=report)
    weights = {n: p.detach() for n, p in lm.model.named_parameters() if p.requires_grad}
    assert all(type(p.data) is torch.Tensor for p in lm.model.parameters())
    return weights, result


def keep(folder, name, weights, result):
    if os.environ.get("RANK", "0") == "0":
        weights = {n: w.contiguous() for n, w in weights.items()}
        save_file(weights, folder / f"{name}.safetensors", {"curve": json.dumps(result.curve)})


def main(folder):
    """Run every case in whole copies and in pieces; cut some off and go on with them."""
    for engine in ("ddp", "fsdp"):
        os.environ["ACCELERATE_USE_FSDP"] = str(engine == "fsdp").lower()
        for case in CASES:
            keep(folder, f"{engine}-{case}", *run(folder, case, f"{engine}-{case}.run"))
        cut_and_go_on(folder, "drops", f"{engine}-cut", engine)
    cut_and_go_on(folder, "full", "moved", "ddp")


def cut_and_go_on(folder, case, name, engine):
    """Cut the case off behind a checkpoint, and go on with it as `engine` would."""
    try:
        run(folder, case, name, kill=4)
    except Killed:
        os.environ["ACCELERATE_USE_FSDP"] = str(engine == "fsdp").lower()
        keep(folder, name, *run(folder, case, name))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
