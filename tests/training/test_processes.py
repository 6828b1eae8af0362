"""Two processes under ``accelerate launch`` train the model that one process trains."""

import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from genrec.data.histories import Histories
from genrec.testing.fakes import save_tiny_pretrained
from genrec.training.settings import TrainingSettings
from genrec.training.sources import HistorySource, Part

WORDS = [
    "data.shop.items=60",
    "data.shop.users=120",
    "fit.encoder.dimension=16",
    "fit.collaborative.dimension=8",
    "fit.language_model.compact.width=16",
    "fit.language_model.compact.layers=1",
    "fit.language_model.compact.heads=2",
    "fit.language_model.compact.dropout=0",
    "fit.training.max_steps=12",
    "fit.training.batch_items=96",
    "fit.training.validations=2",
    "fit.validation_users=20",
    "fit.search.beams=4",
    "fit.validation_beams=4",
]


def sft(root, out, *more, processes=1):
    """Run the recipe; return its final weights."""
    launch = []
    if processes > 1:
        options = ["--cpu", "--num_processes", str(processes), "--num_machines", "1"]
        options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
        launch = ["-m", "accelerate.commands.launch", *options]
    recipe = [str(root / "train" / "sft.py"), str(root / "train" / "sft_demo.yaml")]
    done = subprocess.run(
        [sys.executable, *launch, *recipe, *WORDS, f"out={out}", *more],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    weights = next((out / "language_model").glob("*model.safetensors"))
    return load_file(weights), done


@pytest.mark.slow
def test_two_processes_train_what_one_trains(root, tmp_path):
    one, _ = sft(root, tmp_path / "one")
    two, done = sft(root, tmp_path / "two", processes=2)
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert (weight - two[name]).abs().max() < 1e-4, name
    assert done.stdout.count("recommender in") == 1  # the first process speaks for all
    assert not (tmp_path / "two.partial").exists()


def test_parts_make_up_the_batch():
    histories = Histories.of([[1, 2, 3], [4], [5, 6], [7, 8, 9, 10], [11]])
    epoch = HistorySource(histories, TrainingSettings(batch_items=12), seed=1).epoch(0)
    for batch in range(len(epoch)):
        whole = sorted(map(tuple, epoch.part(batch, Part(0, 1))[0].tolist()))
        for of in (2, 3, 7):
            parts = [epoch.part(batch, Part(number, of)) for number in range(of)]
            rows = [row for part, counts in parts if counts for row in part.tolist()]
            clean = sorted(tuple(i for i in row if i >= 0) for row in rows)
            assert clean == sorted(tuple(i for i in row if i >= 0) for row in whole)
        assert epoch.units(batch) == sum(i >= 0 for row in whole for i in row)


@pytest.mark.slow
def test_two_processes_tune_a_pretrained_model_on_tasks_as_one_does(root, tmp_path):
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    more = (
        f"fit.language_model.backbone={base}",
        "fit.language_model.lora.dropout=0",
        "fit.tasks={next-title: 0.5, item-to-id: 0.5}",
        "fit.training.codes_first=4",
        "fit.training.batch_tokens=400",
    )
    one, _ = sft(root, tmp_path / "one", *more)
    two, _ = sft(root, tmp_path / "two", *more, processes=2)
    assert any(".lora_" in name for name in one)
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert (weight - two[name]).abs().max() < 1e-4, name
