"""Settings of a server: where it listens, how requests are gathered, and what is too much."""

from __future__ import annotations

from pydantic import Field

from genrec.common.config import Settings

__all__ = ["ServeSettings"]


class ServeSettings(Settings):
    """Where the server listens, and its bounds."""

    host: str = "127.0.0.1"
    """Address to listen on; any but a loopback one needs tokens."""
    port: int = Field(8000, ge=0, le=65535)
    """Port; 0 takes a free one, which the log names."""
    max_batch: int = Field(16, ge=1)
    """Histories that are searched together; 1 searches each request by itself. More makes no history cheaper
    on a processor, and while some are searched the requests of others are read and answered; a GPU may want
    more."""
    max_wait_ms: float = Field(2.0, ge=0, le=1000, allow_inf_nan=False)
    """Longest time that a request waits for others to join its search, in milliseconds."""
    queue: int = Field(1024, ge=1)
    """Histories that may be unanswered at once, one with reasons counted as four; what comes beyond is told
    to come back later (429)."""
    timeout: float = Field(10.0, gt=0, allow_inf_nan=False)
    """Seconds within which a search must be answered, and a request's body received."""
    max_body: int = Field(1 << 20, ge=1)
    """Largest body of a request, in bytes."""
    drain: float = Field(30.0, gt=0, allow_inf_nan=False)
    """Seconds that requests in flight get to finish when the server is stopped."""
    watch: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Seconds between two looks at whether the recommender folder was replaced; None does not look."""
