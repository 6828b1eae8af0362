"""Pretrained causal language models: read from the hub or a folder, quantized if wanted, and remembered.

An adapter is worth nothing without the very weights it was tuned on, so a `BaseRecord` goes with it: the
name and commit they came from, and a fingerprint by which others are recognised.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from genrec.common.errors import ConfigError, MissingExtraError, RecommenderError

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase

    from genrec.language_model.settings import LanguageModelSettings

__all__ = [
    "BASE_MODEL",
    "WHERE_A_BASE_MAY_LIE",
    "BaseRecord",
    "grow_tables",
    "pretrained_model",
    "pretrained_tokenizer",
    "quantizer",
]

WHERE_A_BASE_MAY_LIE = (
    "Put the original back, or say where it lies now: base=… of GenerativeRecommender.from_pretrained, "
    "--base of 'genrec export'"
)
BASE_MODEL = "base_model.json"
_BLOCKS, _BLOCK = 256, 4096


def pretrained_model(settings: LanguageModelSettings) -> PreTrainedModel:
    """Read the model that `settings` name; a quantized one is ready for an adapter.

    Raises:
        RecommenderError: there is no such model, or it cannot be reached.
        MissingExtraError: quantization without its package.
        ConfigError: this machine cannot quantize.
    """
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": getattr(torch, settings.dtype), "use_safetensors": True}
    if settings.quantization == "none":
        model: PreTrainedModel = _from_hub(AutoModelForCausalLM, settings, **options)
        return model
    return _quantized(settings, options | {"quantization_config": quantizer(settings)})


def pretrained_tokenizer(settings: LanguageModelSettings) -> PreTrainedTokenizerBase:
    """Read the tokenizer of the model that `settings` name.

    Raises:
        RecommenderError: there is no such model, or it cannot be reached.
    """
    from transformers import AutoTokenizer

    return _from_hub(AutoTokenizer, settings)


def grow_tables(model: PreTrainedModel, tokens: int) -> None:
    """Give the tables a row for every token; spare rows, which real checkpoints have, are used first."""
    if tokens > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(tokens, mean_resizing=False)


def quantizer(settings: LanguageModelSettings) -> BitsAndBytesConfig:
    """Say how the frozen linear layers are kept in 8 or 4 bits; tables and norms are not.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    if find_spec("bitsandbytes") is None:
        purpose = f"language_model.quantization = {settings.quantization}"
        raise MissingExtraError("bitsandbytes", "quantize", purpose)
    from transformers import BitsAndBytesConfig

    if settings.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, settings.dtype),
    )


def _quantized(settings: LanguageModelSettings, options: dict[str, Any]) -> PreTrainedModel:
    from peft import prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM

    try:
        model = _from_hub(AutoModelForCausalLM, settings, **options)
    except (ImportError, RuntimeError, NotImplementedError) as error:
        raise ConfigError(
            f"language_model.quantization = {settings.quantization!r} cannot be had on this machine "
            f"({_reason(error)}): set it to none"
        ) from None
    prepared: PreTrainedModel = prepare_model_for_kbit_training(
        model, use_gradient_checkpointing=False
    )
    return prepared


def _from_hub(kind: Any, settings: LanguageModelSettings, **options: Any) -> Any:
    try:
        return kind.from_pretrained(
            settings.backbone, revision=settings.revision, trust_remote_code=False, **options
        )
    except (OSError, ValueError) as error:
        raise RecommenderError(
            f"language_model.backbone = {settings.backbone!r} is neither 'compact', nor a local folder with "
            f"a causal language model, nor a hub model that can be reached from here: {_reason(error)}"
        ) from None


def _reason(error: Exception) -> str:
    words = str(error).strip()
    return words.splitlines()[0] if words else type(error).__name__


@dataclass(frozen=True)
class BaseRecord:
    """Which weights an adapter was tuned on.

    Attributes:
        name: of the hub, or a local path, as the settings gave it.
        revision: commit of a hub model; None for a local one.
        rows: of its token table, before the codes were added.
        fingerprint: hash of a sample of its weight files, the same wherever they lie.
    """

    name: str
    revision: str | None
    rows: int
    fingerprint: str

    @classmethod
    def of(cls, settings: LanguageModelSettings, model: PreTrainedModel) -> BaseRecord:
        """Describe `model`, just read with `settings`; its tables have not grown yet."""
        from transformers.utils import cached_file

        found = cached_file(settings.backbone, "config.json", revision=settings.revision)
        folder = Path(str(found)).parent
        commit = folder.name if folder.parent.name == "snapshots" else None
        rows = model.get_input_embeddings().weight.shape[0]
        return cls(settings.backbone, commit, rows, _fingerprint(folder))

    def save(self, folder: Path) -> None:
        """Write it beside the adapter."""
        text = json.dumps(asdict(self), indent=2)
        (folder / BASE_MODEL).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> BaseRecord:
        """Read what `save` wrote.

        Raises:
            RecommenderError: it is missing or not such a file.
        """
        try:
            return cls(**json.loads((folder / BASE_MODEL).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RecommenderError(
                f"{folder / BASE_MODEL}, which says what the adapter was tuned on, cannot be read "
                f"({_reason(error)}): restore the folder from a copy, or fit again"
            ) from None

    def pinned(self, settings: LanguageModelSettings) -> LanguageModelSettings:
        """The same settings, at the commit that the adapter was tuned on."""
        if self.revision is None or settings.backbone != self.name:
            return settings
        return settings.replace(revision=self.revision)

    def check(self, found: BaseRecord) -> None:
        """Compare with what lies at the base model's place now.

        Raises:
            RecommenderError: these are other weights.
        """
        if found.fingerprint == self.fingerprint:
            return
        rows = f"{found.rows:,} token rows instead of {self.rows:,}"
        difference = rows if found.rows != self.rows else "other weights"
        commit = "" if self.revision is None else f" at commit {self.revision}"
        raise RecommenderError(
            f"this recommender was tuned on {self.name!r}{commit}, and {found.name!r} is not that model any "
            f"more: it has {difference}. {WHERE_A_BASE_MAY_LIE}"
        )


def _fingerprint(folder: Path) -> str:
    """Hash evenly spaced blocks of every weight file: another training changes nearly all of them."""
    index = folder / "model.safetensors.index.json"
    names = {"model.safetensors"}
    if index.exists():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    digest = hashlib.sha256()
    for path in (folder / name for name in sorted(names)):
        size = path.stat().st_size
        digest.update(size.to_bytes(8, "little"))
        with path.open("rb") as file:
            for place in range(0, size, max(size // _BLOCKS, _BLOCK)):
                file.seek(place)
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()
