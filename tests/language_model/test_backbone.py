"""The vocabulary inside language models, compact and pretrained: its tokens, its rows, its scores."""

import numpy as np
import pytest
import torch

from genrec.common.errors import InputError, RecommenderError
from genrec.data.histories import Histories
from genrec.fitting.objectives.histories import HistorySource
from genrec.fitting.objectives.next_item import NextItemLoss
from genrec.language_model import CodeVocabulary, LanguageModel, LanguageModelSettings, LevelHead
from genrec.language_model.vocabulary import code_geometry
from genrec.testing.fakes import TinyCatalog, save_tiny_pretrained
from genrec.training import TrainingSettings, train

CATALOG = TinyCatalog.random(12, (4, 3), seed=2)
VECTORS = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)


def create(settings, seed=0):
    return LanguageModel.create(
        settings, CATALOG.codes, VECTORS, CATALOG.codebook_sizes, max_items=8, seed=seed
    )


def logits(lm):
    ids = torch.tensor([lm.prefix + lm.vocabulary.encode(CATALOG.codes[:3]).ravel().tolist()])
    lm.model.eval()
    with torch.no_grad():
        return lm.model(input_ids=ids).logits


def tune(lm, folder, steps=3):
    loss = NextItemLoss(lm, CATALOG.codes, CATALOG.trie, "level")
    data = Histories.of([[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10, 11]])
    run = TrainingSettings(min_steps=steps, epochs=1, validations=1, learning_rate=0.01)
    train(loss, HistorySource(data, run, 0), run, lambda: {"ndcg@10": 1.0}, folder=folder, seed=0)


@pytest.mark.parametrize("tuning", ["lora", "full", "vocabulary"])
def test_what_the_training_loop_leaves_comes_back_bit_for_bit(tmp_path, tuning):
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    settings = LanguageModelSettings(backbone=str(base), tuning=tuning)
    lm = create(settings)
    untrained = logits(lm)
    tune(lm, tmp_path / "run")
    assert not torch.equal(logits(lm), untrained)
    lm.save(tmp_path / "saved")
    back = LanguageModel.load(tmp_path / "saved", settings, CATALOG.codebook_sizes)
    assert torch.equal(logits(back), logits(lm))


def test_compact_round_trip_and_seed(tmp_path):
    settings = LanguageModelSettings()
    lm = create(settings, seed=4)
    lm.save(tmp_path / "saved")
    back = LanguageModel.load(tmp_path / "saved", settings, CATALOG.codebook_sizes)
    assert torch.equal(logits(back), logits(lm))
    assert torch.equal(logits(create(settings, seed=4)), logits(lm))
    assert not torch.equal(logits(create(settings, seed=5)), logits(lm))


def test_a_model_with_unknown_logits_is_refused(tmp_path):
    lm = create(LanguageModelSettings())
    lm.core.forward = lambda **_: type("Out", (), {"logits": torch.zeros(1, 2, len(lm.tokenizer))})
    with pytest.raises(InputError, match="unknown way"):
        LevelHead(lm.core, lm.vocabulary).check()


def test_vocabulary_round_trip_and_refusals():
    lm = create(LanguageModelSettings())
    assert lm.tokenizer.convert_ids_to_tokens(int(lm.vocabulary.tokens[1][2])) == "<1:2>"
    tokens = lm.vocabulary.encode(CATALOG.codes)
    np.testing.assert_array_equal(lm.vocabulary.decode(tokens), CATALOG.codes)
    with pytest.raises(ValueError, match="column 0"):
        lm.vocabulary.decode(tokens[:, ::-1])
    with pytest.raises(RecommenderError, match="lacks 1 of the 5 tokens of level 0"):
        CodeVocabulary.of(lm.tokenizer, (5, 3))


def test_text_around_codes_survives_the_tokenizer(tmp_path):
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    lm = create(LanguageModelSettings(backbone=str(base)))
    ids = lm.tokenizer("these products <0:3><1:2>", add_special_tokens=False)["input_ids"]
    assert ids[-2:] == [int(lm.vocabulary.tokens[0][3]), int(lm.vocabulary.tokens[1][2])]


def test_geometry_of_a_residual_quantizer_is_its_codebook():
    rng = np.random.default_rng(0)
    coarse, fine = rng.normal(size=(3, 4)) * 10, rng.normal(size=(2, 4))
    fine -= fine.mean(0)
    codes = np.stack(np.meshgrid(range(3), range(2), indexing="ij"), -1).reshape(-1, 2)
    vectors = (coarse[codes[:, 0]] + fine[codes[:, 1]]).astype(np.float32)
    geometry = code_geometry(codes, vectors, (3, 3))
    np.testing.assert_allclose(geometry[0], coarse - coarse.mean(0), atol=1e-4)
    np.testing.assert_allclose(geometry[1][:2], fine, atol=1e-4)
    assert not geometry[1][2].any()


def test_neighbouring_codes_start_as_neighbouring_rows():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 20))
    vectors = np.concatenate([centres[[i % 2]] + 0.05 * rng.normal(size=(1, 20)) for i in range(8)])
    codes = np.arange(8)[:, None]
    lm = LanguageModel.create(
        LanguageModelSettings(), codes, vectors.astype(np.float32), (8,), max_items=4, seed=0
    )
    rows = lm.core.get_input_embeddings().weight[lm.vocabulary.tokens[0]].detach()
    distance = torch.cdist(rows, rows)
    assert distance[0, 2::2].max() < 0.3 * distance[0, 1::2].min()


def test_a_backbone_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RecommenderError, match="neither 'compact', nor a local folder"):
        create(LanguageModelSettings(backbone=str(tmp_path / "missing")))


def test_a_width_that_heads_do_not_divide_is_refused():
    shape = {"compact": {"width": 20, "heads": 3}}
    with pytest.raises(InputError, match="multiple of heads"):
        create(LanguageModelSettings.model_validate(shape))
