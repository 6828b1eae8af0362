"""A recommender folder from somebody who means harm: it is refused with a message, and nothing of it runs.

All hashes of these folders match: who makes a folder can compute them.
"""

import json
import pickle
import shutil
import struct

import pytest

from genrec import GenerativeRecommender
from genrec.common import manifest
from genrec.common.errors import RecommenderError
from genrec.common.manifest import write_manifest

CANARY = "canary"
MANIFEST = manifest.RECOMMENDER.manifest


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.fixture
def folder(recommender_folder, tmp_path):
    """A recommender folder that may be poisoned."""
    return shutil.copytree(recommender_folder, tmp_path / "given")


def seal(folder, change=lambda document: None):
    """Write a manifest whose hashes are right."""
    document = json.loads((folder / MANIFEST).read_text())
    document.pop("files", None)
    document.pop("format_version", None)
    change(document)
    write_manifest(folder, document)


def edit(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def header(path, entry):
    """A safetensors file of 8 bytes of data whose header says `entry`."""
    words = json.dumps({"vectors": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(words)) + words + bytes(8))


CODE = "open({canary!r}, 'w').close()\nclass Own: pass\n"


def pickled_weights(folder, canary):
    (folder / "language_model" / "model.safetensors").write_bytes(pickle.dumps(Bomb(canary)))


def pickled_codebooks(folder, canary):
    (folder / "item_tokenizer" / "model.safetensors").write_bytes(pickle.dumps(Bomb(canary)))


def pickle_beside(folder, canary):
    (folder / "language_model" / "model.safetensors").unlink()
    (folder / "language_model" / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(canary)))


def listed_code(folder, canary):
    (folder / "language_model" / "own.py").write_text(CODE.format(canary=str(canary)))


def code_in_config(folder, canary):
    names = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    path = folder / "language_model" / "config.json"
    edit(path, lambda document: document.update(auto_map=names, model_type="own"))


def bad_table(folder, canary):
    (folder / "catalog.parquet").write_bytes(pickle.dumps(Bomb(canary)))


def bad_log(folder, canary):
    (folder / "interactions.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")


def huge_shape(folder, canary):
    entry = {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 8]}
    header(folder / "item_tokenizer" / "model.safetensors", entry)


def huge_header(folder, canary):
    path = folder / "item_tokenizer" / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + b"{}")


def many_layers(folder, canary):
    path = folder / "language_model" / "config.json"
    edit(path, lambda document: document.update(n_layer=10**9))


def wide_model(folder, canary):
    path = folder / "language_model" / "config.json"
    edit(path, lambda document: document.update(n_embd=10**12))


def doubled_key(folder, canary):
    (folder / "item_tokenizer" / "config.json").write_text('{"kind": "pq", "kind": "rqkmeans"}')


def not_a_number(folder, canary):
    (folder / "metrics.json").write_text('{"validation": NaN}')


def deep(folder, canary):
    (folder / "metrics.json").write_text("[" * 10_000 + "]" * 10_000)


POISONS = {
    pickled_weights: "model.safetensors is not a safetensors file",
    pickled_codebooks: "model.safetensors is not a safetensors file",
    pickle_beside: "pytorch_model.bin may hold code",
    listed_code: "own.py may hold code",
    code_in_config: "the language model in .* cannot be read",
    bad_table: "catalog.parquet cannot be read",
    bad_log: "interactions.parquet cannot be read",
    huge_shape: "is not a safetensors file",
    huge_header: "is not a safetensors file",
    many_layers: "states num_hidden_layers = 1,000,000,000",
    wide_model: "states hidden_size = 1,000,000,000,000",
    doubled_key: "config.json: the key 'kind' stands twice",
    not_a_number: "metrics.json: NaN is not a number",
    deep: "metrics.json nests brackets deeper than 64",
}


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
def test_a_poisoned_folder_is_refused_and_nothing_runs(poison, folder, tmp_path):
    canary = tmp_path / CANARY
    poison(folder, canary)
    seal(folder)
    # Not in the manifest, so that opening it alone is tried.
    (folder / "language_model" / "own.py").write_text(CODE.format(canary=str(canary)))
    with pytest.raises(RecommenderError, match=POISONS[poison]) as said:
        GenerativeRecommender.from_pretrained(folder)
    assert str(folder) in str(said.value)
    assert not canary.exists()


def test_the_canary_would_sing(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / CANARY)))
    assert (tmp_path / CANARY).exists()


def test_code_that_a_known_architecture_does_not_need_does_not_run(folder, tmp_path):
    names = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}
    own = {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "Own"}
    edit(folder / "language_model" / "config.json", lambda d: d.update(auto_map=names))
    edit(folder / "language_model" / "tokenizer_config.json", lambda d: d.update(own))
    seal(folder)
    (folder / "language_model" / "own.py").write_text(CODE.format(canary=str(tmp_path / CANARY)))
    GenerativeRecommender.from_pretrained(folder)
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize(
    "name",
    ["../outside.json", "/etc/passwd", "part/../../outside.json", "..\\outside.json", "C:\\x", ""],
)
def test_a_name_out_of_the_folder_is_refused(folder, name, tmp_path):
    (tmp_path / "outside.json").write_text("{}")
    document = json.loads((folder / MANIFEST).read_text())
    files = document.pop("files") | {name: "0" * 64}
    files.pop(MANIFEST)
    document["files"] = files
    document["files"] = files | {MANIFEST: manifest._hash_document(document)}
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(RecommenderError, match="is no file below the folder"):
        GenerativeRecommender.from_pretrained(folder)


@pytest.mark.parametrize("name", ["metrics.json", "catalog.parquet"])
def test_a_link_out_of_the_folder_is_refused(folder, name, tmp_path):
    outside = tmp_path / "elsewhere"
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(RecommenderError, match="is a link out of the folder") as said:
        GenerativeRecommender.from_pretrained(folder)
    assert str(folder / name) in str(said.value)


def test_a_snapshot_in_the_hub_cache_opens(folder, tmp_path):
    blobs, snapshot = tmp_path / "repo" / "blobs", tmp_path / "repo" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    for number, path in enumerate(p for p in sorted(folder.rglob("*")) if p.is_file()):
        shutil.copy(path, blobs / str(number))
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / str(number))
    GenerativeRecommender.from_pretrained(snapshot)


def test_links_to_and_in_the_folder_are_fine(folder, tmp_path):
    (folder / "metrics.json").rename(folder / "other.json")
    (folder / "metrics.json").symlink_to("other.json")
    seal(folder)
    (tmp_path / "link").symlink_to(folder)
    GenerativeRecommender.from_pretrained(tmp_path / "link")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"format_version": 1, "format_version": 1}', "the key 'format_version' stands twice"),
        ('{"format_version": NaN}', "NaN is not a number"),
        ('{"format_version": ' + "[" * 10_000 + "]" * 10_000 + "}", "deeper than 64"),
        ("[" * 200_000, "deeper than 64"),
        (b"\xff", "not UTF-8"),
    ],
    ids=["a key twice", "NaN", "deep", "very deep", "not UTF-8"],
)
def test_a_manifest_is_strict_json(folder, text, says):
    (folder / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RecommenderError, match=says) as said:
        GenerativeRecommender.from_pretrained(folder)
    assert MANIFEST in str(said.value)


@pytest.mark.parametrize("part", ["settings", "semantic_ids", "data"])
def test_a_manifest_without_a_part_is_refused(folder, part):
    seal(folder, lambda document: document.update({part: [part]}))
    with pytest.raises(RecommenderError, match=f"says nothing of {part}"):
        GenerativeRecommender.from_pretrained(folder)


def test_the_command_prints_one_message(folder, command, tmp_path):
    pickled_weights(folder, tmp_path / CANARY)
    seal(folder)
    for words in (["recommend", folder, "--history", "P0001"], ["inspect", folder]):
        answer = command(*words)
        assert (answer.status, answer.out) == (2, "")
        assert "is not a safetensors file" in answer.message
        assert "Traceback" not in answer.err
    assert not (tmp_path / CANARY).exists()
