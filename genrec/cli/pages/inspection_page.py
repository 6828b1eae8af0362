"""Page of an inspection: HTML without a script, nothing loaded from elsewhere, light and dark.

It is made from the document that ``genrec inspect --json`` prints, and can be read without genrec.
Everything that comes from a catalog is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from genrec.cli.pages.html import html_table, plot_row, require_page, section, tiles_of, whole_page
from genrec.cli.pages.inspection_plots import (
    collision_plot,
    meaning_plot,
    move_plot,
    ratio_text,
    usage_plots,
)
from genrec.common.artifacts import atomic_file

__all__ = ["inspection_page", "require_page", "write_page"]

INTRODUCTION = (
    "A semantic ID is the name under which the language model knows an item: one code a level, made "
    "from what the item is. Items that are alike should share their first codes, and no two items all "
    "of them. This page says how far that holds."
)


def write_page(document: dict[str, Any], name: str, target: Path) -> None:
    """Write the page: whole or not at all; one that stands there is replaced."""
    with atomic_file(target) as path:
        path.write_text(inspection_page(document, name), encoding="utf-8")


def inspection_page(document: dict[str, Any], name: str) -> str:
    """Lay out what `inspect_recommender` collected, under the recommender's `name`."""
    report = document["quality"]
    parts = [
        _head(document, name),
        _collisions(document),
        _usage(report),
        _meaning(report),
        _neighbors(document["neighbors"]),
        _families(document["families"]),
        _churn(document["churn"]),
    ]
    return whole_page(f"{name}: semantic IDs", parts)


def _head(document: dict[str, Any], name: str) -> str:
    report, failures = document["quality"], document["failures"]
    error = report["reconstruction_error"]
    tiles = {
        "items": f"{document['items']:,}",
        "interactions": f"{document['interactions']:,}",
        **_sizes(document["codebook_sizes"]),
        "of the items collide at first": f"{report['before']['share']:.1%}",
        "of the vectors' variance is lost": "-" if error is None else f"{error:.1%}",
    }
    made = (
        f"Item tokenizer {document['item_tokenizer']}, encoder {document['encoder']}, language model "
        f"{document['backbone']}."
    )
    if failures:
        said = "".join(f"<li>{escape(failure)}</li>" for failure in failures)
        verdict = f'<div class="verdict warn">Beyond the quality gate:<ul>{said}</ul></div>'
    else:
        verdict = "<div class=verdict>Quality gate: every bound is met.</div>"
    lead = f"<p class=lead>{INTRODUCTION} {escape(made)}</p>"
    return f"<h1>Semantic IDs of {escape(name)}</h1>{lead}{tiles_of(tiles)}{verdict}"


def _sizes(sizes: Sequence[int]) -> dict[str, str]:
    """Return how many codes there are, under what that says."""
    if len(set(sizes)) == 1 and len(sizes) > 1:
        return {f"codes on each of {len(sizes)} levels": f"{sizes[0]:,}"}
    return {"codes, level by level": " \u00d7 ".join(f"{size:,}" for size in sizes)}


def _collisions(document: dict[str, Any]) -> str:
    report = document["quality"]
    before, after, moves = report["before"], report["after"], report["moves"]
    rows = [
        ["before resolution", f"{before['items']:,}", f"{before['share']:.1%}", before["largest"]],
        ["after resolution", f"{after['items']:,}", f"{after['share']:.1%}", after["largest"]],
    ]
    counts = html_table(["", "items that collide", "of all", "most at once"], rows)
    plots = [collision_plot(before["sizes"])]
    if moves is not None and moves["items"]:
        plots.append(move_plot(list(moves["percentiles"])))
    return section(
        "Collisions",
        "Items to which the item tokenizer gave the same codes. Each needs its own, so all but one of "
        "them get other or longer ones, which say no more of what they are: the fewer, the better.",
        counts,
        "" if moves is None else _moves(moves, document["collision_policy"]),
        plot_row(plots),
        _buckets(report["worst_buckets"]),
    )


def _buckets(worst: Sequence[dict[str, Any]]) -> str:
    if not worst:
        return ""
    rows = [
        [bucket["size"], " ".join(map(str, bucket["codes"])), " · ".join(bucket["titles"])]
        for bucket in worst
    ]
    table = html_table(["items", "codes", "titles"], rows, texts=(2,))
    return f"<details open><summary>Most items with the same codes</summary>{table}</details>"


def _moves(moves: dict[str, Any], policy: str) -> str:
    if not moves["items"]:
        return f"<p>The policy {escape(policy)} changed no item's own codes.</p>"
    last = "all" if moves["last_code_only"] == moves["items"] else f"{moves['last_code_only']:,}"
    return (
        f"<p>The policy {escape(policy)} changed the codes of {moves['items']:,} items, for {last} of "
        "them the last code only. What their new codes stand for is farther from their vectors: by "
        f"{moves['mean']:.3f} of the vectors' variance in the mean, {moves['median']:.3f} in the median, "
        f"{moves['max']:.3f} at most.</p>"
    )


def _usage(report: dict[str, Any]) -> str:
    header = ["level", "codes", "used", "entropy (bits)", "perplexity", "largest / mean"]
    rows = [
        [
            number,
            f"{level['codes']:,}",
            f"{level['used']:,} ({level['used'] / level['codes']:.0%})",
            f"{level['entropy']:.2f}",
            f"{level['perplexity']:.0f}",
            f"{level['balance']:.2f}",
        ]
        for number, level in enumerate(report["levels"])
    ]
    return section(
        "Use of the codes",
        "A code that few items have, or none, is wasted. Perplexity: so many equally frequent codes "
        "would tell as much; at best it equals the number of codes. Largest / mean: items of the most "
        "frequent code over the mean of all codes; 1 is even.",
        html_table(header, rows),
        plot_row(usage_plots(list(report["levels"]))),
    )


def _meaning(report: dict[str, Any]) -> str:
    kinds = {"same category": report["purity"], "next in a history": report["agreement"]}
    rows = [
        [name, e["length"], f"{e['pairs']:,}", *_shares(e)]
        for name, entries in kinds.items()
        for e in entries
        if e["pairs"] and e["chance"]
    ]
    if not rows:
        return ""
    header = ["", "first codes shared", "pairs", "observed", "by chance", "times chance"]
    return section(
        "What a shared prefix means",
        "Do items with the same first codes belong together? Same category: how many pairs of items that "
        "share their first codes are of one category, beside any two items. Next in a history: how many "
        "steps from one item to the next in training histories keep the first codes, beside items drawn "
        "as often as these; vectors that were joined with co-occurrence have seen the same steps.",
        html_table(header, rows),
        plot_row([meaning_plot(list(report["purity"]), list(report["agreement"]))]),
    )


def _shares(entry: dict[str, Any]) -> list[str]:
    return [f"{entry['observed']:.2%}", f"{entry['chance']:.2%}", ratio_text(entry["ratio"])]


def _neighbors(found: dict[str, Any] | None) -> str:
    if found is None or not found["items"]:
        return ""
    return section(
        "Neighbours",
        f"How many of an item's {found['k']} nearest items by vector (cosine) are also among the "
        f"{found['k']} that share the most first codes with it.",
        f"<p><b>{found['overlap']:.1%}</b> of them, {found['chance']:.2%} by chance, over "
        f"{found['items']:,} items.</p>",
    )


def _families(found: Iterable[dict[str, Any]]) -> str:
    cards = []
    for family in found:
        titles = "".join(f"<li><bdi>{escape(title)}</bdi></li>" for title in family["titles"])
        prefix = " ".join(map(str, family["prefix"]))
        head = f"<span>{family['size']:,} items</span>codes <code>{prefix} …</code>"
        cards.append(f"<div class=family>{head}<ul>{titles}</ul></div>")
    if not cards:
        return ""
    return section(
        "Families",
        "Items that share their first codes, families drawn at random: do they look alike? A large family "
        "is drawn as often as its items are met.",
        f"<div class=families>{''.join(cards)}</div>",
    )


def _churn(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    rows = [
        [e["level"], *(_percent(e[name]) for name in ("code", "prefix", "company"))]
        for e in found["levels"]
    ]
    header = ["level", "code changed", "prefix up to here changed", "pairs no longer together"]
    return section(
        "Churn",
        "Against another recommender. Codes are compared by number, without relabelling: an item "
        "tokenizer that was fitted anew numbers its codes anew, and then only the last column says "
        "what changed in meaning.",
        f"<p>{found['common']:,} common items, {found['added']:,} only here, {found['removed']:,} "
        f"only there; <b>{found['changed']:.1%}</b> of the common ones have other codes.</p>",
        html_table(header, rows),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
