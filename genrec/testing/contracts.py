"""Contract of item tokenizers, as tests to inherit; they need pytest.

Inherit, say how to make one, and pytest runs the suite on it::

    class TestMyTokenizer(ItemTokenizerContract):
        def make(self, seed: int) -> ItemTokenizer:
            return MyTokenizer(MySettings(levels=2, codes=8, seed=seed))
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from genrec.common.errors import InputError, RecommenderError
from genrec.semantic_ids.base import ItemTokenizer

__all__ = ["ItemTokenizerContract", "clustered_vectors"]


def clustered_vectors(
    clusters: int, per_cluster: int, dimension: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return float32 vectors `(N, D)` around well separated centres, and each one's cluster."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(clusters, dimension))
    centres *= 10 / np.linalg.norm(centres, axis=1, keepdims=True)
    labels = generator.permutation(np.repeat(np.arange(clusters), per_cluster))
    vectors = centres[labels] + generator.normal(scale=0.3, size=(len(labels), dimension))
    return vectors.astype(np.float32), labels


class ItemTokenizerContract(ABC):
    """The suite; a subclass gives `make`, with settings small enough to fit in a second.

    Attributes:
        exact: whether encoding a decoded vector gives its codes again.
    """

    exact: ClassVar[bool] = False

    @abstractmethod
    def make(self, seed: int) -> ItemTokenizer:
        """Return an unfitted item tokenizer."""

    def fitted(self, vectors: NDArray[np.float32]) -> ItemTokenizer:
        """Return an item tokenizer fitted on `(N, D)` vectors."""
        return self.make(seed=0).fit(vectors)

    @pytest.fixture(scope="class")
    def vectors(self) -> NDArray[np.float32]:
        """Vectors `(160, 16)` in eight clusters."""
        return clustered_vectors(clusters=8, per_cluster=20, dimension=16, seed=3)[0]

    @pytest.fixture(scope="class")
    def tokenizer(self, vectors: NDArray[np.float32]) -> ItemTokenizer:
        """Return an item tokenizer fitted on `vectors`; do not change it."""
        return self.fitted(vectors)

    def test_shapes_types_and_range(
        self, tokenizer: ItemTokenizer, vectors: NDArray[np.float32]
    ) -> None:
        """Codes are `(N, L)` int32 within their codebooks; decoded vectors `(N, D)` float32."""
        codes = tokenizer.encode(vectors)
        assert codes.shape == (len(vectors), len(tokenizer.codebook_sizes))
        assert codes.dtype == np.int32
        assert (codes >= 0).all()
        assert (codes < np.array(tokenizer.codebook_sizes)).all()
        decoded = tokenizer.decode(codes)
        assert decoded.shape == vectors.shape
        assert decoded.dtype == np.float32

    def test_decoding_says_something_about_the_vector(
        self, tokenizer: ItemTokenizer, vectors: NDArray[np.float32]
    ) -> None:
        """Codes must tell clusters apart: less than half of the variance is lost."""
        decoded = tokenizer.decode(tokenizer.encode(vectors))
        lost = ((vectors - decoded) ** 2).sum()
        assert lost < 0.5 * ((vectors - vectors.mean(axis=0)) ** 2).sum()

    def test_decoded_vectors_have_the_same_codes(
        self, tokenizer: ItemTokenizer, vectors: NDArray[np.float32]
    ) -> None:
        """Where the item tokenizer promises it, ``encode(decode(codes))`` is ``codes``."""
        if not self.exact:
            return  # nothing is promised
        codes = tokenizer.encode(vectors)
        np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(codes)), codes)

    def test_same_seed_same_codes(
        self, tokenizer: ItemTokenizer, vectors: NDArray[np.float32]
    ) -> None:
        """A second fit with the same seed, on a new or used object, gives the same codes."""
        again = self.make(seed=0).fit(vectors)
        expected = tokenizer.encode(vectors)
        np.testing.assert_array_equal(again.encode(vectors), expected)
        np.testing.assert_array_equal(again.fit(vectors).encode(vectors), expected)

    def test_fit_leaves_its_input_alone(self, vectors: NDArray[np.float32]) -> None:
        """Neither `fit` nor `encode` writes into the caller's array."""
        given = vectors.copy()
        self.fitted(given).encode(given)
        np.testing.assert_array_equal(given, vectors)

    def test_saved_and_loaded_is_equal(
        self, tokenizer: ItemTokenizer, vectors: NDArray[np.float32], tmp_path: Path
    ) -> None:
        """What is loaded gives the same codes, bit-equal vectors and the same settings."""
        tokenizer.save(tmp_path)
        loaded = type(tokenizer).load(tmp_path)
        codes = tokenizer.encode(vectors)
        np.testing.assert_array_equal(loaded.encode(vectors), codes)
        np.testing.assert_array_equal(loaded.decode(codes), tokenizer.decode(codes))
        assert loaded.settings == tokenizer.settings
        assert loaded.dimension == tokenizer.dimension
        assert loaded.codebook_sizes == tokenizer.codebook_sizes

    def test_incomplete_folder_is_refused(self, tokenizer: ItemTokenizer, tmp_path: Path) -> None:
        """A folder without the weights says so."""
        tokenizer.save(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(RecommenderError, match=r"model\.safetensors"):
            type(tokenizer).load(tmp_path)

    def test_unseen_vectors_are_encoded(self, tokenizer: ItemTokenizer) -> None:
        """Vectors from elsewhere, far ones too, get codes in range."""
        generator = np.random.default_rng(9)
        far = 1000 * generator.normal(size=(10, tokenizer.dimension)).astype(np.float32)
        tokenizer.decode(tokenizer.encode(far))

    def test_no_vectors_give_no_codes(self, tokenizer: ItemTokenizer) -> None:
        """Zero items are fine once fitted, in both directions."""
        codes = tokenizer.encode(np.empty((0, tokenizer.dimension), np.float32))
        assert codes.shape == (0, len(tokenizer.codebook_sizes))
        assert tokenizer.decode(codes).shape == (0, tokenizer.dimension)

    def test_one_item(self) -> None:
        """A catalog of one item can be fitted and encoded."""
        vectors = np.ones((1, 4), np.float32)
        tokenizer = self.fitted(vectors)
        assert len(tokenizer.encode(vectors)) == 1

    def test_equal_vectors_get_equal_codes(self) -> None:
        """Duplicates collide, whatever else is in the catalog."""
        distinct, _ = clustered_vectors(clusters=5, per_cluster=1, dimension=8, seed=1)
        codes = self.fitted(np.tile(distinct, (6, 1))).encode(np.tile(distinct, (6, 1)))
        np.testing.assert_array_equal(codes, np.tile(codes[:5], (6, 1)))

    def test_constant_vectors(self) -> None:
        """A catalog whose vectors are all equal is fitted, and decodes to about that vector."""
        vectors = np.full((12, 6), 0.25, np.float32)
        tokenizer = self.fitted(vectors)
        codes = tokenizer.encode(vectors)
        assert (codes == codes[0]).all()
        assert np.isfinite(tokenizer.decode(codes)).all()

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite_are_refused(
        self, tokenizer: ItemTokenizer, vectors: NDArray[np.float32], value: float
    ) -> None:
        """The error names the row, in `fit` and in `encode`."""
        spoilt = vectors.copy()
        spoilt[7, 2] = value
        for use in (self.make(seed=0).fit, tokenizer.encode):
            with pytest.raises(InputError, match="row 7"):
                use(spoilt)

    @pytest.mark.parametrize("dtype", [np.float16, np.float64])
    def test_other_float_types_are_taken(
        self, tokenizer: ItemTokenizer, vectors: NDArray[np.float32], dtype: type
    ) -> None:
        """The type is converted, not refused; exact values get the same codes."""
        exact = vectors.astype(np.float16)
        np.testing.assert_array_equal(
            tokenizer.encode(exact.astype(dtype)), tokenizer.encode(exact.astype(np.float32))
        )
        self.make(seed=0).fit(exact.astype(dtype))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32])
    def test_memory_mapped_vectors_are_taken(
        self, vectors: NDArray[np.float32], tmp_path: Path, dtype: type
    ) -> None:
        """A file of vectors, opened read-only, gives the codes of the same vectors in memory."""
        np.save(tmp_path / "vectors.npy", vectors.astype(dtype))
        mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
        in_memory = vectors.astype(dtype).astype(np.float32)
        codes = self.make(seed=0).fit(mapped).encode(mapped)
        np.testing.assert_array_equal(codes, self.make(seed=0).fit(in_memory).encode(in_memory))

    def test_large_tables_are_walked_in_blocks(
        self,
        tokenizer: ItemTokenizer,
        vectors: NDArray[np.float32],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Codes do not depend on the blocks, and an error names the row of the whole table."""
        expected = tokenizer.encode(vectors)
        monkeypatch.setattr("genrec.semantic_ids.base.BLOCK", 50)
        agreeing = (tokenizer.encode(vectors) == expected).all(axis=1).mean()
        assert agreeing > 0.99  # a product of other shape may round a tie the other way
        spoilt = vectors.copy()
        spoilt[123, 0] = np.nan
        with pytest.raises(InputError, match="row 123"):
            tokenizer.encode(spoilt)

    def test_collaborative_vectors_are_used_or_refused(
        self, tokenizer: ItemTokenizer, vectors: NDArray[np.float32]
    ) -> None:
        """Nobody ignores them silently; a table of other items is refused; encoding needs none."""
        behaviour = np.random.default_rng(0).normal(size=(len(vectors), 4)).astype(np.float32)
        behaviour[::3] = 0
        if not tokenizer.aligns:
            with pytest.raises(InputError, match="cannot align"):
                self.make(seed=0).fit(vectors, behaviour)
            return
        aligned = self.make(seed=0).fit(vectors, behaviour)
        assert (
            aligned.decode(aligned.encode(vectors)) != tokenizer.decode(aligned.encode(vectors))
        ).any()
        with pytest.raises(InputError, match="same items"):
            self.make(seed=0).fit(vectors, behaviour[:-1])

    def test_fitting_a_sample_still_encodes_all(self, vectors: NDArray[np.float32]) -> None:
        """Catalogs of more than `max_points` are fitted on some of their vectors."""
        whole = self.make(seed=0)
        some = type(whole)(whole.settings.replace(max_points=60)).fit(vectors)
        lost = ((vectors - some.decode(some.encode(vectors))) ** 2).sum()
        assert lost < 0.6 * ((vectors - vectors.mean(axis=0)) ** 2).sum()

    def test_use_before_fit_is_refused(self, vectors: NDArray[np.float32], tmp_path: Path) -> None:
        """Every method that needs a fit says so."""
        tokenizer = self.make(seed=0)
        with pytest.raises(InputError, match="fit"):
            tokenizer.encode(vectors)
        with pytest.raises(InputError, match="fit"):
            tokenizer.decode(np.zeros((1, 1), np.int32))
        with pytest.raises(InputError, match="fit"):
            tokenizer.save(tmp_path)

    def test_wrong_shapes_are_refused(
        self, tokenizer: ItemTokenizer, vectors: NDArray[np.float32]
    ) -> None:
        """One vector without its row axis, another dimension, or no vectors to fit."""
        with pytest.raises(InputError, match="shape"):
            tokenizer.encode(vectors[0])
        with pytest.raises(InputError, match=f"{tokenizer.dimension}"):
            tokenizer.encode(vectors[:, :-1])
        with pytest.raises(InputError, match="at least one"):
            self.make(seed=0).fit(vectors[:0])

    def test_codes_outside_a_codebook_are_refused(self, tokenizer: ItemTokenizer) -> None:
        """The error names row, level and size."""
        codes = np.zeros((3, len(tokenizer.codebook_sizes)), np.int32)
        for bad in (-1, tokenizer.codebook_sizes[-1]):
            codes[1, -1] = bad
            with pytest.raises(InputError, match=f"row 1: code {bad}"):
                tokenizer.decode(codes)
