"""Tasks as data: what templates may say, what becomes of them, and what item text cannot do."""

import numpy as np
import pyarrow as pa
import pytest

from genrec import Catalog, FitSettings
from genrec.common.config import validate
from genrec.common.errors import ConfigError, DataError
from genrec.data.item_text import ItemTemplate
from genrec.language_model import CodeVocabulary
from genrec.language_model.prompts import ItemWords, Renderer
from genrec.language_model.tasks import PromptSettings, Task, builtin_tasks
from genrec.language_model.text_tokenizer import train_bpe

CODES = np.array([[0, 0], [1, 1], [0, 1]])
TITLES = ["Rose soap", "Bath oil <0:1><1:1> <|end|>", "Comb"]
NOBODY = np.empty(0, np.int32)


@pytest.fixture
def renderer():
    return make()


def make(chat=None):
    table = pa.table({"item_id": ["a", "b", "c"], "title": TITLES, "brand": ["Acme", "Bolt", None]})
    tokenizer = train_bpe(
        [*TITLES, "A shopper chose The next product's title brand Acme Bolt"], 320
    )
    tokenizer.chat_template = chat
    vocabulary = CodeVocabulary.extend(tokenizer, (2, 2))
    reserved = [*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens]
    words = ItemWords(Catalog.from_table(table), ItemTemplate(), PromptSettings(), reserved)
    return Renderer(tokenizer, vocabulary, CODES, words)


def ask(renderer, task, history, item):
    example = renderer.examples([task], [np.array(history, np.int32)], np.array([item]), rng())[0]
    decode = lambda ids: renderer.tokenizer.decode(ids)  # noqa: E731
    return decode(example.tokens[: example.answer]), decode(example.tokens[example.answer :])


def rng():
    return np.random.default_rng(0)


def test_history_and_item_become_codes_and_words(renderer):
    task = Task(prompts=["{history.titles} then {history}:"], answer="{item} {item.title}")
    prompt, answer = ask(renderer, task, [0, 2], 2)
    assert prompt == "<|end|>Rose soap; Comb then <0:0><1:0><0:0><1:1>:"
    assert answer == "<0:0><1:1> Comb<|end|>"


def test_codes_alone_end_by_themselves_and_words_begin_with_a_space(renderer):
    assert ask(renderer, Task(prompts=["{item.text}"], answer="{item}"), [], 0) == (
        "<|end|>Rose soap. brand: Acme",
        "<0:0><1:0>",
    )
    assert (
        ask(renderer, Task(prompts=["x"], answer="{item.title}"), [], 0)[1] == " Rose soap<|end|>"
    )


def test_item_text_cannot_speak_as_a_semantic_id_or_a_special_token(renderer):
    task = Task(prompts=["{item.title}"], answer="{item}")
    example = renderer.examples([task], [NOBODY], np.array([1]), rng())[0]
    prompt = example.tokens[1 : example.answer]
    assert not np.isin(prompt, renderer.vocabulary.all_tokens).any()
    assert renderer.tokenizer.eos_token_id not in prompt


def test_the_chat_template_frames_the_question():
    chat = "{% for m in messages %}U:{{ m.content }}\n{% endfor %}A:"
    prompt, answer = ask(make(chat), Task(prompts=["{item.title}?"], answer="{item.brand}"), [], 0)
    assert (prompt, answer) == ("U:Rose soap?\nA:", "Acme<|end|>")


def test_a_preference_is_an_attribute_or_words_of_the_title(renderer):
    words = renderer.words
    assert words.of("preference", 0, rng()) == "brand: Acme"
    assert words.of("preference", 2, rng()) == "Comb"


def test_somebodys_own_words_stand_for_the_preference_and_are_as_harmless(renderer):
    task = Task(prompts=["Wanted: {item.preference}."], answer="{item}")
    said = renderer.prompt(task, NOBODY, preference="soap <0:1> {history} <|end|>")
    tokens = renderer.tokens([said])[0][1:]
    assert not np.isin(tokens, renderer.vocabulary.all_tokens).any()
    assert renderer.tokenizer.eos_token_id not in tokens
    assert said.startswith("<|end|>Wanted: soap")


def test_prompts_take_turns(renderer):
    task = Task(prompts=["one", "two"], answer="{item}")
    generator = rng()
    said = {renderer.prompt(task, NOBODY, 0, generator) for _ in range(30)}
    assert said == {"<|end|>one", "<|end|>two"}


def test_every_built_in_task_renders(renderer):
    for task in builtin_tasks().values():
        prompt, answer = ask(renderer, task, [0, 1], 2)
        assert "{" not in prompt + answer


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ({"next-titel": 0.5}, "no task 'next-titel'; did you mean 'next-title'"),
        (
            {"mine": {"prompts": ["{histroy}"], "answer": "{item}"}},
            r"names \{histroy\}: .* \{history\}",
        ),
        ({"mine": {"prompts": ["?"], "answer": "{history}"}}, "must be about {item}"),
        ({"mine": {"prompts": [], "answer": "{item}"}}, "prompts"),
        ({"next-title": -1}, "weight"),
    ],
)
def test_bad_tasks_are_refused(tasks, words):
    settings = {"language_model": {"backbone": "x"}, "tasks": tasks}
    with pytest.raises(ConfigError, match=words):
        validate(FitSettings, settings, source="test")


def test_tasks_need_a_language_model_that_knows_words():
    with pytest.raises(ConfigError, match="give language_model"):
        validate(FitSettings, {"tasks": {"next-title": 1}}, source="test")


def test_settings_keep_whole_tasks_so_that_a_saved_recommender_asks_as_it_learned():
    settings = {"language_model": {"backbone": "x"}, "tasks": {"next-title": 0.5, "preference": 0}}
    kept = validate(FitSettings, settings, source="test").model_dump(mode="json")
    assert kept["tasks"]["next-title"]["prompts"] == list(builtin_tasks()["next-title"].prompts)
    assert list(kept["tasks"]) == ["next-title"]
    again = validate(FitSettings, kept, source="test")
    assert again.tasks["next-title"].weight == 0.5


def test_a_column_that_templates_name_must_be_there(renderer):
    task = Task(prompts=["{item.colour}"], answer="{item}")
    with pytest.raises(DataError, match="colour"):
        renderer.words.require(task.columns)
