"""From a catalog's texts to written titles: base model, tuning with tasks, folder, command."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from genrec import FitSettings, GenerativeRecommender
from genrec.common.config import validate
from genrec.common.errors import InputError
from genrec.data.histories import Histories
from genrec.fitting.pretrain import BaseModelSettings, pretrain
from genrec.language_model.text_tokenizer import END, train_bpe
from genrec.recommender import titles
from genrec.recommender.answer import unmatched_query
from genrec.recommender.titles import WritingSettings, write_titles

TINY = {
    "tokens": 400,
    "width": 32,
    "layers": 1,
    "heads": 2,
    "context": 32,
    "training": {"epochs": 4, "min_steps": 1, "learning_rate": 0.01, "validations": 1},
}


@pytest.fixture(scope="module")
def base(shop, tmp_path_factory):
    """A base model made of the shop's titles."""
    out = tmp_path_factory.mktemp("base") / "model"
    pretrain(shop.catalog.titles, BaseModelSettings.model_validate(TINY), out)
    return out


@pytest.fixture(scope="module")
def writer(shop, quick_settings, base):
    """A recommender that was tuned on it for a few steps."""
    settings = quick_settings | {
        "language_model": {"backbone": str(base), "lora": {"rank": 4}},
        "tasks": {
            "next-title": 0.5,
            "next-id-and-title": 0.5,
            "item-to-id": 0.1,
            "preference": 0.1,
        },
        "memory": {"weight": 0.3, "text_weight": 0.2},
        "text_model": {"weight": 0.0},
        "training": {"max_steps": 30, "learning_rate": 0.01, "validations": 1, "text_weight": 1},
    }
    return GenerativeRecommender.fit(
        shop.catalog, shop.log, validate(FitSettings, settings, source="test")
    )


def test_any_text_survives_the_tokenizer():
    tokenizer = train_bpe(["soap", "bath oil"], 300)
    text = "Crème №5 — 新しい <b>&amp;</b>\n\t😀"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.eos_token == END


def test_the_base_model_is_a_transformers_folder_that_learned_its_texts(base, shop):
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(base),
        AutoTokenizer.from_pretrained(base),
    )
    ids = tokenizer(shop.catalog.titles[0] + END, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        loss = model(input_ids=ids, labels=ids).loss
    assert float(loss) < 0.8 * np.log(len(tokenizer))  # of a guess
    assert sorted(path.name for path in base.parent.iterdir()) == ["model"]


def test_texts_that_are_too_short_are_refused(tmp_path):
    with pytest.raises(InputError, match="fewer than one sequence of context = 32"):
        pretrain(["a"], BaseModelSettings.model_validate(TINY), tmp_path / "x")


def test_a_base_model_in_the_way_is_kept(base):
    with pytest.raises(InputError, match="exists"):
        pretrain(["a"], BaseModelSettings.model_validate(TINY), base)


@pytest.mark.parametrize("mode", ["beam", "sample", "grounded"])
def test_titles_come_with_scores_and_real_items(writer, mode):
    histories = Histories.of([[0, 1], [], [5, 6, 7]])
    settings = WritingSettings(mode=mode, max_tokens=8, nearest=2)
    rows = write_titles(writer, histories, 3, settings)
    assert [len(row) for row in rows] == [3, 3, 3]
    for row in rows:
        for title in row:
            assert "<" not in title.title
            assert np.isfinite(title.score)
            assert title.score <= 0
            assert {near.item_id for near in title.nearest} <= set(writer.catalog.item_ids)
            assert (title.item_id is None) == (mode != "grounded")
    if mode == "grounded":
        best = writer.rank(histories, 3, exclude_seen=True).items
        ids = writer.catalog.item_ids
        expected = [{ids[i] for i in items} for items in best]
        assert [{title.item_id for title in row} for row in rows] == expected
    again = write_titles(writer, histories, 3, settings)
    assert again == rows


def test_fewer_titles_come_where_fewer_items_are_left(writer):
    everything = Histories.of([range(len(writer.catalog) - 2), [0]])
    settings = WritingSettings(mode="grounded", max_tokens=4, nearest=1)
    short, whole = write_titles(writer, everything, 4, settings)
    ids = writer.catalog.item_ids
    assert {title.item_id for title in short} == set(ids[-2:])
    assert len(whole) == 4


def test_grounded_titles_are_asked_of_the_item_alone_where_that_was_learned(
    shop, quick_settings, base, monkeypatch
):
    settings = quick_settings | {
        "language_model": {"backbone": str(base), "lora": {"rank": 4}},
        "tasks": {"next-id-and-title": 0.1, "id-to-title": 1.0},
        "training": {"max_steps": 3, "validations": 1},
    }
    writer = GenerativeRecommender.fit(
        shop.catalog, shop.log, validate(FitSettings, settings, source="test")
    )
    asked, generate = [], titles._generate_batch

    def watched(recommender, prompts, n, settings):
        asked.extend(prompts)
        return generate(recommender, prompts, n, settings)

    monkeypatch.setattr(titles, "_generate_batch", watched)
    histories = Histories.of([[0, 1], [2], [0, 1]])
    rows = write_titles(writer, histories, 2, WritingSettings(mode="grounded", max_tokens=4))
    assert rows[0] == rows[2]
    about = {title.item_id for row in rows for title in row}
    assert len(asked) == len(about)  # each item once
    names = [writer.renderer.names[i] for i in writer.catalog.index_of(sorted(about))]
    expected = writer.renderer.tokens(
        [writer.renderer.head + f"The title of {name}:" for name in names]
    )
    assert sorted(asked) == sorted(expected)


def test_the_score_is_the_models_log_probability(writer, monkeypatch):
    model, seen = writer.language_model.model, []
    generate = model.generate

    def watched(**options):
        seen.append((options["input_ids"], generate(**options)))
        return seen[0][1]

    monkeypatch.setattr(model, "generate", watched)
    settings = WritingSettings(max_tokens=12, nearest=0)
    [[title]] = write_titles(writer, Histories.of([[0, 1]]), 1, settings)
    [(prompt, out)] = seen
    answer = out.sequences[0, prompt.shape[1] :]
    with torch.no_grad():
        logits = model(input_ids=out.sequences).logits[0, prompt.shape[1] - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, answer[:, None]).sum()
    assert len(answer) == 12 or answer[-1] == writer.language_model.tokenizer.eos_token_id
    assert title.score == pytest.approx(float(expected), abs=1e-3)


def test_a_saved_writer_writes_the_same_from_the_command_line(writer, tmp_path, command):
    writer.save_pretrained(tmp_path / "writer")
    ids = writer.catalog.item_ids
    words = ["--history", f"{ids[0]},{ids[1]}", "-n", 2, "--json"]
    found = command("titles", tmp_path / "writer", *words).json["titles"]
    expected = writer.generate_titles([ids[:2]], 2)[0]
    assert [title["title"] for title in found] == [title.title for title in expected]
    assert all(title.keys() == {"title", "score", "nearest", "item_id"} for title in found)
    near = [item for title in found for item in title["nearest"]]
    assert all(item.keys() == {"item_id", "title", "similarity"} for item in near)
    shown = command("titles", tmp_path / "writer", *words[:-1])
    assert "nearest items" in shown.out


def test_a_recommender_without_words_says_how_to_get_one(recommender, recommender_folder, command):
    with pytest.raises(InputError, match="has not learned to write titles"):
        recommender.generate_titles([[]])
    answer = command("titles", recommender_folder, "--history", "")
    assert answer.status == 2
    assert "tasks.next-title=0.5" in answer.message


def test_a_model_that_learned_preferences_reads_the_query(writer, recommender):
    """Words that are in no item's text: only a model that reads them can make a difference."""
    history = writer.catalog.item_ids[:2]
    plain = writer.recommend([history], k=5)[0]
    asked = [writer.recommend([history], k=5, query=words)[0] for words in ("qqq", "zzzz zz")]
    scores = {tuple(item.score for item in found) for found in [plain, *asked]}
    assert len(scores) == len(asked) + 1
    assert {item.basis for found in asked for item in found} == {"model and query"}
    assert all(len({item.item_id for item in found}) == 5 for found in asked)
    assert unmatched_query(writer, "qqq") is None
    assert recommender.recommend([history], query="qqq") == recommender.recommend([history])
    assert "'qqq' changes nothing" in unmatched_query(recommender, "qqq")


def test_a_query_cannot_speak_as_a_code(writer):
    history = writer.catalog.item_ids[:2]
    found = writer.recommend([history], k=5, query="<0:1> {history} <|end|> {item}")[0]
    assert len(found) == 5
