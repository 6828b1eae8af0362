"""Tiny pretrained models with the codes of a tiny catalog, and a few steps of training on them."""

import numpy as np
import pytest
import torch

from genrec.language_model import LanguageModel, LanguageModelSettings
from genrec.testing.fakes import TinyCatalog, save_tiny_pretrained

CATALOG = TinyCatalog.random(12, (4, 3), seed=2)
VECTORS = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32)


def make(backbone, catalog=CATALOG, **settings):
    rng = np.random.default_rng(1)
    vectors = VECTORS if catalog is CATALOG else rng.normal(size=(len(catalog.codes), 6))
    return LanguageModel.create(
        LanguageModelSettings(backbone=str(backbone), **settings),
        catalog.codes,
        vectors.astype(np.float32),
        catalog.codebook_sizes,
        max_items=8,
        seed=0,
    )


def ids_of(lm):
    """Two histories, with words of the base model's own in front."""
    codes = lm.vocabulary.encode(CATALOG.codes[:10]).reshape(2, -1)
    return torch.tensor([[*lm.prefix, *row] for row in codes.tolist()])


def loss_of(lm):
    ids = ids_of(lm)
    return lm.model(input_ids=ids, labels=ids, use_cache=False).loss


def step_through(lm, steps=3, rate=0.01):
    """Train what trains, with a weight decay that would move anything it reaches."""
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=rate, weight_decay=0.5)
    lm.model.train()
    torch.manual_seed(0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(lm)
        loss.backward()
        optimizer.step()
    lm.model.eval()
    return float(loss.detach())


def logits_of(lm):
    lm.model.eval()
    with torch.no_grad():
        return lm.model(input_ids=ids_of(lm)).logits.float()


class Lab:
    """What the tests of this folder work with."""

    catalog, vectors = CATALOG, VECTORS
    make, ids, loss = staticmethod(make), staticmethod(ids_of), staticmethod(loss_of)
    train, logits = staticmethod(step_through), staticmethod(logits_of)

    @staticmethod
    def tables(lm):
        """The token tables as the model sees them, `(V, D)` each."""
        layers = [lm.core.get_input_embeddings(), lm.core.get_output_embeddings()]
        adapters = [getattr(layer, "token_adapter", layer) for layer in layers]
        return [
            (
                adapter.get_merged_weights(["default"])
                if hasattr(adapter, "get_merged_weights")
                else adapter.weight
            )
            .detach()
            .clone()
            for adapter in adapters
        ]

    @staticmethod
    def reload(lm, folder, settings, **options):
        lm.save(folder)
        return LanguageModel.load(folder, settings, lm.vocabulary.codebook_sizes, **options)


@pytest.fixture(scope="session")
def lab():
    return Lab


@pytest.fixture(scope="session")
def bases(tmp_path_factory):
    """Folders of pretrained models by architecture, made when they are first asked for."""
    made = {}

    def base(architecture):
        if architecture not in made:
            folder = tmp_path_factory.mktemp("bases") / architecture
            made[architecture] = save_tiny_pretrained(folder, architecture)
        return made[architecture]

    return base
