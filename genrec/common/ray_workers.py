"""Ray workers (Moritz et al. 2018): rows go out to many machines, results come back in the same order.

One row is one unit of work, large enough to be worth a journey: some thousand users, some thousand texts. A
worker is a process on one of the cluster's machines that opens what it needs once and then takes row after
row. Ray does again what was lost with a worker or its machine. What a user can put right, such as a folder
that a machine does not see, travels back as words and not as a traceback. Ray's machines send each other
Python objects: use a cluster only if you trust all who can reach it.
"""

from __future__ import annotations

import logging
import os
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import Field

from genrec.common.config import Settings
from genrec.common.errors import GenrecError, InputError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RaySettings", "on_workers", "require_ray"]

log = logging.getLogger(__name__)

Work = Callable[["pa.Table"], "pa.Table"]
"""Turns a table of one row into another."""

LOCAL = "local"
_ERROR = "error"
_CONNECT_SECONDS = 5.0


class RaySettings(Settings):
    """Which machines work, and how many workers they run."""

    address: str = LOCAL
    """``local`` starts workers on this machine; ``auto`` finds the cluster that this machine is part of;
    ``HOST:PORT`` names a cluster's head."""
    workers: int | None = Field(default=None, ge=1)
    """Each takes one CPU, or one GPU where the cluster has any; None is as many as there are."""


def require_ray(settings: RaySettings) -> None:
    """Refuse at once what could only fail later.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: nothing answers at the address, or Ray Data cannot work through it.
    """
    try:
        import ray.data  # noqa: F401
    except ImportError:
        raise MissingExtraError("ray", "ray", "work on many machines") from None
    address = settings.address
    if address in (LOCAL, "auto"):
        return
    if "://" in address:
        raise InputError(
            f"the Ray address {address!r}: Ray Data does not run through a Ray Client; run this command on "
            "a machine of the cluster, with the address 'auto' or HOST:PORT"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"the Ray address {address!r}: give 'local', 'auto' or HOST:PORT")
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from None


def on_workers(
    rows: Sequence[pa.Table],
    open_work: Callable[..., Work],
    arguments: tuple[Any, ...],
    settings: RaySettings,
    device: str = "auto",
) -> Iterator[pa.Table]:
    """Do the same work on every row, spread over workers.

    Args:
        rows: tables of one row each.
        open_work: a function of some module, called once a worker as ``open_work(device, *arguments)``.
        arguments: whatever pickle can carry.
        settings: where.
        device: of each worker; ``auto`` takes a GPU where the cluster has any.

    Yields:
        A table of one row for each of `rows`, in their order.

    Raises:
        InputError: the cluster cannot be used, or the work cannot be done by a worker; names its machine.
        GenrecError: Ray failed.
    """
    if not rows:
        return
    require_ray(settings)
    with _connected(settings), _failures_told():
        workers, on_gpu = _room(settings, device, len(rows))
        log.info("%d Ray workers (%s)", workers, settings.address)
        opened = (open_work, "cuda" if on_gpu else "cpu" if device == "auto" else device, arguments)
        for table in _results(rows, opened, workers, on_gpu):
            _raise_told(table)
            for row in range(len(table)):
                yield table.slice(row, 1)


def _results(
    rows: Sequence[pa.Table], opened: tuple[Any, ...], workers: int, on_gpu: bool
) -> Iterator[pa.Table]:
    import ray.data

    work = ray.data.from_arrow(list(rows)).map_batches(
        _Worker,
        fn_constructor_args=opened,
        batch_size=1,
        batch_format="pyarrow",
        # One row waits nowhere while another worker is idle.
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
        num_cpus=0 if on_gpu else 1,
        num_gpus=1 if on_gpu else None,
    )
    work.context.enable_progress_bars = False
    work.context.execution_options.preserve_order = True
    found: Iterator[pa.Table] = work.iter_batches(batch_size=None, batch_format="pyarrow")
    return found


class _Worker:
    """What runs on a worker: opens the work at the first row, and sends an error back as a row."""

    def __init__(
        self, open_work: Callable[..., Work], device: str, arguments: tuple[Any, ...]
    ) -> None:
        self.open_work, self.device, self.arguments = open_work, device, arguments
        self.work: Work | None = None

    def __call__(self, row: pa.Table) -> pa.Table:
        import pyarrow as pa

        try:
            if self.work is None:
                self.work = self.open_work(self.device, *self.arguments)
            return self.work(row)
        except GenrecError as error:
            message, at_fault = str(error), isinstance(error, InputError)
        except Exception as error:
            message, at_fault = traceback.format_exc(limit=-1).strip(), False
            log.exception("%s", error)
        words = f"a worker on {socket.gethostname()}: {message}"
        return pa.table({_ERROR: [words], "user_at_fault": [at_fault]})


def _raise_told(table: pa.Table) -> None:
    """Raise the error that a worker sent in place of a result."""
    if _ERROR in table.column_names:
        kind = InputError if table["user_at_fault"][0].as_py() else GenrecError
        raise kind(table[_ERROR][0].as_py())


@contextmanager
def _connected(settings: RaySettings) -> Iterator[None]:
    """Be a driver of the cluster while the block runs; one that was connected before stays connected."""
    import ray

    if ray.is_initialized():
        yield
        return
    _prepare_environment()
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if settings.address == LOCAL:
        options |= {"num_cpus": settings.workers, "include_dashboard": False}
    try:
        ray.init(address=settings.address, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _unreachable(settings.address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def _prepare_environment() -> None:
    """Leave on stderr what concerns a user: errors. Ray's own reports of its use are off."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Workers started here do this command's work: as nice as it is, where Ray's default is to yield.
    os.environ.setdefault("RAY_worker_niceness", "0")
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _room(settings: RaySettings, device: str, rows: int) -> tuple[int, bool]:
    """How many workers, never more than there are rows, and whether each has a GPU."""
    import ray

    there = ray.cluster_resources()
    on_gpu = device.startswith("cuda") or (device == "auto" and there.get("GPU", 0) >= 1)
    room = int(there.get("GPU" if on_gpu else "CPU", 0))
    if not room:
        raise InputError(
            f"the Ray cluster {settings.address!r} has no {'GPU' if on_gpu else 'CPU'}: add machines to it, "
            "or choose another device or address"
        )
    return min(rows, settings.workers or room), on_gpu


@contextmanager
def _failures_told() -> Iterator[None]:
    """Say in one line what Ray says in many."""
    import ray

    try:
        yield
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        missing = next((line for line in lines if "No module named" in line), None)
        if missing is not None:
            raise InputError(
                f"a worker cannot run genrec ({missing}): install this version of it on every machine of "
                "the cluster"
            ) from error
        raise GenrecError(f"Ray: {lines[0] if lines else type(error).__name__}") from error


def _unreachable(address: str, error: BaseException) -> InputError:
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    reason = next(iter(str(causes[-1]).strip().splitlines()), type(error).__name__)
    return InputError(
        f"no Ray cluster can be reached at {address!r} ({reason}): start one with 'ray start --head', or "
        "give the address of its head as HOST:PORT, or 'local'"
    )
