"""Log of the server: one JSON object a line on standard error, and nothing about users in it.

Bodies, queries and paths are never logged. Of an error the log has its type and where it happened, not its
message, which may quote what a user sent.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["JsonLines", "log_as_json"]


class JsonLines(logging.Formatter):
    """Formats records as JSON; what stands under ``facts`` in a record's extra becomes fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[0] is not None:
            frames = traceback.extract_tb(record.exc_info[2])
            line["error"] = record.exc_info[0].__name__
            line["at"] = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in frames]
        return json.dumps(line, ensure_ascii=False)


def log_as_json() -> None:
    """Send the log of this process to standard error in this form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    level = logging.getLogger("genrec").level
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("genrec").setLevel(level)
    logging.captureWarnings(True)
