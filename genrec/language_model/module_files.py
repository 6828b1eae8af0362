"""Module files: small trained modules beside a language model, each a safetensors file in its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from genrec.common.errors import RecommenderError

__all__ = ["load_module", "save_module"]

M = TypeVar("M", bound=nn.Module)


def save_module(module: nn.Module, path: Path) -> None:
    """Write the weights and buffers of a module."""
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)


def load_module(path: Path, make: Callable[[Mapping[str, Tensor]], M]) -> M | None:
    """Read what `save_module` wrote; None where there is no file.

    Args:
        path: of the file.
        make: makes an untrained module that such weights fit.

    Raises:
        RecommenderError: the file cannot be read, or holds something else.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.exists():
        return None
    try:
        state = load_file(path)
        found = make(state)
        found.load_state_dict(state)
    except (OSError, LookupError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise RecommenderError(f"{path}: cannot be read ({error})") from None
    return found
