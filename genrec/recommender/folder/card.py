"""Model card: the `README.md` of a recommender folder, in the form of the Hugging Face hub.

YAML in front for the hub, then Markdown: what the recommender is, what it was made from and how, what was
measured and what was not, what it cost and where it ends. Every figure is one of the folder's own
(`recommender.json`, `metrics.json` and the parts' configurations). No title, id or path is printed, and a
name that somebody gave, such as a file's, stands as code: it can be no markup (after Mitchell et al. 2019,
"Model Cards for Model Reporting", section 4).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from genrec.language_model.pretrained import BASE_MODEL, BaseRecord
from genrec.recommender.folder.card_mixture import fraction, mixture
from genrec.recommender.folder.card_words import (
    LIMITS,
    ONLY_TEST,
    RETRAINED,
    SPLITS,
    UNMEASURED,
    USE,
)
from genrec.recommender.settings import FitSettings

__all__ = ["CARD", "CardFacts", "model_card", "write_card"]

CARD = "README.md"

_MOST_CHARS = 120
_SHOWN = ("recall", "ndcg", "mrr", "coverage", "cold_share")
_TAGS = ("recommendation", "sequential-recommendation", "generative-retrieval", "semantic-ids")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)


@dataclass(frozen=True)
class CardFacts:
    """What is known of a recommender.

    Attributes:
        settings: of the fit.
        provenance: versions, as in the manifest. data: where catalog and log came from, likewise.
        semantic_ids: what `SemanticIds.describe` says.
        metrics: of ``metrics.json``; empty where nothing was trained.
        item_tokenizer: kind of the item tokenizer or indexing.
        architecture: a language model's ``config.json``; None for an adapter.
        base: the model that an adapter belongs to; None where weights are whole.
    """

    settings: FitSettings
    provenance: Mapping[str, str]
    data: Mapping[str, Any]
    semantic_ids: Mapping[str, Any]
    metrics: Mapping[str, Any]
    item_tokenizer: str
    architecture: Mapping[str, Any] | None = None
    base: BaseRecord | None = None

    @classmethod
    def read(cls, folder: Path, content: Mapping[str, Any], settings: FitSettings) -> CardFacts:
        """Gather them from a folder that is complete but for card and manifest; `content` will be that."""
        model = folder / "language_model"
        config = model / "config.json"
        return cls(
            settings,
            content["provenance"],
            content["data"],
            content["semantic_ids"],
            _json(folder / "metrics.json"),
            _json(folder / "item_tokenizer" / "config.json")["kind"],
            _json(config) if config.is_file() else None,
            BaseRecord.load(model) if (model / BASE_MODEL).is_file() else None,
        )


def write_card(folder: Path, content: Mapping[str, Any], settings: FitSettings) -> None:
    """Write the card into a folder that is complete but for it and the manifest.

    Args:
        folder: of the recommender.
        content: what its manifest will say.
        settings: of the fit.
    """
    text = model_card(CardFacts.read(folder, content, settings))
    (folder / CARD).write_text(text, encoding="utf-8")


def model_card(facts: CardFacts) -> str:
    """Return the card's text: the same for the same facts."""
    sections = {
        "Data": _data(facts.data, facts.metrics),
        "How it was made": _making(facts),
        "Validation": _validation(facts),
        "Not measured": [f"- {line}" for line in _unmeasured(facts)],
        "Costs": _costs(facts.metrics),
        "Limits": [f"- {line}" for line in _limits(facts)],
        "Use": [USE],
        "Versions": _versions(facts.provenance),
    }
    parts = [_front_matter(facts), "# A genrec recommender", _summary(facts)]
    parts += ["\n\n".join([f"## {name}", "\n".join(lines)]) for name, lines in sections.items()]
    return "\n\n".join(parts) + "\n"


def code(name: object) -> str:
    """Show a name that somebody gave as a Markdown code span of one line, whatever is in it."""
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in str(name)).strip()
    text = text if len(text) <= _MOST_CHARS else text[: _MOST_CHARS - 1] + "…"
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if "`" in text else ""
    return f"{fence}{space}{text or 'unnamed'}{space}{fence}"


def without_folders(name: str) -> str:
    """Return the last part of a local path; a hub's ``owner/name`` stays as it is."""
    if _HUB_NAME.fullmatch(name):
        return name
    return _last_part(name)


def _last_part(path: str) -> str:
    """Read as a Windows path, which knows both slashes."""
    return PureWindowsPath(path).name or "a local folder"


def _front_matter(facts: CardFacts) -> str:
    import yaml

    front: dict[str, Any] = {"library_name": "genrec", "tags": ["genrec", *_TAGS]}
    base = facts.base
    if base is not None and base.revision is not None and _HUB_NAME.fullmatch(base.name):
        front |= {"base_model": base.name, "base_model_relation": "adapter"}
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---"


def _summary(facts: CardFacts) -> str:
    return (
        f"It recommends the next products to a shopper from the history of products so far, and names only "
        f"the {facts.data['items']['rows']:,} items of its catalog. A language model continues the history "
        "with semantic IDs, short tuples of codes that name one item each, and a search over the catalog's "
        "own prefix tree finds the likeliest."
    )


def _data(data: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    lines = [*_sources(data), *_changes(data.get("changes", ()))]
    if others := metrics.get("together_with"):
        lines.append(f"- Trained together with: {', '.join(code(name) for name in others)}")
    while origin := data.get("transferred_from"):
        lines += ["", "Transferred; language model and item tokenizer come from other data:", ""]
        lines += [*_sources(origin), *_changes(origin.get("changes", ()))]
        data = origin
    return lines


def _sources(data: Mapping[str, Any]) -> list[str]:
    items, log = data["items"], data["interactions"]
    lines = [f"- Items: {items['rows']:,}, {_source(items)}"]
    counts = f"- Interactions: {log['rows']:,} of {log['users']:,} users"
    lines.append(f"{counts}, {_source(log)}" if log["rows"] else "- Interactions: none")
    return lines + [f"- Item vectors: {_source(file)}" for file in data.get("vectors", ())]


def _source(fact: Mapping[str, Any]) -> str:
    return f"from {code(PureWindowsPath(fact['source']).name)}, SHA-256 {code(fact['sha256'])}"


def _changes(changes: Sequence[Mapping[str, int]]) -> list[str]:
    if not changes:
        return []
    counts = {what: sum(c[what] for c in changes) for what in ("added", "removed", "events")}
    return [
        f"- Changes of the catalog since, nothing trained: {len(changes):,}; {counts['added']:,} items "
        f"added, {counts['removed']:,} removed with {counts['events']:,} events of theirs"
    ]


def _making(facts: CardFacts) -> list[str]:
    lines = [
        f"- Vectors: {_vectors(facts.settings)}",
        f"- Semantic IDs: {_semantic_ids(facts)}",
        f"- Language model: {_language_model(facts)}{_pointer(facts)}",
        f"- Training: {_training(facts)}",
        f"- Mixture: {mixture(facts.settings, facts.metrics, facts.data)}",
        f"- Search: {_search(facts.settings)}",
    ]
    if facts.settings.exclude_seen is not None:
        lines.append(f"- Items of the history: {_seen(facts)}")
    return lines + [f"- {words}" for kind, words in RETRAINED.items() if kind in facts.metrics]


def _vectors(settings: FitSettings) -> str:
    encoder, joined = settings.encoder, settings.collaborative
    parts = []
    if encoder.weight:
        size = f" of dimension {encoder.dimension:,}" if encoder.name == "tfidf" else ""
        parts.append(f"text by {code(without_folders(encoder.name))}{size}")
    if encoder.image_column:
        parts.append(f"images by {code(without_folders(encoder.image_model or encoder.name))}")
    if settings.vectors:
        parts.append(f"{len(settings.vectors):,} files of given vectors")
    if joined.weight:
        parts.append(
            f"co-occurrence in training ({code(joined.mode)}, weight {joined.weight:g}, dimension "
            f"{joined.dimension:,})"
        )
    return "; ".join(parts)


def _semantic_ids(facts: CardFacts) -> str:
    ids = facts.semantic_ids
    levels = _counted(len(ids["codebook_sizes"]), "level")
    sizes = " and ".join(f"{size:,}" for size in ids["codebook_sizes"])
    return (
        f"item tokenizer {code(facts.item_tokenizer)}, {levels} of {sizes} codes; "
        f"collisions resolved by {code(ids['policy'])}, which moved {ids['moved']:,} items"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _language_model(facts: CardFacts) -> str:
    settings = facts.settings.language_model
    if (base := facts.base) is not None:
        how = f"LoRA of rank {settings.lora.rank}" if settings.tuning == "lora" else settings.tuning
        if base.revision is None:
            return f"adapter ({how}), which needs its base {code(_last_part(base.name))} (a local model)"
        name, commit = code(without_folders(base.name)), code(base.revision)
        return f"adapter ({how}), which needs its base {name} (commit {commit})"
    config = facts.architecture or {}
    layers = config.get("num_hidden_layers", config.get("n_layer"))
    shape = f", architecture {code(config.get('model_type', 'unknown'))}"
    shape += f", {_counted(layers, 'layer')}" if layers else ""
    if settings.backbone == "compact":
        return f"{code('compact')}, trained from scratch{shape}"
    return f"from {code(without_folders(settings.backbone))}, weights saved whole{shape}"


def _pointer(facts: CardFacts) -> str:
    settings = facts.settings.language_model
    if not settings.pointer:
        return ""
    return f"; its pointer weighs {settings.pointer_weight or 0.0:.2f}, the codes that it writes the rest"


def _training(facts: CardFacts) -> str:
    done, settings = facts.metrics.get("training"), facts.settings
    if done is None:
        return "none on this catalog"
    stopped = "stopped early" if done["stopped_early"] else "to the end"
    tasks = ", ".join(code(name) for name in settings.tasks)
    also = f"; tasks in words: {tasks}" if tasks else ""
    return (
        f"{done['steps']:,} steps, {stopped}; the weights are those of step {done['best_step']:,}; seed "
        f"{settings.seed}{also}"
    )


def _seen(facts: CardFacts) -> str:
    done = "left out of recommendations" if facts.settings.exclude_seen else "recommended again"
    found = facts.metrics.get("repeats", {})
    if not {"left_out", "kept"} <= found.keys():
        return f"{done}, unless a request says otherwise"
    return (
        f"{done}, unless a request says otherwise; {found['share']:.1%} of the validation targets stand in "
        f"their own history, and ndcg@10 was {fraction(found['left_out'])} with seen items left out, "
        f"{fraction(found['kept'])} with them kept"
    )


def _search(settings: FitSettings) -> str:
    beams = settings.search.beams
    widths = [beams] if isinstance(beams, int) else beams
    shown = ", ".join(f"{width:,}" for width in widths)
    return f"{shown} beams, probabilities over the {code(settings.search.normalization)}"


def _validation(facts: CardFacts) -> list[str]:
    found = facts.metrics.get("validation")
    if not found:
        return ["Nothing was measured here: there was no validation case, or no training."]
    lines = [*_protocol(found["protocol"]), "", "| metric | mean | interval |", "|---|---:|---:|"]
    lines += [
        f"| {name} | {fraction(value)} | {_interval(found['confidence'].get(name))} |"
        for name, value in found["metrics"].items()
        if re.fullmatch(rf"({'|'.join(_SHOWN)})@\d+", name)
    ]
    lines += ["", f"Items outside the catalog that were returned: {found['invalid']:,}."]
    if facts.data.get("changes"):
        lines += [
            "",
            f"The catalog had {found['protocol']['items']:,} items when this was measured, and has "
            f"{facts.data['items']['rows']:,} now: what changed since is not measured.",
        ]
    return lines


def _protocol(protocol: Mapping[str, Any]) -> list[str]:
    drawn = protocol["bootstrap"]
    seen = "excluded" if protocol["exclude_seen"] else "allowed"
    return [
        f"Protocol {code(protocol['name'])} (version {protocol['version']}), validation part: "
        f"{protocol['cases']:,} cases of {protocol['users']:,} users, each ranked over all "
        f"{protocol['items']:,} items, items of the history {seen}. Intervals hold "
        f"{100 * drawn['confidence']:g} % of {drawn['samples']:,} bootstrap samples. Hash of the cases: "
        f"{code(protocol['data_hash'])}."
    ]


def _interval(ends: Sequence[float | None] | None) -> str:
    return "" if ends is None else " to ".join(fraction(end) for end in ends)


def _unmeasured(facts: CardFacts) -> Iterable[str]:
    if facts.metrics.get("validation"):
        yield (
            "The test part of the log. The validation cases above also chose the weights that were kept, so "
            "they flatter; `genrec evaluate DIR --baselines` measures the test and simple rivals."
        )
    else:
        yield "How good the recommendations are, on any part of a log."
    yield from UNMEASURED


def _costs(metrics: Mapping[str, Any]) -> list[str]:
    lines = []
    if seconds := metrics.get("seconds"):
        steps = ", ".join(f"{name.replace('_', ' ')} {n:,.1f}" for name, n in seconds.items())
        lines.append(f"- Seconds: {sum(seconds.values()):,.1f} in all ({steps})")
    if speed := metrics.get("throughput"):
        lines.append(
            f"- Training speed: {speed['tokens_per_second']:,.1f} tokens a second, {speed['tokens']:,} tokens"
        )
    if (peak := metrics.get("peak_memory_mib")) is not None:
        lines.append(f"- Peak memory of the process: {peak:,} MiB")
    if count := metrics.get("parameters"):
        lines.append(f"- Parameters: {count['total']:,}, {count['trainable']:,} of them trained")
    return lines or ["None recorded: nothing was trained on this catalog."]


def _limits(facts: CardFacts) -> Iterable[str]:
    if facts.metrics.get("training"):
        split = facts.settings.split
        yield ONLY_TEST if split.hold_out == "test" else SPLITS[split.protocol]
    else:
        yield "It was never trained on this catalog; what it knows of it are its texts."
    if facts.settings.encoder.weight and facts.settings.encoder.name == "tfidf":
        yield "Text vectors know the words of the catalog that they were fitted on, and no others."
    yield from LIMITS


def _versions(provenance: Mapping[str, str]) -> list[str]:
    made = [f"- {name.replace('_', ' ')}: {code(version)}" for name, version in provenance.items()]
    return [
        "Of what last wrote this folder:",
        "",
        *made,
        "",
        "`recommender.json` holds the hash of this file too, so a changed one is refused: put words of your "
        "own in a file beside it.",
    ]


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
