"""The work folder of a fit: whose it is, so that only the same fit goes on in it."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

from genrec.artifacts import genrec_version
from genrec.config import Settings
from genrec.data.catalog import Catalog
from genrec.data.interactions import Interactions
from genrec.errors import InputError

__all__ = ["claim", "data_facts", "discard"]

log = logging.getLogger(__name__)
_MARKER = "fit.json"


def discard(work: Path) -> None:
    """Remove the work folder of an unfinished fit, if `work` is one; anything else stays."""
    if (work / _MARKER).is_file():
        shutil.rmtree(work)


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


def claim(work: Path, data: dict[str, Any], settings: Settings) -> None:
    """Mark `work` as belonging to this data and these settings, or refuse another fit's folder."""
    facts = {"genrec": genrec_version(), "data": data, "settings": settings.model_dump(mode="json")}
    marker, content = work / _MARKER, json.dumps(facts, indent=2) + "\n"
    if marker.is_file() and marker.read_text(encoding="utf-8") == content:
        log.info("continuing the fit in %s", work)
        return
    if work.exists() and not work.is_dir():
        raise InputError(f"{work} is in the way of the fit's work folder: move it")
    others = [path for path in work.iterdir() if path != marker] if work.exists() else []
    if others and marker.is_file():
        raise InputError(
            f"{work} holds an unfinished fit with other data or settings: run that one again to finish "
            "it, choose another --out, or pass --restart to discard it"
        )
    if others:
        raise InputError(f"{work} is not empty and not a fit's work folder: move it")
    try:
        work.mkdir(parents=True, exist_ok=True)
        marker.write_text(content, encoding="utf-8")
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise InputError(f"{work} cannot be written: {error.strerror}") from None
