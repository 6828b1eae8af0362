"""What a sequence network may see: nothing later, no padding; and the ranking made of its scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from genrec.common.errors import ConfigError
from genrec.data.histories import Histories
from genrec.evaluation import audit
from genrec.evaluation.baselines.bert4rec import BERT4Rec, BERT4RecConfig
from genrec.evaluation.baselines.hstu import HSTU, HSTUConfig
from genrec.evaluation.baselines.popularity import Popularity
from genrec.evaluation.baselines.sasrec import SASRec, SASRecConfig
from genrec.evaluation.baselines.sequence_model import SequenceConfig, SequenceRanker, pad

N, MOST = 15, 6
SHAPE = {"width": 8, "layers": 2, "heads": 2, "dropout": 0.3}


def make(kind, seed=0):
    """Make a network with weights large enough that every difference shows."""
    torch.manual_seed(seed)
    made = {
        "sasrec": lambda: SASRec(N, MOST, SASRecConfig(**SHAPE)),
        "sasrec from the end": lambda: SASRec(N, MOST, SASRecConfig(**SHAPE, positions="end")),
        "hstu": lambda: HSTU(N, MOST, HSTUConfig(**SHAPE)),
        "bert4rec": lambda: BERT4Rec(N, MOST, BERT4RecConfig(**SHAPE)),
    }[kind]()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval()


CAUSAL = ["sasrec", "sasrec from the end", "hstu"]
ALL = [*CAUSAL, "bert4rec"]


@pytest.fixture
def histories():
    rng = np.random.default_rng(1)
    return Histories.of([rng.integers(0, N, length) for length in (3, 0, 1, 6, 2, 11)])


@pytest.mark.parametrize("kind", CAUSAL)
@torch.no_grad()
def test_a_later_item_does_not_change_an_earlier_state(kind):
    model = make(kind)
    a = torch.tensor([[3, 1, 4, 1, 5, 9]])
    b = torch.tensor([[3, 1, 4, 2, 6, 5]])
    torch.testing.assert_close(model(a)[:, :3], model(b)[:, :3])
    assert not torch.allclose(model(a)[:, 3], model(b)[:, 3], atol=1e-3)


@torch.no_grad()
def test_bert4rec_sees_both_sides():
    model = make("bert4rec")
    a, b = model(torch.tensor([[3, 1, 4]])), model(torch.tensor([[3, 1, 5]]))
    assert not torch.allclose(a[:, 0], b[:, 0], atol=1e-3)


@pytest.mark.parametrize("kind", ALL)
@torch.no_grad()
def test_padding_does_not_change_what_is_asked(kind):
    model = make(kind)
    alone = model.query(torch.tensor([[3, 1, 4]]))
    padded = model.query(torch.tensor([[3, 1, 4, -1, -1], [7, 7, 7, 7, 7]]))
    torch.testing.assert_close(alone[0], padded[0])


@pytest.mark.parametrize("kind", ALL)
@torch.no_grad()
def test_order_matters(kind):
    model = make(kind)
    a, b = model.query(torch.tensor([[3, 1, 4], [1, 3, 4]]))
    assert not torch.allclose(a, b, atol=1e-3)


@torch.no_grad()
def test_positions_from_the_end_are_those_of_the_newest_items():
    model = make("sasrec from the end")
    positions = model._positions(torch.tensor([[3, 1, 4], [5, -1, -1]]))
    assert positions.tolist() == [[2, 1, 0], [0, 0, 0]]


@torch.no_grad()
def test_bert4rec_asks_by_a_mask_behind_the_history():
    model = make("bert4rec")
    asked = model(torch.tensor([[3, 1, N]]))
    torch.testing.assert_close(model.query(torch.tensor([[3, 1]])), asked[:, 2])


@torch.no_grad()
def test_an_hstu_block_by_its_formula():
    block = make("hstu").blocks[0]
    x = torch.randn(1, 4, 8)
    u, v, q, k = F.silu(block.project(block.norm(x)))[0].split(8, dim=-1)
    read = torch.zeros(4, 8)
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        for i in range(4):
            for j in range(i + 1):
                score = q[i, part] @ k[j, part] + block.distance.weight[i - j, head]
                read[i, part] += F.silu(score) * v[j, part] / (i + 1)
    expected = x[0] + block.join(block.read_norm(read) * u)
    torch.testing.assert_close(block(x)[0], expected)


@torch.no_grad()
def test_an_attention_block_is_torchs_own():
    block = make("sasrec").blocks[0]
    layer = torch.nn.TransformerEncoderLayer(
        8, 2, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    names = {
        "self_attn.in_proj_weight": block.project.weight,
        "self_attn.in_proj_bias": block.project.bias,
        "self_attn.out_proj.weight": block.join.weight,
        "self_attn.out_proj.bias": block.join.bias,
        "linear1.weight": block.inner[0].weight,
        "linear1.bias": block.inner[0].bias,
        "linear2.weight": block.inner[2].weight,
        "linear2.bias": block.inner[2].bias,
        "norm1.weight": block.attention_norm.weight,
        "norm1.bias": block.attention_norm.bias,
        "norm2.weight": block.inner_norm.weight,
        "norm2.bias": block.inner_norm.bias,
    }
    layer.load_state_dict(names)
    x = torch.randn(3, 5, 8)
    causal = torch.nn.Transformer.generate_square_subsequent_mask(5)
    torch.testing.assert_close(block(x), layer.train()(x, src_mask=causal))


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("kind", ALL)
class TestRanking:
    @pytest.fixture
    def ranker(self, kind):
        return SequenceRanker(make(kind), Popularity.of_counts(np.arange(N)), kind)

    def test_is_of_allowed_distinct_items_best_first(self, ranker, histories, exclude_seen):
        ranking = ranker.rank(histories, 4, exclude_seen=exclude_seen)
        assert ranking.items.shape == (len(histories), 4)
        assert audit(ranking, histories, N, exclude_seen).total == 0
        assert (ranking.scores[:, 1:] <= ranking.scores[:, :-1]).all()

    def test_a_batch_equals_single_cases(self, ranker, histories, exclude_seen):
        batch = ranker.rank(histories, 4, exclude_seen=exclude_seen)
        for number, history in enumerate(histories):
            single = ranker.rank(Histories.of([history]), 4, exclude_seen=exclude_seen)
            assert single.items[0].tolist() == batch.items[number].tolist()
            np.testing.assert_allclose(single.scores[0], batch.scores[number], rtol=1e-4)

    def test_scores_are_products_with_the_item_table(self, ranker, histories, exclude_seen):
        ranking = ranker.rank(histories, N, exclude_seen=exclude_seen)
        with torch.no_grad():
            items = pad(Histories.of([histories[5][-MOST:]]))
            expected = (ranker.model.query(items) @ ranker.model.items.weight.T)[0].numpy()
        found = ranking.items[5][ranking.items[5] >= 0]
        np.testing.assert_allclose(ranking.scores[5][: len(found)], expected[found], rtol=1e-4)

    def test_an_empty_history_gets_the_most_popular(self, ranker, histories, exclude_seen):
        ranking = ranker.rank(histories, 3, exclude_seen=exclude_seen)
        assert ranking.items[1].tolist() == [N - 1, N - 2, N - 3]

    def test_no_histories(self, ranker, exclude_seen):
        assert ranker.rank(Histories.of([]), 3, exclude_seen=exclude_seen).items.shape == (0, 3)


def test_ranking_does_not_depend_on_dropout(histories):
    ranker = SequenceRanker(make("sasrec"), Popularity.of_counts(np.arange(N)), "sasrec")
    expected = ranker.rank(histories, 4, exclude_seen=True).scores
    ranker.model.train()
    np.testing.assert_array_equal(ranker.rank(histories, 4, exclude_seen=True).scores, expected)


def test_heads_must_divide_the_width():
    from genrec.common.config import validate

    with pytest.raises(ConfigError, match="width = 10 must be a multiple of heads = 4"):
        validate(SequenceConfig, {"width": 10, "heads": 4}, "options")
