from __future__ import annotations

import json

import numpy as np
import pytest

from genrec.common.errors import RecommenderError
from genrec.semantic_ids import AnyItemTokenizerSettings, load_item_tokenizer, make_item_tokenizer
from genrec.semantic_ids.base import ItemTokenizer
from genrec.semantic_ids.fsq import FSQ, FSQSettings, GridAutoencoder
from genrec.semantic_ids.moe import MoE, MoESettings
from genrec.semantic_ids.pq import PQ, PQSettings
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


class TestPQ(ItemTokenizerContract):
    exact = True

    def make(self, seed):
        return PQ(PQSettings(levels=2, codes=8, rotations=4, seed=seed))


class TestPlainPQ(ItemTokenizerContract):
    exact = True

    def make(self, seed):
        return PQ(PQSettings(levels=4, codes=8, rotate=False, seed=seed))


class TestMoE(ItemTokenizerContract):
    def make(self, seed):
        return MoE(MoESettings(levels=2, codes=8, latent=8, revive_every=20, seed=seed, **SMALL))


class TestLetter(ItemTokenizerContract):
    """RQ-VAE with everything switched on."""

    def make(self, seed):
        more = {"even_last": True, "diversity": 0.01, "alignment": 0.1, "warmup": 0.2}
        settings = RQVAESettings(
            levels=2, codes=8, latent=8, revive_every=20, seed=seed, **SMALL, **more
        )
        return RQVAE(settings)


class TestRQVAEOfMovingAverages(ItemTokenizerContract):
    def make(self, seed):
        settings = RQVAESettings(
            levels=2, codes=8, latent=8, codebooks="ema", revive_every=20, seed=seed, **SMALL
        )
        return RQVAE(settings)


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


def test_rotation_is_orthonormal_and_lowers_the_error():
    # two groups of correlated dimensions, dealt out alternately: cutting without turning loses both
    generator = np.random.default_rng(0)
    causes = generator.normal(size=(1000, 2)).repeat(6, axis=1)
    vectors = causes[:, [0, 6] * 6] * 3 + generator.normal(size=(1000, 12)) * 0.5
    vectors = (vectors @ np.linalg.qr(generator.normal(size=(12, 12)))[0]).astype(np.float32)

    def lost(rotate):
        tokenizer = PQ(PQSettings(levels=4, codes=8, rotate=rotate)).fit(vectors)
        gram = tokenizer.rotation.T @ tokenizer.rotation
        np.testing.assert_allclose(gram, np.eye(12), atol=1e-4)
        return ((vectors - tokenizer.decode(tokenizer.encode(vectors))) ** 2).sum()

    assert lost(rotate=True) < 0.8 * lost(rotate=False)


@pytest.mark.parametrize(("count", "dimension", "levels"), [(5, 8, 4), (3, 7, 2), (2, 30, 3)])
def test_a_rotation_of_fewer_vectors_than_dimensions(count, dimension, levels):
    vectors = np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32)
    for seed in range(10):
        tokenizer = PQ(PQSettings(levels=levels, seed=seed)).fit(vectors)
        decoded = tokenizer.decode(tokenizer.encode(vectors))
        np.testing.assert_allclose(decoded, vectors, atol=1e-4)


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
        largest = max(np.bincount(codes[:, level]).max() for level in range(2)) / (2000 / 32)
        return level_usage(codes[:, 1], 32).perplexity, len(np.unique(codes, axis=0)), largest

    (plain, plain_tuples, crowded), (even, even_tuples, largest) = measured(0), measured(4)
    assert largest <= 1.25 < 3 < crowded
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
    vectors = model.standardize(vectors)
    model.before_step(0, vectors, torch.Generator().manual_seed(0))
    model.codebooks.data[0, 2] = 1e6
    model.quantize(model.encode(vectors))
    model.before_step(1, vectors, torch.Generator().manual_seed(0))
    assert model.codebooks.abs().max() < 100
    latents = model.encode(vectors)
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


@pytest.mark.parametrize("kind", ["rqkmeans", "pq", "rqvae", "moe", "fsq"])
def test_settings_choose_and_folders_remember_the_kind(kind, tmp_path):
    from pydantic import TypeAdapter

    small = {} if kind in ("rqkmeans", "pq") else {"steps": 2, "hidden": [8]}
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
