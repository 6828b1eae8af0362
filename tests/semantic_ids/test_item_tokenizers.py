from __future__ import annotations

import json

import numpy as np
import pytest

from genrec.errors import RecommenderError
from genrec.semantic_ids import AnyItemTokenizerSettings, load_item_tokenizer, make_item_tokenizer
from genrec.semantic_ids.base import ItemTokenizer
from genrec.semantic_ids.fsq import FSQ, FSQSettings, GridAutoencoder
from genrec.semantic_ids.quality import level_usage
from genrec.semantic_ids.rqkmeans import RQKMeans, RQKMeansSettings
from genrec.semantic_ids.rqvae import RQVAE, ResidualAutoencoder, RQVAESettings
from genrec.testing.contracts import ItemTokenizerContract, clustered_vectors

SMALL = {"steps": 150, "batch_size": 64, "hidden": (32,), "learning_rate": 3e-3}


class TestRQKMeans(ItemTokenizerContract):
    def make(self, seed):
        return RQKMeans(RQKMeansSettings(levels=3, codes=8, seed=seed))


class TestBalancedRQKMeans(ItemTokenizerContract):
    def make(self, seed):
        return RQKMeans(RQKMeansSettings(levels=3, codes=8, balance=4, seed=seed))


class TestRQVAE(ItemTokenizerContract):
    def make(self, seed):
        settings = RQVAESettings(levels=2, codes=8, latent=8, revive_every=20, seed=seed, **SMALL)
        return RQVAE(settings)


class TestFSQ(ItemTokenizerContract):
    def make(self, seed):
        return FSQ(FSQSettings(levels=2, grid=(4, 3), seed=seed, **SMALL))


def test_first_code_of_residual_kmeans_is_the_planted_cluster():
    vectors, labels = clustered_vectors(clusters=8, per_cluster=40, dimension=16, seed=0)
    tokenizer = RQKMeans(RQKMeansSettings(levels=2, codes=8, iterations=50, seed=1)).fit(vectors)
    first = tokenizer.encode(vectors)[:, 0]
    pairs = {(int(code), int(label)) for code, label in zip(first, labels, strict=True)}
    assert len(pairs) == 8


def test_first_code_of_rqvae_is_the_planted_cluster():
    vectors, labels = clustered_vectors(clusters=6, per_cluster=40, dimension=16, seed=0)
    settings = RQVAESettings(levels=2, codes=6, latent=8, **SMALL | {"steps": 300})
    first = RQVAE(settings).fit(vectors).encode(vectors)[:, 0]
    agreeing = sum(np.bincount(labels[first == code]).max(initial=0) for code in range(6))
    assert agreeing >= 0.95 * len(labels)


def test_decoding_residual_kmeans_sums_the_centroids():
    tokenizer = RQKMeans()
    tokenizer._restore(
        {
            "codebook.0": np.array([[1, 0], [0, 1]], np.float32),
            "codebook.1": np.array([[0.25, 0], [0, 0.25], [0, 0]], np.float32),
        },
        dimension=2,
    )
    tokenizer.dimension = 2
    assert tokenizer.codebook_sizes == (2, 3)
    np.testing.assert_array_equal(
        tokenizer.decode([[0, 1], [1, 2], [1, 0]]), [[1, 0.25], [0, 1], [0.25, 1]]
    )
    np.testing.assert_array_equal(
        tokenizer.encode([[1, 0.25], [0, 1.05], [0.3, 1]]), [[0, 1], [1, 2], [1, 0]]
    )


def test_every_level_of_residual_kmeans_lowers_the_error():
    vectors = np.random.default_rng(0).normal(size=(400, 12)).astype(np.float32)
    errors = []
    for levels in (1, 2, 3, 4):
        tokenizer = RQKMeans(RQKMeansSettings(levels=levels, codes=16)).fit(vectors)
        errors.append(((vectors - tokenizer.decode(tokenizer.encode(vectors))) ** 2).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.6 * errors[0]


def test_fewer_items_than_codes_shrink_the_codebooks_silently(capfd):
    tokenizer = RQKMeans().fit(np.eye(5, dtype=np.float32))
    assert tokenizer.codebook_sizes == (5, 5, 5)
    np.testing.assert_allclose(tokenizer.decode(tokenizer.encode(np.eye(5))), np.eye(5), atol=1e-6)
    assert capfd.readouterr() == ("", "")


def test_balancing_evens_out_late_levels():
    generator = np.random.default_rng(0)
    scale = generator.lognormal(size=(2000, 1))
    vectors = (scale * generator.normal(size=(2000, 48))).astype(np.float32)

    def measured(rounds):
        settings = RQKMeansSettings(levels=2, codes=32, balance=rounds)
        codes = RQKMeans(settings).fit(vectors).encode(vectors)
        return level_usage(codes[:, 1], 32).perplexity, len(np.unique(codes, axis=0))

    (plain, plain_tuples), (even, even_tuples) = measured(0), measured(4)
    assert even > 1.5 * plain
    assert even_tuples > 1.2 * plain_tuples


def test_residual_kmeans_of_a_sample_still_encodes_all():
    vectors, _ = clustered_vectors(clusters=4, per_cluster=50, dimension=8, seed=2)
    settings = RQKMeansSettings(levels=1, codes=4, max_points=60)
    codes = RQKMeans(settings).fit(vectors).encode(vectors)
    assert len(np.unique(codes)) == 4


def test_rqvae_uses_nearly_all_codes():
    vectors = np.random.default_rng(0).normal(size=(600, 16)).astype(np.float32)
    settings = RQVAESettings(levels=3, codes=32, latent=8, revive_every=20, **SMALL)
    tokenizer = RQVAE(settings).fit(vectors)
    codes = tokenizer.encode(vectors)
    assert all(len(np.unique(codes[:, level])) >= 29 for level in range(3))


def test_unused_codes_are_put_back_where_the_items_are():
    import torch

    settings = RQVAESettings(levels=2, codes=4, latent=3, steps=10, warmup=0, revive_every=1)
    model = ResidualAutoencoder(5, 4, settings)
    vectors = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    model.before_step(0, vectors, torch.Generator().manual_seed(0))
    model.codebooks.data[0, 2] = 1e6
    model.loss(vectors)
    model.before_step(1, vectors, torch.Generator().manual_seed(0))
    assert model.codebooks.abs().max() < 100
    latents = model.encoder(vectors)
    assert (torch.cdist(model.codebooks[0, 2:3], latents) < 1e-3).any()


def test_fsq_codes_and_grid_points_are_one_to_one():
    import torch

    model = GridAutoencoder(4, FSQSettings(levels=2, grid=(8, 6, 5), hidden=(8,))).eval()
    codes = torch.stack([torch.arange(240), torch.arange(240).flip(0)], dim=1)
    points = model.latents_of(codes)
    assert len(torch.unique(points[:, :3], dim=0)) == 240
    assert points.abs().max() <= 1
    digits = (points.view(-1, 2, 3) * (model.grid // 2)).round().long() + model.grid // 2
    torch.testing.assert_close((digits * model.place).sum(dim=2), codes)


def test_fsq_reaches_every_grid_value():
    import torch

    model = GridAutoencoder(4, FSQSettings(levels=1, grid=(8, 5), hidden=(8,))).eval()
    sweep = torch.linspace(-6, 6, 400)
    codes = model.quantize(torch.stack([sweep, sweep], dim=1)).codes[:, 0]
    assert set((codes % 8).tolist()) == set(range(8))
    assert set((codes // 8).tolist()) == set(range(5))


def test_fsq_first_codes_carry_the_most():
    vectors, _ = clustered_vectors(clusters=12, per_cluster=20, dimension=16, seed=4)
    settings = FSQSettings(levels=3, grid=(4, 4), nested_dropout=1.0, **SMALL | {"steps": 400})
    tokenizer = FSQ(settings).fit(vectors)
    codes = tokenizer.encode(vectors)

    def error_when_shuffled(level):
        changed = codes.copy()
        changed[:, level] = np.random.default_rng(0).permutation(changed[:, level])
        return ((vectors - tokenizer.decode(changed)) ** 2).sum()

    assert error_when_shuffled(0) > 1.5 * error_when_shuffled(2)


@pytest.mark.parametrize("kind", ["rqkmeans", "rqvae", "fsq"])
def test_settings_choose_and_folders_remember_the_kind(kind, tmp_path):
    from pydantic import TypeAdapter

    small = {} if kind == "rqkmeans" else {"steps": 2, "hidden": [8]}
    settings = TypeAdapter(AnyItemTokenizerSettings).validate_python({"kind": kind, **small})
    tokenizer = make_item_tokenizer(settings)
    assert isinstance(tokenizer, ItemTokenizer)
    tokenizer.fit(np.eye(6)).save(tmp_path)
    loaded = load_item_tokenizer(tmp_path)
    assert type(loaded) is type(tokenizer)
    np.testing.assert_array_equal(loaded.encode(np.eye(6)), tokenizer.encode(np.eye(6)))


def test_folder_of_another_kind_is_refused(tmp_path):
    RQKMeans().fit(np.eye(3)).save(tmp_path)
    with pytest.raises(RecommenderError, match=r"'rqkmeans', not 'fsq'"):
        FSQ.load(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"kind": "magic"}))
    with pytest.raises(RecommenderError, match="unknown item tokenizer 'magic'"):
        load_item_tokenizer(tmp_path)


def test_files_of_two_item_tokenizers_are_refused(tmp_path):
    RQKMeans(RQKMeansSettings(codes=3)).fit(np.eye(6)).save(tmp_path / "a")
    RQKMeans(RQKMeansSettings(codes=4)).fit(np.eye(6)).save(tmp_path / "b")
    (tmp_path / "b" / "model.safetensors").replace(tmp_path / "a" / "model.safetensors")
    with pytest.raises(RecommenderError, match="not of one item tokenizer"):
        load_item_tokenizer(tmp_path / "a")


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"kind": "fsq"}'])
def test_damaged_config_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RecommenderError, match=r"config\.json"):
        load_item_tokenizer(tmp_path)


def test_fitting_leaves_torch_randomness_alone():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    RQVAE(RQVAESettings(steps=3, hidden=(8,))).fit(np.eye(4))
    FSQ(FSQSettings(steps=3, hidden=(8,))).fit(np.eye(4))
    torch.testing.assert_close(torch.rand(3), expected)
