"""Tuning: what trains of a pretrained model; LoRA, everything, or the new code tokens' rows alone.

In all three the code rows are parameters of their own beside the pretrained tables (peft's trainable
tokens), for tied and untied heads alike. So the rows can train alone, exactly: no weight decay reaches the
pretrained rows, and an adapter's file holds new rows only.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.common.errors import ConfigError, RecommenderError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from genrec.language_model.settings import LanguageModelSettings, LoraSettings
    from genrec.language_model.vocabulary import CodeVocabulary

__all__ = [
    "add_adapter",
    "checkpoint_activations",
    "code_rows",
    "fold_code_rows",
    "is_adapted",
    "load_adapter",
    "lora_config",
    "merge",
    "quiet",
    "save_adapter",
]


def add_adapter(
    model: PreTrainedModel, settings: LanguageModelSettings, vocabulary: CodeVocabulary
) -> PreTrainedModel:
    """Wrap `model`, in place, so that what `settings.tuning` names trains and nothing else."""
    from peft import get_peft_model

    with quiet():
        adapted = get_peft_model(model, _adapter_config(model, settings, vocabulary))
    if settings.tuning == "full":
        adapted.requires_grad_(True)
    wrapped: PreTrainedModel = adapted
    return wrapped


def load_adapter(base: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Put a saved adapter back on its base model, for use, not for training.

    Raises:
        RecommenderError: the adapter cannot be read, or is another model's.
    """
    from peft import PeftModel
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
            saved = set(file.keys())
        with quiet():
            model: PreTrainedModel = PeftModel.from_pretrained(base, folder)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise RecommenderError(f"the adapter in {folder} cannot be read: {reason}") from None
    except KeyError as error:
        raise RecommenderError(f"the adapter in {folder} lacks {error.args[0]}") from None
    if odd := sorted(saved ^ _adapter_names(model)):
        raise RecommenderError(
            f"the adapter in {folder} is another model's: it lacks or has in excess {len(odd)} tensors, such "
            f"as {odd[0]}"
        )
    return model


def save_adapter(model: Any, folder: Path) -> None:
    """Write what an adapter adds to its base model."""
    # Named parameters, unlike a state dict, hold what tied tables share once.
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    # The adapter holds the code rows already; peft would add the whole resized tables to it.
    model.save_pretrained(folder, state_dict=state, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a form that nobody filled in


def merge(model: Any) -> PreTrainedModel:
    """Write LoRA updates and code rows into the pretrained weights, in place: a plain model remains."""
    with quiet():
        plain: PreTrainedModel = model.merge_and_unload()
    plain.requires_grad_(True)
    return plain


def fold_code_rows(model: nn.Module) -> None:
    """Write the code rows into the tables, in place: same logits, bit for bit, at a plain model's cost.

    Otherwise every forward pass makes a copy of each table. The rows cannot train any more.
    """
    for layer in _row_layers(model):
        layer.merge()


def is_adapted(model: nn.Module) -> bool:
    """Whether `model` has its trained parts beside the pretrained weights, not in them."""
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")


def code_rows(model: nn.Module) -> list[nn.Parameter]:
    """The code tokens' rows where they are parameters of their own, `(new tokens, D)` a table; else none."""
    if any(layer.merged for layer in _row_layers(model)):
        return []
    return [p for name, p in model.named_parameters() if ".trainable_tokens_delta." in name]


def lora_config(model: PreTrainedModel, settings: LoraSettings, **more: Any) -> Any:
    """What peft is told of an update beside every linear layer but the head; `more` goes to it as it is."""
    from peft import LoraConfig, TaskType

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="all-linear",
        fan_in_fan_out=any(type(layer).__name__ == "Conv1D" for layer in model.modules()),
        task_type=TaskType.CAUSAL_LM,
        **more,
    )


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Keep no activations of the layers for the backward pass.

    Raises:
        ConfigError: the architecture cannot do without them.
    """
    # Transformers renamed it within version 5; the argument is the same.
    enable = getattr(model, "activation_checkpointing_enable", None)
    enable = enable or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError:
        raise ConfigError(
            f"language_model.gradient_checkpointing: {type(model).__name__} does not support it; set it to "
            "false"
        ) from None


def _adapter_config(
    model: PreTrainedModel, settings: LanguageModelSettings, vocabulary: CodeVocabulary
) -> Any:
    from peft import TaskType, TrainableTokensConfig

    tables, revision = _tables(model), settings.revision
    if settings.tuning == "lora":
        rows = dict.fromkeys(tables, vocabulary.all_tokens)
        return lora_config(model, settings.lora, trainable_token_indices=rows, revision=revision)
    return TrainableTokensConfig(
        target_modules=tables,
        token_indices=vocabulary.all_tokens,
        task_type=TaskType.CAUSAL_LM,
        revision=revision,
    )


def _tables(model: PreTrainedModel) -> list[str]:
    """Names of the layers with a row for each token: peft follows a tied head by itself."""
    names = {module: name for name, module in model.named_modules()}
    table, head = model.get_input_embeddings(), model.get_output_embeddings()
    return [names[layer] for layer in ([table] if head.weight is table.weight else [table, head])]


def _adapter_names(model: nn.Module) -> set[str]:
    """What an adapter's file calls its tensors; tied tables share one."""
    names = [name for name, _ in model.named_parameters()]
    own = [name for name in names if ".lora_" in name or ".trainable_tokens_delta." in name]
    return {name.replace(".default", "") for name in own}


def _row_layers(model: nn.Module) -> list[Any]:
    from peft.tuners.trainable_tokens.layer import TrainableTokensLayer

    return [layer for layer in model.modules() if isinstance(layer, TrainableTokensLayer)]


@contextmanager
def quiet() -> Iterator[None]:
    """Hide four warnings of peft that are about nothing here.

    It reads a property by a name that Transformers has deprecated; says that tied tables cannot be adapted,
    which its trainable tokens can be; misses the second copy of what they share; and finds folded rows
    merged already.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`", UserWarning)
        warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)
        warnings.filterwarnings("ignore", "All adapters are already merged", UserWarning)
        yield
