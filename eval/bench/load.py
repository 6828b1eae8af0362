"""Load on a served recommender: clients on this machine that ask as fast as they are answered.

Every client keeps one connection and sends its next request when it has the answer to the last. The server is
a process of its own, as `genrec serve` starts it. Client and server share the machine's cores, so what is
measured is less than what the server alone could do.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genrec.common.errors import GenrecError

__all__ = ["Answers", "Served", "ask", "drive", "memory_of", "post", "request", "served"]

_COMMAND = "import sys; from genrec.cli import main; main(sys.argv[1:])"


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        port: on the loopback address. process: its own.
    """

    port: int
    process: subprocess.Popen[str]


@dataclass(frozen=True)
class Answers:
    """What the clients got.

    Attributes:
        seconds: that they asked.
        statuses: how often each HTTP status came; 0 stands for a connection that broke.
        milliseconds: of every request that was answered with 200.
    """

    seconds: float
    statuses: Counter[int]
    milliseconds: tuple[float, ...]

    def __add__(self, other: Answers) -> Answers:
        return Answers(
            self.seconds + other.seconds,
            self.statuses + other.statuses,
            self.milliseconds + other.milliseconds,
        )

    def facts(self) -> dict[str, Any]:
        """Requests answered with 200 a second, their latency, and how often each status came."""
        times = self.milliseconds
        p50, p99 = np.percentile(times, [50, 99]).tolist() if times else (None, None)
        return {
            "requests_per_second": self.statuses[200] / self.seconds,
            "p50_ms": p50,
            "p99_ms": p99,
            "statuses": dict(sorted(self.statuses.items())),
        }


@contextmanager
def served(folder: Path, *options: str, token: str | None = None) -> Iterator[Served]:
    """Run `genrec serve` on a free loopback port until the block ends.

    Args:
        folder: the recommender.
        options: of the command, such as ``--max-batch 1``.
        token: that every request must name, and that allows changes; None for none.

    Raises:
        GenrecError: it ends before it is ready; with what it said.
    """
    environment = {k: v for k, v in os.environ.items() if k != "GENREC_TOKENS"}
    environment |= {} if token is None else {"GENREC_TOKENS": token}
    words = [sys.executable, "-c", _COMMAND, "serve", str(folder), "--port", "0", *options]
    with subprocess.Popen(  # noqa: S603 our own command
        words, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            port = _port(process)
            threading.Thread(target=_read_on, args=(process,), daemon=True).start()
            yield Served(port, process)
        finally:
            process.terminate()
            process.wait()


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if '"event": "ready"' in line:
            return int(json.loads(line)["port"])
    raise GenrecError(f"the server did not start: {''.join(said).strip()}")


def _read_on(process: subprocess.Popen[str]) -> None:
    """Keep the log's pipe from filling up."""
    assert process.stderr is not None
    for _ in process.stderr:
        pass


def post(path: str, document: Any) -> bytes:
    """A request with a body, as bytes."""
    return request("POST", path, document)


def request(method: str, path: str, document: Any = None, token: str | None = None) -> bytes:
    """A request as bytes; without a document it has no body."""
    body = b"" if document is None else json.dumps(document).encode()
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    head += [] if document is None else ["Content-Type: application/json"]
    head += [] if token is None else [f"Authorization: Bearer {token}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def drive(
    server: Served,
    requests: Sequence[bytes],
    *,
    clients: int,
    seconds: float | None = None,
    count: int | None = None,
    look: Callable[[bytes], None] = lambda body: None,
) -> Answers:
    """Ask for some seconds, or a number of times.

    Args:
        server: what is asked.
        requests: taken in turn, again and again.
        clients: that ask at once.
        seconds: after which no new request is sent.
        count: of requests, in place of `seconds`.
        look: called with the body of every answer of status 200.
    """
    return asyncio.run(_drive(server.port, requests, clients, seconds, count, look))


def ask(server: Served, request: bytes) -> tuple[int, Any]:
    """Send one request: the status, and the JSON document of the answer."""
    status, body = asyncio.run(_once(server.port, request))
    return status, json.loads(body)


def memory_of(server: Served) -> int:
    """Resident memory of a server, in bytes."""
    request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    lines = asyncio.run(_once(server.port, request))[1].decode().splitlines()
    [line] = [line for line in lines if line.startswith("process_resident_memory_bytes ")]
    return int(float(line.split()[1]))


async def _drive(
    port: int,
    requests: Sequence[bytes],
    clients: int,
    seconds: float | None,
    count: int | None,
    look: Callable[[bytes], None],
) -> Answers:
    start, left = time.monotonic(), count
    statuses: Counter[int] = Counter()
    milliseconds: list[float] = []
    numbers = iter(range(sys.maxsize))

    def is_over() -> bool:
        nonlocal left
        if left is not None:
            left -= 1
            return left < 0
        return time.monotonic() - start >= (seconds or 0)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while not is_over():
                sent = time.monotonic()
                status, body = await _exchange(
                    reader, writer, requests[next(numbers) % len(requests)]
                )
                statuses[status] += 1
                if status == 200:
                    milliseconds.append(1000 * (time.monotonic() - sent))
                    look(body)
        except (OSError, asyncio.IncompleteReadError):
            statuses[0] += 1
        finally:
            writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return Answers(time.monotonic() - start, statuses, tuple(milliseconds))


async def _once(port: int, request: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return await _exchange(reader, writer, request)
    finally:
        writer.close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes]:
    """Send a request and read its answer: status and body, whose length the server states."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    [length] = [
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)
