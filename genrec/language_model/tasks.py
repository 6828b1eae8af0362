"""Tasks as data: templates of prompt and answer, mixed by weight (P5, Geng et al. 2022; LC-Rec, Zheng et al.
2024).

A task is a few strings, so a new one is a few lines of YAML. What the strings may name is checked here and
filled in by one renderer, `genrec.language_model.prompts`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import yaml
from pydantic import Field, field_validator

from genrec.common.config import Settings
from genrec.data.reading.readers import nearest

__all__ = [
    "PLACEHOLDER",
    "PromptSettings",
    "Task",
    "builtin_tasks",
    "preference_task",
    "resolve_tasks",
]

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
TITLE_CHARS, TEXT_CHARS = 100, 300
"""Most characters of a title in a prompt, and of an item's text or attribute."""
_HISTORY = ("history", "history.titles")


class PromptSettings(Settings):
    """How much of an item is put into words."""

    titles: int = Field(8, ge=1)
    """Newest items of a history that are named by title."""


class Task(Settings):
    """What a language model is asked, and what it should answer."""

    prompts: tuple[str, ...] = Field(min_length=1)
    """Templates of the question, which take turns by chance."""
    answer: str
    """Template of the answer; only its tokens are targets."""
    weight: float = Field(1.0, gt=0)
    """Examples of it for every history that is passed over."""

    @field_validator("prompts", "answer")
    @classmethod
    def _known_fields(cls, templates: Any) -> Any:
        for template in [templates] if isinstance(templates, str) else templates:
            for name in PLACEHOLDER.findall(template):
                if name not in (*_HISTORY, "item") and not re.fullmatch(r"item\.\w+", name):
                    raise ValueError(
                        f"the template {template!r} names {{{name}}}: a template may name {{history}}, "
                        "{history.titles}, {item}, {item.title}, {item.text}, {item.preference} and "
                        "{item.COLUMN}"
                    )
        return templates

    @field_validator("answer")
    @classmethod
    def _about_the_item(cls, answer: str) -> str:
        names = PLACEHOLDER.findall(answer)
        if not names or any(name in _HISTORY for name in names):
            raise ValueError(f"the answer {answer!r} must be about {{item}}, and not the history")
        return answer

    @property
    def of_history(self) -> bool:
        """Whether it asks about a choice in the log; else about an item alone."""
        return any(name in _HISTORY for text in self.prompts for name in PLACEHOLDER.findall(text))

    @property
    def takes_preference(self) -> bool:
        """Whether it asks for the next item of a history, given a preference in words."""
        return self.of_history and any("{item.preference}" in text for text in self.prompts)

    @property
    def columns(self) -> set[str]:
        """Columns of the catalog that its templates name."""
        names = {n for text in (*self.prompts, self.answer) for n in PLACEHOLDER.findall(text)}
        fields = {name.removeprefix("item.") for name in names if name.startswith("item.")}
        return fields - {"title", "text", "preference"}


def builtin_tasks() -> dict[str, Task]:
    """The tasks that come with genrec, by name."""
    text = files("genrec.language_model").joinpath("tasks.yaml").read_text(encoding="utf-8")
    return {name: Task.model_validate(task) for name, task in yaml.safe_load(text).items()}


def resolve_tasks(wanted: Any) -> Any:
    """Turn ``{name: weight}`` of built-in tasks into whole ones; whole ones stay, weight 0 is left out.

    Raises:
        ValueError: a weight stands behind a name that no built-in task has.
    """
    if not isinstance(wanted, dict):
        return wanted
    known, resolved = builtin_tasks(), {}
    for name, task in wanted.items():
        if isinstance(task, bool) or not isinstance(task, (int, float)):
            resolved[name] = task
        elif name not in known:
            raise ValueError(
                f"there is no task {name!r}{nearest(name, list(known))}; built in: {', '.join(known)}; "
                "for one of your own, give prompts and answer"
            )
        elif task:
            resolved[name] = known[name].model_dump() | {"weight": task}
    return resolved


def preference_task(tasks: Iterable[Task]) -> Task | None:
    """The task that answers a preference in words with an item, and one way to ask for it, or None."""
    steered = [t for t in tasks if t.takes_preference and t.answer.strip() == "{item}"]
    return steered[0].replace(prompts=steered[0].prompts[:1]) if steered else None
