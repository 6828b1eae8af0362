"""Server: opens the recommender, listens, reloads on SIGHUP, drains when it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import signal
import socket
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genrec.common.errors import InputError, MissingExtraError
from genrec.serving.logs import log_as_json
from genrec.serving.settings import ServeSettings
from genrec.serving.tokens import Tokens

if TYPE_CHECKING:
    import uvicorn

    from genrec.recommender.fitted_recommender import FittedRecommender
    from genrec.serving.snapshots import Shelf

__all__ = ["require_extra", "serve"]

log = logging.getLogger(__name__)


def require_extra() -> None:
    """Refuse to go on without what the server needs.

    Raises:
        MissingExtraError: with the command that installs it.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "fastapi", "serve", "genrec serve") from None


def serve(
    folder: Path,
    settings: ServeSettings,
    tokens: Tokens,
    **opening: Any,
) -> None:
    """Serve a recommender folder until the process is told to stop.

    SIGTERM and SIGINT stop it: no new connection is taken, requests in flight get `settings.drain` seconds.
    SIGHUP opens the folder anew.

    Args:
        folder: the recommender.
        settings: where, and how much.
        tokens: who may ask.
        opening: options of `open_folder`, which are those of `GenerativeRecommender.from_pretrained`.

    Raises:
        InputError: the folder cannot be opened, or the address not be listened on.
    """
    require_extra()
    from genrec.serving.snapshots import Shelf

    def reopen() -> FittedRecommender:
        from genrec.recommender.fitted_recommender import FittedRecommender
        from genrec.recommender.folder.whole import open_folder

        return open_folder(FittedRecommender, folder, **opening)

    # Bound first: an address that is taken shows before minutes of loading.
    with closing(_listen(settings)) as listening:
        log_as_json()
        start = time.monotonic()
        shelf = Shelf.open(reopen, folder)
        shelf.settled = _spare_the_collector
        shelf.settled()
        host, port = listening.getsockname()[:2]
        facts = {"host": host, "port": port, "tokens": bool(tokens)} | shelf.current.facts()
        seconds = round(time.monotonic() - start, 3)
        log.info("ready", extra={"facts": facts | {"seconds": seconds}})
        # uvicorn raises the signal that stopped it once more when all is done.
        before = {s: signal.signal(s, _ignore) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            asyncio.run(_run(_server(shelf, settings, tokens), shelf, listening))
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
    log.info("stopped")


def _server(shelf: Shelf, settings: ServeSettings, tokens: Tokens) -> uvicorn.Server:
    import uvicorn

    from genrec.serving.app import create_app

    return uvicorn.Server(
        uvicorn.Config(
            create_app(shelf, settings, tokens),
            log_config=None,
            access_log=False,  # it would hold ids and words
            server_header=False,
            ws="none",
            timeout_graceful_shutdown=math.ceil(settings.drain),
        )
    )


async def _run(server: uvicorn.Server, shelf: Shelf, listening: socket.socket) -> None:
    reloads: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = asyncio.ensure_future(shelf.try_reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    with suppress(NotImplementedError, AttributeError):  # Windows has no SIGHUP
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
    await server.serve(sockets=[listening])


def _listen(settings: ServeSettings) -> socket.socket:
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((host, port), family=family, backlog=2048)
        # Inherited by every connection. Without it an answer's body waits 40 ms for the client's
        # acknowledgement of its head: asyncio sets it only on sockets that name their protocol.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise InputError(
            f"--host {host} --port {port} cannot be listened on: {error.strerror or error}"
        ) from None


def _spare_the_collector() -> None:
    """Tell Python's garbage collector that what is loaded now will stay.

    Looking through a recommender and its libraries takes it a quarter of a second, in which every request
    waits: one in a hundred under load. What an earlier call kept and nobody needs any more goes first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _ignore(*_: object) -> None:
    """Do nothing about a signal that uvicorn has seen already."""
