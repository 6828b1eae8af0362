"""Facts of data: where catalog and log came from, their sizes and hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from genrec.data.catalog import Catalog
from genrec.data.interactions import Interactions

__all__ = ["data_facts"]


def data_facts(catalog: Catalog, interactions: Interactions) -> dict[str, Any]:
    """Where the data came from and what it was, so that results can be traced to it."""
    items = hashlib.sha256()
    for row in catalog.table.to_pylist():
        items.update(json.dumps(row, default=str).encode())
    times, unit = interactions.timestamps, interactions.timestamp_unit
    events = hashlib.sha256(str(unit).encode())
    for array in (interactions.histories.items, interactions.histories.offsets, times):
        events.update(b"" if array is None else array.tobytes())
    return {
        "items": {
            "source": Path(catalog.report.source).name,
            "rows": len(catalog),
            "sha256": items.hexdigest(),
        },
        "interactions": {
            "source": Path(interactions.report.source).name,
            "rows": len(interactions),
            "users": len(interactions.histories),
            "sha256": events.hexdigest(),
        },
    }
