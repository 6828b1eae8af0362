"""Page of an evaluation: HTML without a script, nothing loaded from elsewhere, light and dark.

It is made from the document of `genrec.cli.pages.evaluation_document.report_document`. Everything that comes
from a catalog or from a folder's name is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from genrec.cli.pages.evaluation_plots import (
    calibration_plot,
    loss_plot,
    recall_plot,
    validation_plot,
)
from genrec.cli.pages.html import html_table, plot_row, section, tiles_of, whole_page
from genrec.common.artifacts import atomic_file

__all__ = ["evaluation_page", "write_page"]

SLICES = {
    "head": "target among the most popular fifth of the catalog",
    "tail": "target among the other four fifths",
    "short_history": "history of up to 5 items",
    "long_history": "history of 6 items or more",
    "cold_item": "target without a training event",
    "cold_user": "user without a training event",
    "same_time": "target of the same timestamp as the event before it",
}
LISTS = {
    "coverage": "share of the catalog that anyone is shown",
    "gini": "how unevenly these places are shared: 0 evenly, 1 by one item",
    "novelty": "surprise of a shown item, in bits, by its training events",
    "cold_share": "share of a list's entries that are items without a training event",
    "category_diversity": "share of a list's pairs of items that are of different categories",
    "vector_diversity": "mean of 1 - cosine over a list's pairs of items",
}
SHOWN_HISTORY = 12


def write_page(document: dict[str, Any], target: Path) -> None:
    """Write the page: whole or not at all; one that stands there is replaced."""
    with atomic_file(target) as path:
        path.write_text(evaluation_page(document), encoding="utf-8")


def evaluation_page(document: dict[str, Any]) -> str:
    """Lay out what `genrec.cli.pages.evaluation_document.report_document` collected."""
    results = document["results"]
    parts = [
        _head(document["name"], results[0]),
        _results(results),
        _differences(results[0], document["differences"]),
        _components(results[0], document["components"]),
        _slices(results),
        _curves(document),
        _lists(results),
        _training(document["fit"]),
        _examples(document["examples"], document["hit_share"]),
        _cost(results, document["fit"]),
    ]
    return whole_page(f"{document['name']}: evaluation", parts)


def _head(name: str, mine: dict[str, Any]) -> str:
    protocol, metrics = mine["protocol"], mine["metrics"]
    k = max(protocol["ks"])
    tiles = {
        f"recall@{k}": f"{metrics[f'recall@{k}']:.4f}",
        f"ndcg@{k}": f"{metrics[f'ndcg@{k}']:.4f}",
        "users": f"{protocol['users']:,}",
        "items ranked": f"{protocol['items']:,}",
        "entries that should not be there": f"{mine['invalid']:,}",
    }
    seen = "left out" if protocol["exclude_seen"] else "kept"
    lead = (
        f"Protocol {protocol['name']}, {protocol['split']} cases, items of the history {seen}. Every user "
        "counts, the whole catalog is ranked, and a target among items of equal score counts its mean over "
        f"their orders. Protocol version {protocol['version']}, data {protocol['data_hash']}."
    )
    title = f"<h1>Evaluation of {escape(name)}</h1>"
    return f"{title}<p class=lead>{escape(lead)}</p>{tiles_of(tiles)}"


def _results(results: Sequence[dict[str, Any]]) -> str:
    ks = results[0]["protocol"]["ks"]
    names, last = [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in ks], f"mrr@{max(ks)}"
    rows = [
        [r["name"], *(_with_ends(r, name) for name in names), f"{r['metrics'][last]:.4f}"]
        for r in results
    ]
    level = 100 * results[0]["protocol"]["bootstrap"]["confidence"]
    return _section(
        "Results",
        f"With {level:g} % intervals by bootstrap over users. One item is the target, so hit equals recall, "
        "and map equals mrr.",
        html_table(["recommender", *names, last], rows),
    )


def _with_ends(part: dict[str, Any], name: str) -> str:
    low, high = part["confidence"][name]
    return f"{part['metrics'][name]:.4f} ({low:.4f} to {high:.4f})"


def _differences(mine: dict[str, Any], differences: dict[str, dict[str, Any]]) -> str:
    if not differences:
        return ""
    k = max(mine["protocol"]["ks"])
    names = (f"recall@{k}", f"ndcg@{k}")
    rows = [
        [other, name, f"{d['value']:+.4f}", f"{d['low']:+.4f} to {d['high']:+.4f}", f"{d['p']:.4f}"]
        for other, found in differences.items()
        for name in names
        for d in [found[name]]
    ]
    return _section(
        "Better, or lucky?",
        f"{mine['name']} less each of the others, user by user. p: how often chance alone makes a "
        "difference at least so large (randomization test); several tests at once ask for smaller ones.",
        html_table(["less", "metric", "difference", "interval", "p"], rows),
    )


def _components(mine: dict[str, Any], parts: Sequence[dict[str, Any]]) -> str:
    if not parts:
        return ""
    k = max(mine["protocol"]["ks"])
    names, measured = list(parts[0]["weights"]), (f"recall@{k}", f"ndcg@{k}")
    rows = [
        [
            part["name"],
            *(_with_ends(part, name) for name in measured),
            _lost((part["differences"] or {}).get(f"ndcg@{k}")),
            *(f"{part['weights'][name]:.3f}" if name in part["weights"] else "" for name in names),
        ]
        for part in parts
    ]
    return _section(
        "What each part brings",
        "Parts of the mixture alone, and the whole without each of them; the last columns are weights. Where "
        "a part is left out, the others' weights are chosen anew on validation. Lost: the whole less it.",
        html_table(["parts", *measured, f"ndcg@{k} lost", *names], rows),
    )


def _lost(found: dict[str, float] | None) -> str:
    if found is None:
        return ""
    return f"{found['value']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"


def _slices(results: Sequence[dict[str, Any]]) -> str:
    mine, *others = results
    name = f"recall@{max(mine['protocol']['ks'])}"
    rows = [
        [
            SLICES.get(part, part),
            f"{found['cases']:,}",
            _with_ends(found, name),
            *(f"{r['slices'][part]['metrics'][name]:.4f}" for r in others),
        ]
        for part, found in mine["slices"].items()
        if found["cases"]
    ]
    if not rows:
        return ""
    header = ["", "cases", *(r["name"] for r in results)]
    lead = f"{name} of the cases of one kind. A kind that no case is of is left out."
    return _section("By kind of case", lead, html_table(header, rows))


def _curves(document: dict[str, Any]) -> str:
    drawn = [recall_plot(document["recall"])]
    lead = "Recall over the length of the list."
    if document["calibration"] is not None:
        drawn.append(calibration_plot(document["calibration"]))
        error = document["results"][0]["metrics"]["ece"]
        lead += (
            " On the right, what the first item was given as a probability, and how often it came next, in "
            f"ten bins of equal width; dots grow with cases. Expected calibration error {error:.4f}."
        )
    return _section("Recall at k", lead, plot_row(drawn))


def _lists(results: Sequence[dict[str, Any]]) -> str:
    k = max(results[0]["protocol"]["ks"])
    names = [name for name in LISTS if f"{name}@{k}" in results[0]["metrics"]]
    rows = [
        [
            r["name"],
            *(f"{r['metrics'][f'{name}@{k}']:.3f}" for name in names),
            *(f"{r['rates'][kind]:.2%}" for kind in ("invalid", "duplicates", "seen")),
        ]
        for r in results
    ]
    said = "; ".join(f"{name.replace('_', ' ')}: {LISTS[name]}" for name in names)
    header = ["recommender", *(f"{name.replace('_', ' ')}@{k}" for name in names)]
    header += ["no item", "twice", "seen"]
    lead = f"{said[:1].upper()}{said[1:]}. The last three: entries that should not be there."
    return _section("What is shown", lead, html_table(header, rows))


def _training(fit: dict[str, Any]) -> str:
    curve = (fit.get("training") or {}).get("curve") or []
    if not curve:
        return ""
    drawn = [loss_plot(curve)]
    metric = next((name for name in ("ndcg@10", "recall@10") if name in curve[0]), None)
    if metric is not None:
        drawn.append(validation_plot(curve, metric))
    best = fit["training"].get("best_step")
    lead = "Each dot is a validation." + (
        f" The weights of step {best:,} were kept." if best else ""
    )
    return _section("Training", lead, plot_row(drawn))


def _examples(examples: Sequence[dict[str, Any]], share: float) -> str:
    if not examples:
        return ""
    cards = "".join(_example(number, example) for number, example in enumerate(examples, start=1))
    return _section(
        "Users",
        "Drawn at random, half of them from the cases where the target is in the list as far as there are "
        f"so many; of all cases, {share:.1%} are of this kind. The target is marked.",
        f"<div class=families>{cards}</div>",
    )


def _example(number: int, example: dict[str, Any]) -> str:
    history = example["history"]
    earlier = len(history) - SHOWN_HISTORY
    before = f"<li>… {earlier:,} earlier</li>" if earlier > 0 else ""
    items = before + "".join(f"<li>{_text(title)}</li>" for title in history[-SHOWN_HISTORY:])
    found = "".join(
        f"<li><b>{_text(title)}</b> ✔</li>" if hit else f"<li>{_text(title)}</li>"
        for title, hit in example["recommended"]
    )
    place = example["place"]
    said = "not in the list" if place is None else f"at place {place}"
    return (
        f"<div class=family><b>User {number}</b><p>History</p><ul>{items}</ul><p>Came next, {said}: "
        f"<b>{_text(example['target'])}</b></p><p>Recommended</p><ol>{found}</ol></div>"
    )


def _cost(results: Sequence[dict[str, Any]], fit: dict[str, Any]) -> str:
    rows = [
        [f"ranking by {r['name']}, all cases", f"{r['seconds']:.1f} s", _speed(r)] for r in results
    ]
    steps = {name.replace("_", " "): spent for name, spent in fit.get("seconds", {}).items()}
    rows += [[f"fit: {name}", f"{spent:.1f} s", ""] for name, spent in steps.items()]
    memory, parameters = fit.get("peak_memory_mib"), fit.get("parameters")
    if memory is not None:
        rows.append(["fit: peak memory", f"{memory:,} MiB", ""])
    if parameters is not None:
        trained = f"{parameters['trainable']:,} trained"
        rows.append(["language model: parameters", f"{parameters['total']:,}", trained])
    return _section(
        "Cost", "What it took on the machine it was measured on.", html_table(["", "", ""], rows)
    )


def _speed(result: dict[str, Any]) -> str:
    cases, seconds = result["protocol"]["cases"], result["seconds"]
    return f"{cases / seconds:,.0f} cases a second" if seconds else ""


def _text(title: str) -> str:
    return f"<bdi>{escape(title)}</bdi>"


def _section(title: str, lead: str, *parts: str) -> str:
    """A section whose words may hold names from outside."""
    return section(escape(title), escape(lead), *parts)
