"""Two processes train the model that one process trains, whole copies or pieces of it."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.fitting.objectives.histories import HistorySource
from genrec.testing.fakes import save_tiny_pretrained
from genrec.training.processes import Processes, wait_for_all
from genrec.training.settings import TrainingSettings
from genrec.training.sharding import shard
from genrec.training.sources import Part

WORDS = [
    "fit.text_model.weight=0",
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


LAUNCH = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1"]
LAUNCH += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]


def sft(root, out, *more, engine=None):
    """Run the recipe, in two processes where there is an engine; return its final weights."""
    # Not --cpu, with which the launcher starts one process whatever their number.
    launch = [*LAUNCH, f"--{engine}"] if engine else []
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


def same(one, two, within=1e-4):
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert (weight - two[name]).abs().max() <= within, name


@pytest.mark.slow
def test_two_processes_train_what_one_trains(root, tmp_path):
    one, _ = sft(root, tmp_path / "one")
    two, done = sft(root, tmp_path / "two", engine="multi_gpu")
    same(one, two)
    assert done.stdout.count("recommender in") == 1  # the first process speaks for all
    assert done.stderr.count("training in 2 processes") == 1
    assert done.stderr.count("step 12 of 12, loss") == 1
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
def test_a_model_in_pieces_is_tuned_on_tasks_as_a_whole_one(root, tmp_path):
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    more = (
        f"fit.language_model.backbone={base}",
        "fit.language_model.lora.dropout=0",
        "fit.tasks={next-title: 0.5, item-to-id: 0.5}",
        "fit.training.codes_first=4",
        "fit.training.batch_tokens=4000",
    )
    one, _ = sft(root, tmp_path / "one", *more)
    two, done = sft(root, tmp_path / "two", *more, engine="use_fsdp")
    assert any(".lora_" in name for name in one)
    same(one, two)
    assert done.stdout.count("recommender in") == 1


@pytest.fixture(scope="module")
def program():
    """The program beside this file, as a module."""
    path = Path(__file__).with_name("spread.py")
    spec = importlib.util.spec_from_file_location("genrec_tests_spread", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def spread(tmp_path_factory, root):
    """What two processes left that ran ``spread.py``."""
    folder = tmp_path_factory.mktemp("spread")
    for architecture in ("qwen3", "qwen3-untied"):
        save_tiny_pretrained(folder / architecture, architecture)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root), "WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, str(Path(__file__).with_name("spread.py")), str(folder)]
    pair = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        said = [process.communicate(timeout=300)[1][-3000:] for process in pair]
    finally:
        for process in pair:
            process.kill()
    assert [process.returncode for process in pair] == [0, 0], "\n".join(said)
    return folder


def read(folder, name):
    with safe_open(folder / f"{name}.safetensors", framework="pt") as file:
        curve = json.loads(file.metadata()["curve"])
    return load_file(folder / f"{name}.safetensors"), curve


@pytest.mark.slow
@pytest.mark.parametrize("case", ["lora", "full"])
def test_whole_copies_and_pieces_train_what_one_process_trains(program, spread, case):
    weights, result = program.run(spread, case, f"one-{case}")
    for engine in ("ddp", "fsdp"):
        found, curve = read(spread, f"{engine}-{case}")
        same(weights, found, within=1e-5)
        for entry, expected in zip(curve, result.curve, strict=True):
            assert entry == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "fsdp"])
def test_two_processes_that_were_cut_off_end_like_undisturbed_ones(spread, engine):
    whole, curve = read(spread, f"{engine}-drops")
    cut, again = read(spread, f"{engine}-cut")
    same(whole, cut, within=0)
    assert again == curve


@pytest.mark.slow
def test_what_was_begun_in_pieces_goes_on_in_whole_copies(spread):
    same(read(spread, "ddp-full")[0], read(spread, "moved")[0], within=1e-6)


@pytest.mark.parametrize("name", ["DEEPSPEED", "MEGATRON_LM"])
def test_engines_of_their_own_are_refused(monkeypatch, tmp_path, name):
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(InputError, match=r"cannot run under .*--use_fsdp"):
        Processes.start(torch.device("cpu"), (), tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="cannot run under"):
        wait_for_all()


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ((torch.float32, torch.bfloat16), "bfloat16 and float32: set language_model.dtype=float32"),
        ((torch.float32, torch.uint8), "quantized"),
    ],
)
def test_parameters_that_cannot_be_cut_up_are_refused(kinds, words):
    module = torch.nn.ParameterList(
        torch.nn.Parameter(torch.zeros(2, dtype=kind), requires_grad=kind.is_floating_point)
        for kind in kinds
    )
    with pytest.raises(InputError, match=words):
        shard(module, torch.device("cpu"))
