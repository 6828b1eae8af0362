"""Device: where tensors live, by the name that a setting gives it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from genrec.common.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["torch_device"]


def torch_device(name: str) -> torch.device:
    """The device that `name` names; ``auto`` takes a GPU where there is one, each process its own.

    Raises:
        ConfigError: there is no such device, or nothing can be put on it.
    """
    import torch

    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device = {name!r} cannot be used here: {reason}") from None
    return device
