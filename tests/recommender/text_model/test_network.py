"""The text network: vectors of texts by hand, what a state may know, and weights from a seed."""

import math

import pytest
import torch
from scipy.sparse import csr_matrix

from genrec.recommender.text_model.model import TextShape
from genrec.recommender.text_model.network import TextNetwork
from genrec.recommender.text_model.words import WordBags

SHAPE = TextShape(width=8, layers=2, heads=2, dropout=0.5)
CPU = torch.device("cpu")


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network():
    return TextNetwork(drawn(5, 8), 6, SHAPE, seed=3).eval()


@pytest.fixture
def vectors():
    """Of nine items."""
    return drawn(9, 8)


def test_the_vector_of_a_text_by_hand():
    words = torch.tensor([[3.0, 0], [0, 2], [1, 1]])
    network = TextNetwork(words, 4, TextShape(width=2, layers=1, heads=1))
    rows = csr_matrix([[0.5, 1.0, 0], [0, 0, 0.25], [0, 0, 0]])
    found = network.texts(WordBags.of(rows, CPU))
    # .5 (3, 0) + 1 (0, 2) = (1.5, 2), of length 2.5
    half = math.sqrt(0.5)
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [half, half], [0, 0]]))


def test_no_word_and_no_text():
    wordless = TextNetwork(torch.zeros(0, 8), 4, SHAPE)
    assert wordless.texts(WordBags.of(csr_matrix((3, 0)), CPU)).tolist() == [[0.0] * 8] * 3
    network = TextNetwork(drawn(5, 8), 4, SHAPE)
    assert network.texts(WordBags.of(csr_matrix((0, 5)), CPU)).shape == (0, 8)


@torch.no_grad()
def test_later_items_change_no_earlier_state(network, vectors):
    items = torch.tensor([[1, 4, 2, 0, 7]])
    states = network(vectors, items)
    for place in range(1, 5):
        other = items.clone()
        other[0, place:] = 8
        changed = network(vectors, other)
        torch.testing.assert_close(changed[:, :place], states[:, :place])
        assert ((changed - states)[0, place:].abs().amax(1) > 1e-3).all(), "each sees what changed"


@torch.no_grad()
def test_padding_changes_nothing(network, vectors):
    history = torch.tensor([[1, 4, 2]])
    alone = network(vectors, history)
    padded = torch.tensor([[1, 4, 2, -1, -1], [0, 7, 3, 5, 6]])
    torch.testing.assert_close(network(vectors, padded)[:1, :3], alone)


@torch.no_grad()
def test_the_order_of_a_history_counts(vectors):
    """In one block, it is only their positions that tell the earlier items apart."""
    network = TextNetwork(drawn(5, 8), 6, SHAPE.replace(layers=1)).eval()
    one, other = (network(vectors, torch.tensor([row]))[0, -1] for row in ([1, 4, 2], [4, 1, 2]))
    assert (one - other).abs().max() > 1e-4


@torch.no_grad()
def test_queries_are_as_long_as_the_learned_scale(network, vectors):
    lengths = network(vectors, torch.tensor([[1, 4, 2]])).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.full((1, 3), 1 / 0.07))


def test_weights_are_the_seeds_and_the_random_state_stays():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one = TextNetwork(drawn(5, 8), 6, SHAPE, seed=3).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    again = TextNetwork(drawn(5, 8), 6, SHAPE, seed=3).state_dict()
    other = TextNetwork(drawn(5, 8), 6, SHAPE, seed=4).state_dict()
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["positions"], other["positions"])
    assert not torch.equal(
        one["blocks.0.project.weight"],
        other["blocks.0.project.weight"],
    )


def test_it_reads_as_many_items_as_it_has_positions(network):
    assert network.max_items == 6
