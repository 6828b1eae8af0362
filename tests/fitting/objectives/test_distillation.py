"""The distillation loss: by hand on a tiny catalog, against the search's probabilities, and its gradients."""

import math

import numpy as np
import pytest
import torch

from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.decoding.scores import child_log_probabilities
from genrec.fitting.objectives.batches import pad_items
from genrec.fitting.objectives.distillation import (
    DistillationLoss,
    DistillationSettings,
    code_logits,
    divergence,
    matched_depths,
)
from genrec.fitting.objectives.histories import HistorySource
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.language_model.pruning import prune_layers
from genrec.testing.fakes import TinyCatalog, save_tiny_pretrained
from genrec.training import TrainingSettings, train

CATALOG = TinyCatalog.random(12, (3, 3, 2), seed=2)
VECTORS = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)
ITEMS = torch.from_numpy(pad_items(Histories.of([[3, 1, 4], [5], [9, 2]]), np.arange(3)))
NORMALIZATIONS = ["catalog", "level", "vocabulary"]


def train_on(loss, histories, settings, validate, *, seed, **options):
    """Train on histories alone."""
    source = HistorySource(histories, settings, seed)
    return train(loss, source, settings, validate, seed=seed, **options)


def model(seed=0, layers=2, width=16, dropout=0.0, catalog=CATALOG):
    """A compact model whose predictions are far from uniform."""
    shape = {"width": width, "layers": layers, "heads": 2, "dropout": dropout}
    lm = LanguageModel.create(
        LanguageModelSettings.model_validate({"compact": shape}),
        catalog.codes,
        VECTORS,
        catalog.codebook_sizes,
        max_items=8,
        seed=seed,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in lm.model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    lm.model.eval()
    return lm


def loss_of(student, teacher, normalization="catalog", **settings):
    return DistillationLoss(
        student,
        teacher,
        CATALOG.codes,
        CATALOG.trie,
        normalization,
        DistillationSettings(**settings),
    ).eval()


def likelihood_of(student, normalization="catalog"):
    return NextItemLoss(student, CATALOG.codes, CATALOG.trie, normalization).eval()


def gradients(lm, value):
    lm.model.zero_grad()
    value.backward()
    return {n: p.grad.clone() for n, p in lm.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_divergence_counted_by_hand(temperature):
    """One row (1/2, 1/3, 1/6) against (1/4, 1/4, 1/2), one of two outcomes, and a place that holds none."""
    teacher = torch.tensor([[3.0, 2.0, 1.0], [1.0, 1.0, 0.0]]).log()
    student = torch.tensor([[1.0, 1.0, 2.0], [1.0, 3.0, 0.0]]).log()

    def powers(values):
        raised = [value ** (1 / temperature) for value in values]
        return [value / sum(raised) for value in raised]

    expected = 0.0
    for p, q in (([3, 2, 1], [1, 1, 2]), ([1, 1], [1, 3])):
        expected += sum(a * math.log(a / b) for a, b in zip(powers(p), powers(q), strict=True))
    found = divergence(teacher, student, temperature).item()
    assert found == pytest.approx(temperature**2 * expected, rel=1e-5)


def test_divergence_of_two_known_distributions():
    teacher, student = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    # 1/2 ln(1/2 / 3/4) + 1/2 ln(1/2 / 1/4) = ln 2 - 1/2 ln 3
    expected = math.log(2) - math.log(3) / 2
    assert divergence(teacher, student, 1.0).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_distribution_is_the_one_that_the_search_adds_up(normalization):
    lm = model()
    head = likelihood_of(lm).head
    trie, hidden = CATALOG.trie, torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    for level in range(3):
        nodes = trie.nodes_of(torch.tensor([0, 3, 7, 9, 11]), level)
        logits = code_logits(head, trie, hidden, level, nodes, normalization)
        own = logits.log_softmax(-1)
        first, real, expected = child_log_probabilities(
            head, trie, hidden, level, nodes, normalization
        )
        if normalization == "catalog":
            assert torch.equal(own > -torch.inf, real)
        else:
            codes = trie.child_codes(level, first)
            tokens = head.tokens[level][codes] if normalization == "vocabulary" else codes
            own = own.gather(-1, tokens)
        torch.testing.assert_close(own[real], expected[real])


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(normalization, temperature):
    teacher = model()
    student = prune_layers(teacher, 2)
    loss = loss_of(
        student, teacher, normalization, weight=1.0, temperature=temperature, feature_weight=2.0
    )
    value = loss(ITEMS)
    assert value.item() == pytest.approx(0.0, abs=1e-4)
    assert max(g.abs().max() for g in gradients(student, value).values()) < 1e-3
    other = loss_of(model(seed=1), teacher, normalization, weight=1.0, temperature=temperature)
    assert other(ITEMS).item() > 0.1


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_without_a_teachers_share_it_is_the_next_item_loss(normalization):
    student = model(seed=1)
    expected = likelihood_of(student, normalization)(ITEMS)
    found = loss_of(student, model(), normalization, weight=0.0)(ITEMS)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    wanted, got = gradients(student, expected), gradients(student, found)
    assert all(torch.allclose(got[name], wanted[name], atol=1e-6) for name in wanted)


def test_the_three_terms_add_up_with_their_weights():
    student, teacher = model(seed=1), model(seed=0)

    def value(**settings):
        return loss_of(student, teacher, **settings)(ITEMS).item()

    likelihood, teaching = value(weight=0.0), value(weight=1.0, temperature=2.0)
    features = value(weight=0.0, feature_weight=1.0) - likelihood
    assert likelihood > 0
    assert teaching > 0
    assert 0 < features <= 2 * 6, "a cosine distance is between 0 and 2 for each of six items"
    found = value(weight=0.3, temperature=2.0, feature_weight=0.5)
    assert found == pytest.approx(0.7 * likelihood + 0.3 * teaching + 0.5 * features, rel=1e-4)


@pytest.mark.parametrize("settings", [{"weight": 1.0}, {"weight": 0.5, "feature_weight": 1.0}])
def test_a_batch_counts_what_its_sequences_count_alone(settings):
    loss = loss_of(model(seed=1), model(), **settings)
    alone = sum(loss(row[row >= 0][None]).item() for row in ITEMS)
    assert loss(ITEMS).item() == pytest.approx(alone, rel=1e-4)


@torch.no_grad()
def test_features_are_compared_at_matched_depths():
    teacher = model(layers=4)
    student = prune_layers(teacher, 2)
    loss = loss_of(student, teacher, weight=0.0, feature_weight=1.0)
    found = loss(ITEMS[:1]).item() - likelihood_of(student)(ITEMS[:1]).item()
    tokens = torch.tensor(
        [
            [
                *student.prefix,
                *student.vocabulary.encode(CATALOG.codes[[3, 1, 4]]).ravel()[:-1].tolist(),
            ]
        ]
    )
    mine, theirs = (
        lm.core.base_model(input_ids=tokens, output_hidden_states=True).hidden_states
        for lm in (student, teacher)
    )
    total = 0.0
    for a, b in ((1, 2), (2, 4)):
        for u, v in zip(mine[a][0].numpy(), theirs[b][0].numpy(), strict=True):
            total += 1 - u @ v / (np.linalg.norm(u) * np.linalg.norm(v))
    assert found == pytest.approx(total / (2 * 3), rel=1e-3)


@pytest.mark.parametrize(
    ("student", "teacher", "pairs"),
    [
        (2, 4, [(1, 2), (2, 4)]),
        (3, 3, [(1, 1), (2, 2), (3, 3)]),
        (2, 3, [(1, 1), (2, 3)]),
        (1, 7, [(1, 7)]),
    ],
)
def test_each_layer_answers_for_a_block(student, teacher, pairs):
    assert matched_depths(student, teacher) == pairs


def test_the_teacher_is_no_part_of_what_trains():
    teacher = model(dropout=0.5)
    before = {name: p.detach().clone() for name, p in teacher.model.named_parameters()}
    teacher.model.train()
    student = prune_layers(teacher, 1)
    loss = loss_of(student, teacher, weight=0.5, feature_weight=1.0)
    plain = likelihood_of(student)
    assert set(loss.state_dict()) == set(plain.state_dict())
    own = {id(parameter) for parameter in student.model.parameters()}
    assert {id(parameter) for parameter in loss.parameters()} == own
    loss.train()
    assert not any(module.training for module in teacher.core.modules())
    loss(ITEMS).backward()
    assert all(parameter.grad is None for parameter in teacher.model.parameters())
    assert all(parameter.grad is not None for parameter in student.model.parameters())
    for name, parameter in teacher.model.named_parameters():
        assert torch.equal(parameter, before[name])


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2"])
def test_an_adapter_teaches_as_it_is_merged(tmp_path, architecture):
    base = save_tiny_pretrained(tmp_path / "base", architecture)
    settings = LanguageModelSettings(backbone=str(base), instruction="A shopper")
    teacher = LanguageModel.create(
        settings, CATALOG.codes, VECTORS, CATALOG.codebook_sizes, max_items=8, seed=0
    )
    student = prune_layers(teacher, 1)
    chosen = {"weight": 0.5, "feature_weight": 1.0}
    adapted, merged = (loss_of(student, lm, **chosen)(ITEMS) for lm in (teacher, teacher.merged()))
    assert adapted.item() == pytest.approx(merged.item(), rel=1e-4)
    adapted.backward()
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


def test_hidden_states_of_different_size_are_not_compared():
    with pytest.raises(InputError, match=r"feature_weight = 1 .* 16 values .* 24: set it to 0"):
        loss_of(model(), model(width=24), feature_weight=1.0)
    assert loss_of(model(), model(width=24), weight=1.0)(ITEMS).item() > 0


def test_a_student_comes_to_say_what_its_teacher_says(tmp_path):
    """The items that it is shown are random: all that it can learn is the teacher."""
    teacher, student = model(layers=2), model(seed=3, layers=1)
    rng = np.random.default_rng(0)
    data = Histories.of([rng.integers(0, 12, 6) for _ in range(40)])
    alone = loss_of(student, teacher, weight=1.0)
    before = alone(ITEMS).item()
    settings = TrainingSettings(min_steps=80, epochs=1, learning_rate=1e-2, warmup_steps=5)
    train_on(alone, data, settings, None, folder=tmp_path, seed=0)
    assert alone(ITEMS).item() < 0.35 * before
