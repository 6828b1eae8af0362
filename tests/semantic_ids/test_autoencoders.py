from __future__ import annotations

import numpy as np
import pytest
import torch

from genrec.common.errors import ConfigError
from genrec.semantic_ids import RQVAE, RQKMeans, RQKMeansSettings, RQVAESettings
from genrec.semantic_ids.codebooks import CodebookSettings
from genrec.semantic_ids.letter import Alignment, CodeGroups, diversity_loss
from genrec.semantic_ids.moe import ExpertAutoencoder, MoE, MoESettings
from genrec.semantic_ids.rqvae import ResidualAutoencoder
from genrec.testing.contracts import clustered_vectors

SMALL = {"steps": 200, "batch_size": 64, "hidden": (32,), "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def vectors():
    """(800, 24) float32 whose variance falls along the axes, as that of text vectors does."""
    generator = np.random.default_rng(0)
    table = generator.normal(size=(800, 24)) * np.linspace(2, 0.2, 24)
    return (table @ np.linalg.qr(generator.normal(size=(24, 24)))[0]).astype(np.float32)


def lost(tokenizer, vectors):
    decoded = tokenizer.decode(tokenizer.encode(vectors))
    return ((vectors - decoded) ** 2).sum() / ((vectors - vectors.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize("codebooks", ["gradient", "ema"])
def test_rqvae_reconstructs_as_well_as_residual_kmeans(vectors, codebooks):
    settings = RQVAESettings(levels=3, codes=16, latent=24, codebooks=codebooks, **SMALL)
    plain = RQKMeans(RQKMeansSettings(levels=3, codes=16)).fit(vectors)
    assert lost(RQVAE(settings).fit(vectors), vectors) < 1.05 * lost(plain, vectors)


def test_training_starts_at_the_principal_components(vectors):
    model = ResidualAutoencoder(24, 4, RQVAESettings(latent=10))
    scaled = model.standardize(torch.from_numpy(vectors))
    again = model.decode(model.encode(scaled))
    values = np.linalg.svd(scaled.numpy(), compute_uv=False)
    expected = (values[10:] ** 2).sum() / (values**2).sum()
    kept = float(((scaled - again).square().sum() / scaled.square().sum()).detach())
    assert kept == pytest.approx(float(expected), rel=1e-3)


def test_experts_start_as_one_map_of_all_components(vectors):
    model = ExpertAutoencoder(24, 4, MoESettings(latent=24, levels=3))
    scaled = model.standardize(torch.from_numpy(vectors))
    views = model.encode(scaled).view(800, 3, 24)
    torch.testing.assert_close(model.decode(views.sum(dim=1)), scaled, atol=1e-4, rtol=1e-4)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not (views[:, one] * views[:, other]).any()
    assert (views.detach().std(dim=0) > 1e-4).sum(dim=1).tolist() == [8, 8, 8]
    torch.testing.assert_close(model.unquantized(views.flatten(1)), views.sum(dim=1))


def test_codes_of_experts_do_not_depend_on_each_other(vectors):
    tokenizer = MoE(MoESettings(levels=3, codes=8, latent=16, **SMALL)).fit(vectors)
    assert isinstance(tokenizer.model, ExpertAutoencoder)
    before = tokenizer.encode(vectors)
    with torch.no_grad():
        tokenizer.model.codebooks[0].zero_()
    after = tokenizer.encode(vectors)
    assert (after[:, 0] != before[:, 0]).any()
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:])


def test_orthogonality_turns_experts_apart(vectors):
    def likeness(weight):
        settings = MoESettings(levels=2, codes=8, latent=6, orthogonality=weight, **SMALL)
        model = MoE(settings).fit(vectors).model
        books = torch.nn.functional.normalize(model.codebooks.detach(), dim=2)
        return float((books[0] @ books[1].T).square().mean())

    assert likeness(3.0) < 0.5 * likeness(0.0)


def test_an_even_last_level_is_even_and_the_others_are_as_they_come(vectors):
    scale = np.random.default_rng(1).lognormal(size=(800, 1)).astype(np.float32)

    def crowding(even):
        settings = RQVAESettings(levels=2, codes=16, latent=16, even_last=even, **SMALL)
        codes = RQVAE(settings).fit(scale * vectors).encode(scale * vectors)
        return [np.bincount(codes[:, level]).max() / 50 for level in range(2)]

    assert crowding(even=True)[1] <= 1.26
    assert crowding(even=False)[1] > 2


def test_moving_averages_by_hand():
    settings = RQVAESettings(levels=1, codes=2, latent=2, codebooks="ema", decay=0.5, hidden=())
    model = ResidualAutoencoder(2, 2, settings)
    model.codebooks.copy_(torch.tensor([[[0.0, 0], [10, 10]]]))
    model.sums.copy_(model.codebooks)
    model.quantize(torch.tensor([[2.0, 0], [0, 2], [4, 4]]))
    # count: (1 + 3) / 2 and (1 + 0) / 2; sum: ((0, 0) + (6, 6)) / 2 and (5, 5)
    expected = torch.tensor([[[1.5, 1.5], [10, 10]]])
    torch.testing.assert_close(model.codebooks.data, expected)
    assert not model.codebooks.requires_grad


def test_diversity_and_moving_averages_are_refused_together():
    with pytest.raises(ValueError, match="codebooks = gradient"):
        CodebookSettings(codebooks="ema", diversity=0.1)


def test_partners_are_other_codes_of_the_same_group():
    codebook = torch.tensor([[0.0, 0], [9, 9], [0, 0.1], [9, 9.1], [0.1, 0], [50, -50]])
    groups = CodeGroups(codebook, 3, seed=0)
    generator = torch.Generator().manual_seed(0)
    drawn = groups.partners(torch.tensor([0, 1, 2, 3, 4, 5] * 50), generator).view(50, 6)
    assert [set(column.tolist()) for column in drawn.T] == [{2, 4}, {3}, {0, 4}, {1}, {0, 2}, {5}]


def test_diversity_pulls_to_the_partner_and_pushes_the_others():
    codebook = torch.tensor([[1.0, 0], [1, 0.5], [0.8, -0.6]], requires_grad=True)
    codes, partners = torch.tensor([0]), torch.tensor([1])
    loss = diversity_loss(codebook[codes], codebook, codes, partners)
    to_partner, to_other = 10 / 1.25**0.5, 10 * 0.8  # cosines over the temperature; not to itself
    assert loss.item() == pytest.approx(np.log1p(np.exp(to_other - to_partner)), rel=1e-5)
    loss.backward()
    step = -codebook.grad[0]
    assert step @ torch.tensor([0.0, 1.0]) > 0  # towards the partner, away from the other
    alone = diversity_loss(codebook[codes], codebook, codes, codes)
    assert float(alone) == 0


def test_alignment_is_infonce_and_leaves_out_who_has_no_behaviour():
    behaviour = torch.tensor([[1.0, 0], [0, 0], [0, 2]])
    alignment = Alignment(2, behaviour, torch.Generator().manual_seed(0))
    alignment.projection.data = torch.eye(2)
    latents = torch.tensor([[5.0, 0], [1, 1], [0, 1]])
    rows = torch.arange(3)
    alignment.requires_grad_(False)
    agreeing = float(alignment(latents, rows))
    assert agreeing == pytest.approx(np.log1p(np.exp(-10)), rel=1e-2)
    assert float(alignment(latents.flip(1), rows)) == pytest.approx(agreeing + 10, rel=1e-4)
    assert float(alignment(latents[1:2], rows[1:2])) == 0


def test_aligned_codes_know_the_groups_that_vectors_do_not():
    vectors, labels = clustered_vectors(clusters=4, per_cluster=100, dimension=12, seed=0)
    group = np.arange(400) % 2
    vectors = np.concatenate([vectors, 0.4 * np.eye(2)[group]], axis=1).astype(np.float32)
    behaviour = np.eye(2, dtype=np.float32)[group]

    def agreement(collaborative):
        settings = RQVAESettings(levels=1, codes=8, latent=14, alignment=1.0, warmup=0.5, **SMALL)
        codes = RQVAE(settings).fit(vectors, collaborative).encode(vectors)[:, 0]
        shares = [np.bincount(group[codes == code], minlength=2) for code in range(8)]
        return sum(share.max() for share in shares) / 400

    assert len(np.unique(labels)) == 4
    unaligned = agreement(None)
    assert agreement(behaviour) > unaligned + 0.15
    hidden = behaviour.copy()
    hidden[:] = 0
    assert agreement(hidden) == unaligned


def test_a_folder_from_before_the_linear_maps_still_loads(vectors, tmp_path):
    import json

    from safetensors.numpy import load_file, save_file

    tokenizer = RQVAE(RQVAESettings(levels=2, codes=8, latent=16, **SMALL)).fit(vectors)
    tokenizer.save(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    for name in ("into.weight", "out.weight", "offsets"):
        del state[name]
    save_file(state, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("codebooks", "decay", "even_last", "diversity", "alignment", "max_points"):
        del config["settings"][name]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = RQVAE.load(tmp_path)
    assert isinstance(loaded.model, ResidualAutoencoder)
    assert not loaded.model.into.weight.any()
    assert loaded.encode(vectors).shape == (800, 2)


def test_align_without_anyone_to_align_is_refused():
    from genrec import FitSettings
    from genrec.common.config import validate

    with pytest.raises(ConfigError, match="rqvae"):
        validate(FitSettings, {"collaborative": {"mode": "align"}}, source="test")
    fine = {"collaborative": {"mode": "align"}, "item_tokenizer": {"kind": "rqvae"}}
    assert validate(FitSettings, fine, source="test").collaborative.aligns
