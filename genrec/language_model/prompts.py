"""Prompts: the one renderer; task, history and item in, tokens and targets out.

Item text comes from outside and may hold anything. What would read as a special token of the language model,
a semantic ID's among them, is broken up first, so that no product can speak in another's name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genrec.data.catalog import Catalog
from genrec.data.item_text import ItemTemplate, field_texts
from genrec.language_model.tasks import (
    PLACEHOLDER,
    TEXT_CHARS,
    TITLE_CHARS,
    PromptSettings,
    Task,
)
from genrec.language_model.vocabulary import CodeVocabulary, code_name

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Example", "ItemWords", "Renderer", "chat_frame"]

_CODE = re.compile(r"<(?=\d+:\d+>)")
_MARK = "\u2404"
_PROSE = ("item_id", "title", "description")


@dataclass(frozen=True)
class Example:
    """One sequence to learn from.

    Attributes:
        tokens: `(T,)` int64, prompt and answer.
        answer: where the answer begins; everything from there on is a target.
        item: catalog index of the item that the answer's codes name; of several, one for each token of the
            answer.
    """

    tokens: NDArray[np.int64]
    answer: int
    item: int | NDArray[np.int64]


class ItemWords:
    """The catalog's items in words, ready to be put into prompts.

    Args:
        catalog: the items.
        template: which fields make an item's text.
        settings: how long words may get.
        reserved: tokens of the language model that item text must not spell.
    """

    def __init__(
        self,
        catalog: Catalog,
        template: ItemTemplate,
        settings: PromptSettings,
        reserved: Sequence[str] = (),
    ) -> None:
        self.catalog, self.template, self.settings = catalog, template, settings
        names = sorted((name for name in reserved if not _CODE.match(name)), key=len, reverse=True)
        self._reserved = re.compile("|".join(map(re.escape, names))) if names else None
        self._columns: dict[str, list[str]] = {}

    def of(self, field: str, item: int, generator: np.random.Generator) -> str:
        """Words for a field of an item: ``title``, ``text``, ``preference`` or a column."""
        if field == "preference":
            return self._preference(item, generator)
        if field not in self._columns:
            self._columns[field] = self._words(field)
        return self._columns[field][item]

    def require(self, columns: set[str]) -> None:
        """Check that the catalog has the columns that templates name.

        Raises:
            DataError: it has not.
        """
        for name in sorted(columns):
            self.catalog.column(name, asked_by="a task's template")

    def _words(self, field: str) -> list[str]:
        if field == "text":
            texts = self.catalog.texts(self.template.replace(max_chars=TEXT_CHARS))
        else:
            most = TITLE_CHARS if field == "title" else TEXT_CHARS
            texts = field_texts(self.catalog.table, field, most, self.template.cleaning)
        return [self.harmless(text) for text in texts]

    def _preference(self, item: int, generator: np.random.Generator) -> str:
        """One attribute of the item, or two words of its title where it has none."""
        fields = self.template.choose(self.catalog.table)
        named = [(name, self.of(name, item, generator)) for name in fields if name not in _PROSE]
        if choices := [f"{name}: {words}" for name, words in named if words]:
            return choices[int(generator.integers(len(choices)))]
        words = self.of("title", item, generator).split()
        start = int(generator.integers(max(len(words) - 1, 1)))
        return " ".join(words[start : start + 2])

    def harmless(self, text: str) -> str:
        """Text from outside, with whatever would read as a token of the model's own broken up."""
        text = _CODE.sub("< ", text)
        if self._reserved is None:
            return text
        return self._reserved.sub(lambda found: " ".join(found.group()), text)


class Renderer:
    """Fills templates and turns them into tokens.

    Args:
        tokenizer: the language model's, with the code tokens in it.
        vocabulary: the codes' tokens.
        codes: `(N, L)` semantic IDs of the catalog.
        words: the same items in words.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        vocabulary: CodeVocabulary,
        codes: NDArray[np.integer],
        words: ItemWords,
    ) -> None:
        self.tokenizer, self.vocabulary, self.words = tokenizer, vocabulary, words
        self.codes = codes
        self.names = [
            "".join(code_name(level, int(code)) for level, code in enumerate(row)) for row in codes
        ]
        self.head, self.tail = chat_frame(tokenizer)
        self.is_chat = bool(tokenizer.chat_template)

    def prompt(
        self,
        task: Task,
        history: NDArray[np.integer],
        item: int = 0,
        generator: np.random.Generator | None = None,
        preference: str | None = None,
    ) -> str:
        """The question as the language model reads it, chat template included.

        Args:
            task: whose prompts take turns.
            history: catalog indices, oldest first.
            item: what the question is about, where it is about one.
            generator: draws prompt and preference; None asks the same each time.
            preference: somebody's own words instead of an attribute of the item.
        """
        generator = np.random.default_rng(0) if generator is None else generator
        template = task.prompts[int(generator.integers(len(task.prompts)))]
        if preference is not None:
            words = self.words.harmless(preference)
            template = template.replace(
                "{item.preference}", words.replace("{", "(").replace("}", ")")
            )
        return self.head + self._fill(template, history, item, generator) + self.tail

    def answer(self, task: Task, item: int, generator: np.random.Generator) -> str:
        """The answer, with the end-of-text token behind words (a semantic ID ends by itself)."""
        text = self._fill(task.answer, np.empty(0, np.int32), item, generator)
        only_codes = task.answer.strip() == "{item}"
        starts_with_codes = task.answer.lstrip().startswith("{item}")
        space = "" if self.is_chat or starts_with_codes else " "
        return space + text + ("" if only_codes else self.tokenizer.eos_token or "")

    def examples(
        self,
        tasks: Sequence[Task],
        histories: Sequence[NDArray[np.integer]],
        items: NDArray[np.integer],
        generator: np.random.Generator,
    ) -> list[Example]:
        """Render one example for each (task, history, item)."""
        asked = [
            (self.prompt(t, h, int(i), generator), self.answer(t, int(i), generator))
            for t, h, i in zip(tasks, histories, items, strict=True)
        ]
        prompts, answers = self.tokens([p for p, _ in asked]), self.tokens([a for _, a in asked])
        return [
            Example(np.array(p + a, np.int64), len(p), int(i))
            for p, a, i in zip(prompts, answers, items, strict=True)
        ]

    def tokens(self, texts: list[str]) -> list[list[int]]:
        """LM tokens of texts that `prompt` and `answer` made."""
        if not texts:
            return []
        found: list[list[int]] = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        return found

    def _fill(
        self, template: str, history: NDArray[np.integer], item: int, generator: np.random.Generator
    ) -> str:
        def value(found: re.Match[str]) -> str:
            name = found.group(1)
            if name == "history":
                return "".join(self.names[i] for i in history)
            if name == "history.titles":
                newest = history[-self.words.settings.titles :]
                return "; ".join(self.words.of("title", int(i), generator) for i in newest)
            if name == "item":
                return self.names[item]
            return self.words.of(name.removeprefix("item."), item, generator)

        return PLACEHOLDER.sub(value, template)


def chat_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[str, str]:
    """What stands before and behind a question: the model's chat template, or its first token alone."""
    if not tokenizer.chat_template:
        return tokenizer.bos_token or "", ""
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": _MARK}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    head, _, tail = str(whole).partition(_MARK)
    return head, tail
