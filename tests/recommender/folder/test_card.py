"""The README.md of a recommender folder: whence each figure comes, and names that cannot be markup."""

import json
import shutil
import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from genrec import FitSettings, GenerativeRecommender, SyntheticShop
from genrec.common.manifest import read_manifest
from genrec.data import generate
from genrec.language_model.pretrained import BaseRecord
from genrec.recommender.folder.card import CARD, CardFacts, code, model_card, without_folders
from genrec.testing.fakes import save_tiny_pretrained

VALIDATION = {
    "protocol": {
        "name": "leave-one-out",
        "split": "valid",
        "exclude_seen": True,
        "bootstrap": {"samples": 750, "confidence": 0.9, "seed": 0},
        "version": 2,
        "users": 1201,
        "cases": 1302,
        "items": 4403,
        "data_hash": "feedbeef",
    },
    "metrics": {"recall@10": 0.12344, "hit@10": 0.98765, "coverage@10": 0.5, "ece": 0.31313},
    "confidence": {"recall@10": [0.11111, 0.13336]},
    "invalid": 3,
}
METRICS = {
    "validation": VALIDATION,
    "training": {"steps": 2505, "best_step": 1606, "stopped_early": True, "curve": []},
    "throughput": {"tokens": 7707, "tokens_per_second": 88.8},
    "parameters": {"trainable": 1908, "total": 20009},
    "seconds": {"vectors": 1.5, "semantic_ids": 20.25},
    "peak_memory_mib": 3110,
    "memory": {"0.0+0.0": 0.1},
}
DATA = {
    "items": {"source": "goods.csv", "rows": 4404, "sha256": "aa11"},
    "interactions": {"source": "clicks.csv", "rows": 55505, "users": 6606, "sha256": "bb22"},
}


def facts(**other):
    """Facts of which every figure is another."""
    settings = FitSettings(seed=41, memory={"weight": 0.3, "text_weight": 0.15})
    known = {
        "settings": settings,
        "provenance": {"genrec": "9.8.7", "torch": "6.5.4+cpu"},
        "data": DATA,
        "semantic_ids": {"codebook_sizes": [512, 64], "policy": "sinkhorn", "moved": 1717},
        "metrics": METRICS,
        "item_tokenizer": "rqvae",
        "architecture": {"model_type": "gpt2", "n_layer": 13},
    }
    return CardFacts(**known | other)


def front_matter(text):
    start, front, rest = text.split("---\n", 2)
    assert not start
    return yaml.safe_load(front), rest


def tokens(text):
    """What a Markdown reader sees below the front matter."""
    return MarkdownIt("commonmark").enable("table").parse(front_matter(text)[1])


def shape(text):
    """Blocks and inline markup, without what they say."""
    return [
        (token.type, token.tag, [(child.type, child.tag) for child in token.children or ()])
        for token in tokens(text)
    ]


def sections(text):
    parts = text.split("\n## ")[1:]
    return {part.split("\n")[0]: part.partition("\n")[2] for part in parts}


def test_every_figure_stands_where_it_belongs():
    said = sections(model_card(facts()))
    expected = {
        "Data": [
            "Items: 4,404, from `goods.csv`, SHA-256 `aa11`",
            "55,505 of 6,606 users",
            "`bb22`",
        ],
        "How it was made": [
            "text by `tfidf` of dimension 256",
            "`rqvae`, 2 levels of 512 and 64 codes; collisions resolved by `sinkhorn`, which moved 1,717",
            "`compact`, trained from scratch, architecture `gpt2`, 13 layers",
            "2,505 steps, stopped early; the weights are those of step 1,606; seed 41",
            "Mixture: language model 0.55, counts of the log 0.30, likeness of texts 0.15, text model 0.00;",
            "50 beams, probabilities over the `catalog`",
        ],
        "Validation": [
            "`leave-one-out` (version 2), validation part: 1,302 cases of 1,201 users",
            "over all 4,403 items, items of the history excluded",
            "90 % of 750 bootstrap samples",
            "`feedbeef`",
            "| recall@10 | 0.1234 | 0.1111 to 0.1334 |",
            "| coverage@10 | 0.5000 |  |",
            "that were returned: 3.",
        ],
        "Not measured": ["test part of the log", "Other seeds"],
        "Costs": [
            "Seconds: 21.8 in all (vectors 1.5, semantic ids 20.2)",
            "88.8 tokens a second, 7,707 tokens",
            "3,110 MiB",
            "Parameters: 20,009, 1,908 of them trained",
        ],
        "Limits": [
            "The last two interactions of each user",
            "Cold items",
            "Popularity",
            "Language",
        ],
        "Use": ["genrec recommend DIR", "from_pretrained"],
        "Versions": ["genrec: `9.8.7`", "torch: `6.5.4+cpu`"],
    }
    assert list(said) == list(expected)
    for name, lines in expected.items():
        for line in lines:
            assert line in said[name], name
    assert "0.98" not in said["Validation"], "a metric that says the same again is not shown"


def test_the_hub_reads_it():
    from huggingface_hub import ModelCard

    card = ModelCard(model_card(facts()))
    assert card.data.library_name == "genrec"
    assert "genrec" in card.data.tags
    assert set(front_matter(model_card(facts()))[0]) == {"library_name", "tags"}


def test_one_layer_is_no_plural():
    said = model_card(facts(architecture={"model_type": "gpt2", "n_layer": 1}))
    assert ", 1 layer\n" in said


def test_another_protocol_has_other_limits():
    settings = FitSettings(split={"protocol": "user-holdout"})
    said = sections(model_card(facts(settings=settings)))
    assert "Users were held out" in said["Limits"]
    assert "The last two" not in said["Limits"]


def test_without_a_validation_case_it_says_so_and_shows_no_figure():
    said = sections(model_card(facts(metrics=METRICS | {"validation": None, "memory": {}})))
    assert said["Validation"].strip().startswith("Nothing was measured here")
    assert "|" not in said["Validation"]
    assert "How good the recommendations are" in said["Not measured"]
    assert "as set" in said["How it was made"]


def test_a_metric_without_a_value_is_not_a_number():
    found = VALIDATION | {"metrics": {"recall@10": None}, "confidence": {}}
    text = model_card(facts(metrics=METRICS | {"validation": found}))
    assert "| recall@10 | not defined |  |" in text


@pytest.mark.parametrize("kind", ["distillation", "preference", "further"])
def test_one_trained_from_another_says_whose_the_costs_are(kind):
    said = sections(model_card(facts(metrics=METRICS | {kind: {}, "memory": {}})))
    assert "training and costs are of that alone" in said["How it was made"]
    assert "as in the recommender that it was made from" in said["How it was made"]


def test_a_local_base_is_shown_without_its_folder():
    text = model_card(facts(base=BaseRecord("runs/base", None, 10, "f")))
    assert "its base `base` (a local model)" in text
    assert "base_model" not in front_matter(text)[0]


@pytest.mark.parametrize("revision", ["c0ffee", None])
def test_an_adapter_names_its_base_without_a_folder_of_this_machine(revision):
    name = "Qwen/Qwen3-0.6B" if revision else "/home/somebody/secret/qwen"
    base = BaseRecord(name, revision, 10, "f")
    settings = FitSettings(language_model={"backbone": name, "lora": {"rank": 5}})
    text = model_card(facts(settings=settings, base=base, architecture=None))
    front = front_matter(text)[0]
    assert "adapter (LoRA of rank 5), which needs its base" in text
    if revision:
        assert (front["base_model"], front["base_model_relation"]) == (name, "adapter")
        assert "`Qwen/Qwen3-0.6B` (commit `c0ffee`)" in text
    else:
        assert "base_model" not in front
        assert "`qwen` (a local model)" in text
        assert "secret" not in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("minilm", "minilm"),
        ("org/model-1.5", "org/model-1.5"),
        ("/srv/models/x", "x"),
        ("C:\\models\\x", "x"),
        ("../x", "x"),
        ("/", "a local folder"),
    ],
)
def test_a_local_path_is_shown_by_its_last_part(name, shown):
    assert without_folders(name) == shown


ODD = [
    "a|b.csv",
    "x\n---\nlicense: mit\n---\n# Owned",
    "`code` ``more`` |",
    "<script>alert(1)</script>",
    "[click](http://bad) ![i](x) *b* _c_ **d** &lt; www.bad.com @someone",
    "\\`",
    "`",
    "  ",
    "\u202egnp.exe",
    "undecodable\udcff.csv",
]


def with_names(name):
    """A card in which every name that somebody gives is this one."""
    named = {part: {**fact, "source": name} for part, fact in DATA.items()}
    settings = FitSettings(
        encoder={"name": name},
        language_model={"backbone": name},
        tasks={name: {"prompts": ["{history}"], "answer": "{item}"}},
    )
    return facts(
        data={**named, "vectors": [{"source": name, "sha256": "0"}], "transferred_from": named},
        metrics=METRICS | {"together_with": [name]},
        settings=settings,
        base=BaseRecord(name, "0", 1, "f"),
    )


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_is_no_markup(name):
    text = model_card(with_names(name))
    text.encode("utf-8")
    assert front_matter(text)[0] == front_matter(model_card(facts()))[0]
    assert shape(text) == shape(model_card(with_names("plain name")))


@given(st.text(st.sampled_from(string.punctuation + "a \n\t"), min_size=1, max_size=150))
def test_a_name_is_one_span_of_code_with_its_own_letters(name):
    [paragraph] = [
        t for t in MarkdownIt("commonmark").parse(f"x {code(name)}") if t.type == "inline"
    ]
    assert [child.type for child in paragraph.children] == ["text", "code_inline"]
    shown = paragraph.children[1].content
    assert len(shown) <= 120
    if name.isprintable() and name.strip() and len(name.strip()) <= 120:
        assert shown == name.strip()


def card_of(folder):
    text = (folder / CARD).read_text(encoding="utf-8")
    assert CARD in read_manifest(folder)["files"]
    return sections(text)


def test_a_fit_writes_it_from_its_own_figures(recommender_folder, recommender, shop):
    said = card_of(recommender_folder)
    manifest = read_manifest(recommender_folder)
    metrics = json.loads((recommender_folder / "metrics.json").read_text())
    low, high = metrics["validation"]["confidence"]["ndcg@10"]
    mean = metrics["validation"]["metrics"]["ndcg@10"]
    assert f"| ndcg@10 | {mean:.4f} | {low:.4f} to {high:.4f} |" in said["Validation"]
    assert f"`{manifest['data']['items']['sha256']}`" in said["Data"]
    assert f"{len(shop.log):,} of {len(shop.log.histories):,} users" in said["Data"]
    assert f"{recommender.language_model.parameters()[1]:,}," in said["Costs"]
    whole = (recommender_folder / CARD).read_text(encoding="utf-8")
    assert not [title for title in shop.catalog.titles if title in whole]
    assert str(recommender_folder.parent) not in whole


def test_items_that_come_and_go_renew_it_and_leave_the_first_folder_alone(
    recommender_folder, recommender, tmp_path, command
):
    folder = shutil.copytree(recommender_folder, tmp_path / "shop")
    before = (folder / CARD).read_bytes()
    answer = command("items", "remove", folder, "--ids", "P0001,P0002", "--out", tmp_path / "less")
    assert answer.status == 0, answer.err
    assert (folder / CARD).read_bytes() == before
    said = card_of(tmp_path / "less")
    assert "Items: 118," in said["Data"]
    assert "nothing trained: 1; 0 items added, 2 removed with" in said["Data"]
    assert "had 120 items when this was measured, and has 118 now" in said["Validation"]
    assert command("items", "remove", folder, "--ids", "P0001,P0002").status == 0
    assert card_of(folder) == said


def test_a_readme_that_a_person_wrote_in_a_folder_without_card_stays(
    recommender, tmp_path, command, monkeypatch
):
    folder = tmp_path / "shop"
    with monkeypatch.context() as older:
        older.setattr("genrec.recommender.folder.whole.write_card", lambda *_: None)
        recommender.save_pretrained(folder)
    (folder / CARD).write_text("mine")
    assert command("items", "remove", folder, "--ids", "P0001").status == 0
    assert (folder / CARD).read_text() == "mine"
    assert CARD not in read_manifest(folder)["files"]
    (folder / CARD).unlink()
    assert command("items", "remove", folder, "--ids", "P0002").status == 0
    assert "Items: 118," in card_of(folder)["Data"]


def test_a_transferred_one_says_that_nothing_was_trained_or_measured(recommender, tmp_path):
    other = generate(SyntheticShop(items=90, users=50, seed=21))
    recommender.transfer(other.catalog).save_pretrained(tmp_path / "moved")
    said = card_of(tmp_path / "moved")
    assert "Items: 90," in said["Data"]
    assert "Interactions: none" in said["Data"]
    here, _, origin = said["Data"].partition("Transferred; ")
    assert "120" not in here
    assert "Items: 120," in origin
    assert "Nothing was measured here" in said["Validation"]
    assert "none on this catalog" in said["How it was made"]
    assert "None recorded" in said["Costs"]
    assert "never trained on this catalog" in said["Limits"]


def test_the_folder_of_an_adapter_has_one_too(shop, quick_settings, tmp_path):
    base = save_tiny_pretrained(tmp_path / "base", "gpt2")
    chosen = quick_settings | {
        "language_model": {"backbone": str(base), "lora": {"rank": 2}},
        "training": {"max_steps": 1, "batch_items": 256, "validations": 1},
    }
    fitted = GenerativeRecommender.fit(shop.catalog, shop.log, FitSettings.model_validate(chosen))
    fitted.save_pretrained(tmp_path / "saved")
    said = card_of(tmp_path / "saved")
    assert "adapter (LoRA of rank 2), which needs its base `base`" in said["How it was made"]
    assert str(tmp_path) not in (tmp_path / "saved" / CARD).read_text(encoding="utf-8")


def test_it_says_what_the_language_model_adds():
    tried = {"mixture": 0.0947, "language_model": 0.08, "without_language_model": 0.0925}
    said = sections(model_card(facts(metrics=METRICS | {"components": tried})))
    assert (
        "chosen on validation, where its ndcg@10 is 0.0947, and 0.0925 at best without the language model"
        in said["How it was made"].replace("\n", " ")
    )


def test_it_says_what_a_reranker_adds():
    tried = {"mixture": 0.0947, "without_language_model": 0.0925, "reranked": 0.0985}
    said = sections(model_card(facts(metrics=METRICS | {"components": tried})))
    assert "ordered anew by a reranker, cases that it was not fitted on get 0.0985" in said[
        "How it was made"
    ].replace("\n", " ")


def test_it_says_that_texts_of_a_large_catalog_were_not_compared():
    def made(items, weight):
        settings = FitSettings(memory={"weight": 0.3, "text_weight": weight, "text_items": 4000})
        data = DATA | {"items": DATA["items"] | {"rows": items}}
        return sections(model_card(facts(settings=settings, data=data)))["How it was made"]

    words = "texts of more than 4,000 items are not compared"
    assert words in made(4001, 0.0)
    assert words not in made(4000, 0.0)
    assert words not in made(4001, 0.1), "stated, they are"
