"""``genrec serve``: a recommender over HTTP."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from genrec.cli.options import Device, Dtype, Folder, OnceCommand

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode="rich")

_EXAMPLES = (
    "[bold]Examples[/]\n\n"
    "genrec serve runs/shop\n\n"
    "GENREC_TOKENS=long-secret,other-secret genrec serve runs/shop --host 0.0.0.0 --port 80\n\n"
    "curl localhost:8000/recommend -H 'Content-Type: application/json' "
    """-d '{"history": ["B004756YJA"], "k": 5}'\n\n"""
    "kill -HUP PID   opens the folder anew; requests in flight finish on the old recommender"
)


@commands.command(cls=OnceCommand, epilog=_EXAMPLES)
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    max_batch: Annotated[
        int, typer.Option(min=1, help="Histories searched together; 1: each request by itself.")
    ] = 16,
    max_wait_ms: Annotated[
        float, typer.Option(min=0, max=1000, help="How long a request waits for others, in ms.")
    ] = 2.0,
    queue: Annotated[
        int, typer.Option(min=1, help="Histories that may wait; beyond, requests get 429.")
    ] = 1024,
    timeout: Annotated[float, typer.Option(help="Seconds until a request gets 504.")] = 10.0,
    max_body: Annotated[int, typer.Option(min=1, help="Largest body, in bytes.")] = 1 << 20,
    drain: Annotated[float, typer.Option(help="Seconds to finish requests when stopped.")] = 30.0,
    watch: Annotated[
        float | None, typer.Option(help="Look every so many seconds whether DIR was replaced.")
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let everybody ask, also from other machines.")
    ] = False,
    device: Device = "auto",
    dtype: Dtype = None,
) -> None:
    """Serve over HTTP: a page at /, and /recommend, /titles, /search, /items, /tree, /health, /metrics.

    Concurrent requests share searches. The environment variable GENREC_TOKENS holds the tokens, separated by
    commas, one of which every request but / and /health then needs; changing anything always needs one. The
    OpenAPI document is at /openapi.json, the log is JSON lines on stderr. Needs the extra serve.
    """
    from genrec.common.config import validate
    from genrec.serving import server
    from genrec.serving.settings import ServeSettings
    from genrec.serving.tokens import Tokens, check_address

    given = {"host": host, "port": port, "max_batch": max_batch, "max_wait_ms": max_wait_ms}
    given |= {"queue": queue, "timeout": timeout, "max_body": max_body, "drain": drain}
    settings = validate(ServeSettings, given | {"watch": watch}, source="options")
    tokens = Tokens.from_environment(os.environ)
    check_address(host, tokens, no_auth=no_auth)
    server.require_extra()
    server.serve(folder, settings, tokens, device=device, dtype=dtype, merged=True)
