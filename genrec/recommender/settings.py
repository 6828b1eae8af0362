"""Settings of a fit, all in one tree: what a YAML file or ``key=value`` words may say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from genrec.common.config import ANY, Settings, validate, without_retired
from genrec.data.item_text import ItemTemplate
from genrec.data.split_settings import SplitSettings
from genrec.data.vectors import VectorFile
from genrec.decoding.beams import BeamSettings
from genrec.encoders import EncoderSettings
from genrec.language_model.backbone import LanguageModelSettings
from genrec.language_model.tasks import PromptSettings, Task, resolve_tasks
from genrec.recommender.memory import MemorySettings
from genrec.recommender.query import QuerySettings
from genrec.recommender.text_model.model import TextModelSettings
from genrec.semantic_ids.collaborative import CollaborativeSettings
from genrec.semantic_ids.collisions import Policy
from genrec.semantic_ids.quality_gate import QualityGate
from genrec.semantic_ids.rqkmeans import RQKMeansSettings
from genrec.semantic_ids.settings import AnyItemTokenizerSettings
from genrec.training.settings import JointSettings, TrainingSettings

if TYPE_CHECKING:
    import torch


__all__ = ["FitSettings", "read_settings"]

RETIRED = {
    "training.code_noise": ANY,
    "split.fake_users.popular_limit": 10.0,
    "split.fake_users.unpopular_limit": 5.0,
    "split.fake_users.unlike_limit": 3.0,
    "split.fake_users.like_items": 200,
    "prompts.title_chars": 100,
    "prompts.text_chars": 300,
    "collaborative.hops": 2,
}
"""Settings that folders of earlier versions hold, each with the value that is now the only one."""
EARLIER_SPLIT = {"heavy_user_share": 1.0}
"""What held of the split in folders that do not say it: theirs must be cut as it was."""
EARLIER_COUNTS = {"distance_power": 1.0, "logarithm": False}
"""The same of what the memory counts."""
_ITEMS_A_CODE = 6
_MOST_FIRST_CODES = 4096


class FitSettings(Settings):
    """How a recommender is made."""

    seed: int = Field(0, ge=0)
    """Of everything that is drawn at random."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``mps`` …"""
    template: ItemTemplate = ItemTemplate()
    """How an item's fields become its text."""
    split: SplitSettings = SplitSettings()
    """Training, validation and test."""
    encoder: EncoderSettings = EncoderSettings()
    """Text and images to vectors."""
    vectors: tuple[VectorFile, ...] = ()
    """Vectors of your own, beside those of text: a list of ``{path, weight, ids, …}``."""
    collaborative: CollaborativeSettings = CollaborativeSettings()
    """Co-occurrence joined with the text vectors, from training interactions only."""
    item_tokenizer: AnyItemTokenizerSettings | None = None
    """Vectors to codes; None is residual k-means of a size that fits the catalog."""
    collisions: Policy = "nearest_free"
    """How items with the same codes are told apart."""
    gate: QualityGate = QualityGate()
    """What semantic IDs must reach; looked at before training."""
    language_model: LanguageModelSettings = LanguageModelSettings()
    """What continues the histories."""
    training: TrainingSettings = TrainingSettings()
    """How it learns."""
    joint: JointSettings = JointSettings()
    """How several catalogs are trained on together, where there are several."""
    tasks: dict[str, Task] = Field(default_factory=dict)
    """What a pretrained language model learns beside the next item, such as ``{next-title: 0.3}``: weights of
    built-in tasks (see `genrec/language_model/tasks.yaml`), or prompts, answer and weight of your own."""
    prompts: PromptSettings = PromptSettings()
    """How much of an item is put into words, with tasks."""
    exclude_seen: bool | None = None
    """Whether recommendations leave out the items of the history. None: the fit finds out where users come
    back to items, and else they do."""
    search: BeamSettings = BeamSettings()
    """How the catalog is searched."""
    memory: MemorySettings = MemorySettings()
    """Counts of the training log and likeness of texts, mixed with what the language model expects."""
    text_model: TextModelSettings = TextModelSettings()
    """A small network that learns what words mean in the log, mixed with what the language model expects."""
    query: QuerySettings = QuerySettings()
    """What words of a request say, beside what the history does."""
    mixture_users: int = Field(20_000, ge=1)
    """Most validation users on whom the mixture is chosen after training, drawn at random."""
    validation_users: int = Field(2000, ge=1)
    """Most users in a validation during training, drawn at random."""
    validation_beams: int = Field(20, ge=1)
    """Beams of these validations; fewer than `search.beams` costs less."""

    @field_validator("tasks", mode="before")
    @classmethod
    def _whole_tasks(cls, tasks: Any) -> Any:
        return resolve_tasks(tasks)

    @model_validator(mode="after")
    def _no_more_than_all(self) -> FitSettings:
        stated = {
            "memory.weight": self.memory.weight,
            "memory.text_weight": self.memory.text_weight,
            "text_model.weight": self.text_model.weight,
        }
        given = {name: weight for name, weight in stated.items() if weight}
        if sum(given.values()) > 1 + 1e-9:
            words = ", ".join(f"{name} = {weight:g}" for name, weight in given.items())
            raise ValueError(
                f"{words}: they are shares of one mixture, and more than 1 together; lower them (what is "
                "left to 1 is the language model's)"
            )
        return self

    @model_validator(mode="after")
    def _words_for_tasks(self) -> FitSettings:
        if self.tasks and self.language_model.backbone == "compact":
            raise ValueError(
                "tasks need a language model that knows words, and the compact one knows only codes: give "
                "language_model.backbone, or leave tasks out"
            )
        return self

    @model_validator(mode="after")
    def _tasks_read_histories_as_they_are(self) -> FitSettings:
        if not self.tasks:
            return self
        if self.language_model.item_attention != "causal":
            raise ValueError(
                "tasks are learned in packed rows of words and codes, where attention is causal: leave out "
                "language_model.item_attention, or tasks"
            )
        if self.language_model.pointer:
            raise ValueError(
                "language_model.pointer learns from histories alone: leave it out, or tasks"
            )
        return self

    @model_validator(mode="after")
    def _codes_of_a_pretrained_model(self) -> FitSettings:
        if self.training.codes_first and self.language_model.backbone == "compact":
            raise ValueError(
                "training.codes_first warms up the codes of a pretrained language model, and the compact one "
                "is trained whole from the start: give language_model.backbone, or leave it out"
            )
        return self

    @model_validator(mode="after")
    def _something_to_see(self) -> FitSettings:
        if not (self.encoder.weight or self.encoder.image_column or self.vectors):
            raise ValueError(
                "encoder.weight = 0 leaves items without vectors: give vectors (--vectors FILE) or "
                "encoder.image_column"
            )
        return self

    @model_validator(mode="after")
    def _someone_aligns(self) -> FitSettings:
        weight = getattr(self.item_tokenizer, "alignment", 0.0)
        if self.collaborative.aligns and not weight:
            raise ValueError(
                "collaborative.mode = align needs an item tokenizer that learns: give "
                "item_tokenizer.kind = rqvae (or moe, fsq) with item_tokenizer.alignment above 0"
            )
        return self

    def tokenizer_settings(self, items: int) -> AnyItemTokenizerSettings:
        """The item tokenizer for a catalog of `items`: as set, or sized for it.

        About six items share a first code: near enough to single items for the language model to learn who
        follows whom, and coarse enough for rare items to learn from their neighbours. One more level tells
        them apart, two more where the first level meets its cap.
        """
        if self.item_tokenizer is not None:
            return self.item_tokenizer
        wanted = 2 ** round(math.log2(max(items, 1) / _ITEMS_A_CODE))
        first = min(max(wanted, 16), _MOST_FIRST_CODES)
        rest = (min(first, 256),) * (1 if wanted <= _MOST_FIRST_CODES else 2)
        return RQKMeansSettings(levels=1 + len(rest), codes=(first, *rest), seed=self.seed)

    def torch_device(self) -> torch.device:
        """The device that `device` names (see `genrec.common.devices`)."""
        from genrec.common.devices import torch_device

        return torch_device(self.device)


def read_settings(settings: dict[str, Any], source: str) -> FitSettings:
    """Settings as a recommender folder holds them, one of an earlier version too.

    Raises:
        ConfigError: one is unknown or not allowed; names `source`.
    """
    kept = dict(without_retired(settings, RETIRED, source))
    if isinstance(kept.get("split"), dict):
        kept["split"] = {**EARLIER_SPLIT, **kept["split"]}
    memory = kept.get("memory")
    if isinstance(memory, dict) and isinstance(memory.get("counts"), dict):
        counts = {**EARLIER_COUNTS, **memory["counts"]}
        kept["memory"] = {"text_recency": counts["recency"], **memory, "counts": counts}
    return validate(FitSettings, kept, source=source)
