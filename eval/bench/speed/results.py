"""Results: measured cells as one JSON file, written anew after every cell; a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import genrec
from bench.speed.machine import facts
from bench.speed.plan import Cell, SpeedPlan
from genrec.common.artifacts import atomic_file, provenance
from genrec.common.errors import InputError

__all__ = ["Record", "Results"]

Record = dict[str, Any]
"""A measured cell as plain values: names, kind, settings, machine, provenance, and `result`."""

_TIMED = ("decoding", "language_model")
_TIMING = (
    "contenders",
    "filtering",
    "indexing",
    "machine",
    "race",
    "roofline",
    "searching",
    "workload",
)
_MACHINE_IDENTITY = ("processor", "cores", "threads", "accelerator")


class Results:
    """What has been measured, in `path`.

    Args:
        path: the JSON document; read if it is there.
        plan: what is measured.
        overwrite: measure again what is there already.

    Raises:
        InputError: the file is there, and is no such document.
    """

    def __init__(self, path: Path, plan: SpeedPlan, *, overwrite: bool = False) -> None:
        self.path, self.plan, self.overwrite = path, plan, overwrite
        self.code = code_fingerprint()
        self.records = _read(path) if path.exists() else []

    def measure(self, cell: Cell) -> bool:
        """Measure a cell and write the file, unless the same was measured before; say whether it was.

        The same are settings, versions, the code that is timed, and the machine with its threads.
        """
        record = self._blank(cell)
        known = None if self.overwrite else self._find(record)
        if known is None:
            record["result"] = self.plan.measure(cell)
        else:
            record = known | {"names": record["names"]}
        self._put(record)
        self._write()
        return known is None

    def stale(self) -> list[str]:
        """Cells in the file that were measured with other code."""
        return [record["names"][0] for record in self.records if record["code"] != self.code]

    def _blank(self, cell: Cell) -> Record:
        plan = self.plan
        settings: dict[str, Any] = {
            "workload": cell.workload.model_dump(mode="json"),
            "shape": cell.shape.model_dump(mode="json"),
            "timing": plan.timing.model_dump(mode="json"),
            "device": plan.where(),
        }
        if cell.kind == "index":
            settings["small_items"] = plan.reference.items
        if cell.kind == "filters":
            settings["filter_load"] = plan.filter_load.model_dump(mode="json")
        return {
            "names": list(cell.names),
            "kind": cell.kind,
            "settings": settings,
            "code": self.code,
            "machine": facts(plan.where()),
            "provenance": provenance(),
        }

    def _find(self, record: Record) -> Record | None:
        identity = _identity(record)
        return next((known for known in self.records if _identity(known) == identity), None)

    def _put(self, record: Record) -> None:
        """Take the place of the records with any of the same names, or the last place."""
        same = [bool(set(known["names"]) & set(record["names"])) for known in self.records]
        place = same.index(True) if True in same else len(same)
        kept = [known for known, gone in zip(self.records, same, strict=True) if not gone]
        self.records = [*kept[:place], record, *kept[place:]]

    def _write(self) -> None:
        document = {"cells": self.records}
        with atomic_file(self.path) as path:
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def code_fingerprint() -> str:
    """Short SHA-256 of the source files whose speed is measured, and of those that measure it."""
    root = Path(genrec.__file__).parent
    files = [path for folder in _TIMED for path in sorted((root / folder).glob("*.py"))]
    files += [Path(__file__).with_name(f"{name}.py") for name in _TIMING]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _identity(record: Record) -> dict[str, Any]:
    versions = {k: v for k, v in record["provenance"].items() if k != "git_commit"}
    machine = {name: record["machine"][name] for name in _MACHINE_IDENTITY}
    kept = {name: record[name] for name in ("kind", "settings", "code")}
    return kept | {"versions": versions, "machine": machine}


def _read(path: Path) -> list[Record]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        records: list[Record] = document["cells"]
        for record in records:
            _ = _identity(record), record["names"], record["result"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{path} is there, but holds no measured cells: move it, or choose another 'out'"
        ) from None
    return records
