"""Settings from YAML files and key=value words: what is read, and how mistakes are answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.common.config import ANY, Settings, load_settings, parse_overrides, without_retired
from genrec.common.errors import ConfigError
from genrec.recommender.settings import FitSettings
from genrec.semantic_ids.rqvae import RQVAESettings


def written(tmp_path, text):
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(*words, path=None):
    with pytest.raises(ConfigError) as caught:
        load_settings(FitSettings, path, words)
    return str(caught.value)


def test_words_override_the_file_and_leave_the_rest(tmp_path):
    path = written(tmp_path, "seed: 3\ntraining:\n  epochs: 5\n  learning_rate: 1e-4\n")
    settings = load_settings(FitSettings, path, ["training.epochs=7", "search={beams: 11}"])
    assert (settings.seed, settings.training.epochs, settings.search.beams) == (3, 7, 11)
    assert settings.training.learning_rate == 1e-4
    assert settings.training.clip == FitSettings().training.clip


def test_nothing_given_is_the_defaults(tmp_path):
    assert load_settings(FitSettings) == FitSettings()
    assert load_settings(FitSettings, written(tmp_path, "# only a comment\n")) == FitSettings()


def test_the_kind_of_a_union_chooses_its_settings(tmp_path):
    path = written(tmp_path, "item_tokenizer: {kind: rqvae, codes: 32}")
    chosen = load_settings(FitSettings, path, ["item_tokenizer.levels=2"]).item_tokenizer
    assert isinstance(chosen, RQVAESettings)
    assert (chosen.codes, chosen.levels) == (32, 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-3", -3),
        ("0", 0),
        ("true", True),
        ("null", None),
        ("", None),
        ("[8, 8]", [8, 8]),
        ("{a: no}", {"a": "no"}),
        ("'5'", "5"),
        ("no", "no"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("010", "010"),
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
    ],
)
def test_values_are_read_as_yaml_1_2(text, value):
    parsed = parse_overrides([f"key={text}"])["key"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_words_that_older_yaml_would_turn_into_something_else():
    """The advice on a diverging loss is training.precision=no; the temporal split takes dates."""
    words = ["training.precision=no", "split.protocol=temporal"]
    words += ["split.valid_from=2024-01-01", "split.test_from=2024-02-01"]
    settings = load_settings(FitSettings, None, words)
    assert settings.training.precision == "no"
    assert settings.split.valid_from == "2024-01-01"


@given(st.floats(min_value=1e-300, allow_infinity=False))
def test_every_positive_number_arrives_as_it_was_written(rate):
    settings = load_settings(FitSettings, None, [f"training.learning_rate={rate!r}"])
    assert settings.training.learning_rate == rate


@given(st.integers(min_value=0))
def test_every_whole_number_arrives_as_it_was_written(seed):
    assert parse_overrides([f"seed={seed}"]) == {"seed": seed}


@given(st.lists(st.text()))
def test_any_words_are_read_or_refused_and_never_crash(words):
    try:
        load_settings(FitSettings, None, words)
    except ConfigError:
        return
    assert not words


@given(st.text())
def test_any_value_is_read_or_refused_and_never_crashes(value):
    try:
        parsed = parse_overrides([f"seed={value}"])
    except ConfigError:
        return
    assert list(parsed) == ["seed"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["training.epoch=3"], "unknown setting 'training.epoch', did you mean 'training.epochs'?"),
        (["epochs=3"], "unknown setting 'epochs', did you mean 'training.epochs'?"),
        (["trainin.epochs=3"], "unknown setting 'trainin', did you mean 'training'?"),
        (["language_model.compact.with=8"], "did you mean 'language_model.compact.width'?"),
        (
            ["item_tokenizer.kind=rqvae", "item_tokenizer.comitment=1"],
            "unknown setting 'item_tokenizer.comitment', did you mean 'item_tokenizer.commitment'?",
        ),
        (
            ["item_tokenizer.kind=rqvae", "item_tokenizer.codes=0"],
            "item_tokenizer.codes = 0: input should be greater than or equal to 1",
        ),
        (["item_tokenizer.codes=8"], "item_tokenizer needs item_tokenizer.kind, one of 'rqkmeans'"),
        (["item_tokenizer.kind=vqvae"], "'rqkmeans', 'pq', 'rqvae'"),
        (["zzzzz=1"], "unknown setting 'zzzzz'; known: seed, device"),
        (["training.zzzzz=1"], "unknown setting 'training.zzzzz'; known: training.epochs, "),
        (["training.epochs=0"], "training.epochs = 0: input should be greater than or equal to 1"),
        (["training.epochs=many"], "training.epochs = 'many': input should be a valid integer"),
        (["seed=1", "seed=2"], "'seed=2': 'seed' is given twice"),
        (["seed"], "'seed' is not a setting: write key=value"),
        (["=1"], "'=1' is not a setting"),
        (["training..epochs=1"], "'training..epochs=1' is not a setting"),
        (["seed=[1"], "'seed=[1': the value after '=' is not valid YAML"),
        (["seed=!!int x"], "'seed=!!int x': the value after '=' is not valid YAML"),
        (["training=3", "training.epochs=3"], "'training' holds a value, not a group of settings"),
        (["split.protocol=temporal"], "needs split.valid_from and split.test_from"),
    ],
)
def test_a_mistake_is_answered_in_the_words_it_was_made_in(words, expected):
    assert expected in refusal(*words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- 1\n", "expected settings as 'key: value' lines, found list"),
        ("training: {epochs: [}\n", "not a valid YAML file"),
        ("seed: 1\nseed: 2\n", "'seed' stands twice"),
        ("1: 2\n", "1 = 1: keys should be strings"),
        ("trainings: {}\n", "unknown setting 'trainings', did you mean 'training'?"),
        ("seed: !!python/object/apply:os.getcwd []\n", "not a valid YAML file"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, expected):
    path = written(tmp_path, text)
    message = refusal(path=path)
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert "\n" not in message


def test_files_that_cannot_be_read_are_named(tmp_path):
    absent, binary = tmp_path / "absent.yaml", tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "absent.yaml: the settings file cannot be read" in refusal(path=absent)
    assert "the settings file cannot be read" in refusal(path=tmp_path)
    assert "binary.yaml: not a valid YAML file" in refusal(path=binary)


def test_settings_are_frozen_and_copies_are_checked():
    settings = FitSettings()
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 1
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        settings.replace(seed=-1)
    assert settings.replace(seed=1).seed == 1
    assert settings.seed == 0


def test_every_setting_is_frozen_closed_and_documented():
    def classes(kind):
        for inner in kind.__subclasses__():
            yield inner
            yield from classes(inner)

    ours = {kind for kind in classes(Settings) if kind.__module__.startswith("genrec.")}
    assert len(ours) > 10
    for kind in ours:
        assert kind.model_config["frozen"], kind
        assert kind.model_config["extra"] == "forbid", kind
        bare = [
            name
            for name, field in kind.model_fields.items()
            if not field.description and name not in ("kind", "seed")
        ]
        assert not bare, f"{kind.__name__}: no docstring at {bare}"


def test_retired_settings_are_left_out_where_they_say_what_holds_anyway():
    retired = {"training.noise": ANY, "prompts.chars": 100, "hops": 2}
    saved = {"training": {"noise": 0.3, "epochs": 2}, "prompts": {"chars": 100}, "hops": 2}
    assert without_retired(saved, retired, "folder") == {"training": {"epochs": 2}, "prompts": {}}
    assert saved["training"]["noise"] == 0.3, "what was given stays"
    assert without_retired({"prompts": None}, retired, "folder") == {"prompts": None}


@pytest.mark.parametrize("saved", [{"hops": 3}, {"prompts": {"chars": 99}}])
def test_a_retired_setting_of_another_value_is_refused(saved):
    with pytest.raises(
        ConfigError, match=r"folder: (hops = 3|prompts\.chars = 99) cannot be set any more"
    ):
        without_retired(saved, {"prompts.chars": 100, "hops": 2}, "folder")
