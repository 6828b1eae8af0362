"""Tables of measured cells, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.speed.results import Record

__all__ = ["markdown"]

_SEARCH = (
    "cell | users | beams | levels | items | model | search | requests/s | p50 ms | p99 ms | calls "
    "| peak MiB | invalid | overlap | same lists | times as fast | beside the cache | of roofline "
    "| over rows"
)
_ROOFLINE = "cell | step | compute ms | memory ms | least ms | bound by | GEMM GFLOP/s | copy GB/s"
_FILTERS = "cell | items | filter | requests/s | p50 ms | over no filter | invalid | calls"
_INDEX = (
    "cell | catalog | items | codes | build s | peak MiB | added MiB | bytes an item "
    "| constraint ms, by level | request ms"
)
_RATIOS = "cell | constraint, large over small | request, large over small"

_NOTES = """\
*p50*, *p99*: of repeated calls, each answering all users at once; p99 of fewer than 100 calls is their
maximum and marked so. *peak*: most memory of the process (of the device on CUDA) during a call, in brackets
what the call added. *invalid*: entries that are no item, or named twice. *overlap*, *same lists*, *times as
fast*: beside `generate`; overlap counts items, same lists counts users whose items and order agree. *beside
the cache*: times as fast as `generate` that is handed a cache in which each prompt was read once; reading
it counts. *of roofline*: least time by arithmetic and memory traffic (of the prefill alone in its row),
divided by p50; over 100 % where the search needs fewer rows than W for each of L - 1 levels. *over rows*:
p50 divided by prefill · (P + (L - 1) W) / P."""


def markdown(records: Sequence[Record]) -> str:
    """Every table that the records fill, with a legend."""
    kinds: dict[str, list[Record]] = {"search": [], "filters": [], "index": []}
    for record in records:
        kinds[record["kind"]].append(record)
    search, filters, index = kinds.values()
    parts = [
        _table(_SEARCH, [row for record in search for row in _search_rows(record)]),
        _NOTES if search else "",
        _table(_ROOFLINE, [row for record in search for row in _roofline_rows(record)]),
        _table(_FILTERS, [row for record in filters for row in _filter_rows(record)]),
        _table(_INDEX, [row for record in index for row in _index_rows(record)]),
        _table(_RATIOS, [row for record in index for row in _ratio_rows(record)]),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(head: str, rows: Iterable[Sequence[str]]) -> str:
    body = [" | ".join(cells) for cells in rows]
    if not body:
        return ""
    rule = " | ".join(["---"] * len(head.split(" | ")))
    return "\n".join(f"| {line} |" for line in [head, rule, *body])


def _search_rows(record: Record) -> Iterable[list[str]]:
    workload, result = record["settings"]["workload"], record["result"]
    factors = [str(workload[name]) for name in ("users", "beams", "levels")]
    start = [record["names"][0], *factors, f"{workload['items']:,}", workload["model"]]
    if "skipped" in result:
        yield [*start, "all", f"skipped: {result['skipped']}", *[""] * 11]
        return
    for name, found in result["contenders"].items():
        if "skipped" in found:
            yield [*start, name, f"skipped: {found['skipped']}", *[""] * 11]
        else:
            yield [*start, name, *_search_cells(found)]


def _search_cells(found: dict[str, Any]) -> list[str]:
    compared = [
        _share(found.get("overlap")),
        _share(found.get("same_lists")),
        _number(found.get("times_as_fast")),
        _number(found.get("times_as_fast_as_cached")),
        _share(found["fraction_of_roofline"]),
        _number(found.get("over_rows")),
    ]
    return [
        _number(found["requests_per_second"]),
        _number(found["ms_p50"]),
        _tail(found),
        _calls(found),
        _memory(found),
        _share(found["invalid"]),
        *compared,
    ]


def _roofline_rows(record: Record) -> Iterable[list[str]]:
    result = record["result"]
    for step in result.get("roofline", []):
        bound = "arithmetic" if step["compute"] >= step["memory"] else "memory"
        times = [_number(1000 * step[name]) for name in ("compute", "memory", "seconds")]
        rates = [_number(result["rates"][name] / 1e9) for name in ("flops", "bandwidth")]
        yield [record["names"][0], step["name"], *times, bound, *rates]


def _filter_rows(record: Record) -> Iterable[list[str]]:
    items = f"{record['settings']['workload']['items']:,}"
    for name, found in record["result"].get("filters", {}).items():
        speed = [_number(found[key]) for key in ("requests_per_second", "ms_p50", "over_no_filter")]
        yield [record["names"][0], items, name, *speed, _share(found["invalid"]), _calls(found)]


def _index_rows(record: Record) -> Iterable[list[str]]:
    result = record["result"]
    for name, built in result.get("build", {}).items():
        sizes = built["codebook_sizes"]
        facts = [f"{built['items']:,}", f"{len(sizes)} of {sizes[0]}", _number(built["seconds"])]
        facts += [_number(built["peak_mib"]), _number(built["added_mib"])]
        facts += [_number(built["bytes_per_item"])]
        levels = " + ".join(_number(ms) for ms in result["constraint_ms"][name])
        yield [record["names"][0], name, *facts, levels, _number(result["request"][name]["ms_p50"])]


def _ratio_rows(record: Record) -> Iterable[list[str]]:
    result = record["result"]
    if "request_ratio" in result:
        ratios = (result["constraint_ratio"], result["request_ratio"])
        yield [record["names"][0], *map(_number, ratios)]


def _tail(found: dict[str, Any]) -> str:
    p99 = found["ms_p99"]
    return _number(p99) if p99 is not None else f"max {_number(found['ms_max'])}"


def _calls(found: dict[str, Any]) -> str:
    return str(found["calls"]) if found["warm"] else f"{found['calls']}, the first"


def _memory(found: dict[str, Any]) -> str:
    if found["peak_mib"] is None:
        return ""
    return f"{found['peak_mib']:,} (+{found['added_mib']:,})"


def _number(value: float | None) -> str:
    """Three significant digits, and no exponent."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.4g} %"
