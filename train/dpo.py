"""Teach a recommender to prefer what was chosen to what its own search expected (DPO on its own beams).

    python train/sft.py train/sft_beauty.yaml
    python train/dpo.py train/dpo_beauty.yaml [preferring.preference.beta=0.5 …]

The language model of the folder is trained further on the training part of its log; the result is a folder of
its own. Prints validation before and after: keep what is better. A run that was interrupted goes on where it
stood when the same command is given again.
"""

import json
from pathlib import Path
from typing import Any

from genrec import GenerativeRecommender
from genrec.common.artifacts import atomic_file, require_file
from genrec.common.config import Settings
from genrec.common.program import is_main
from genrec.common.recipe import run_recipe
from genrec.evaluation import paired_differences
from genrec.fitting.prefer import PreferringSettings, prefer, preferred_before
from genrec.recommender.measure import judge_of


class Config(Settings):
    """Which recommender, which choices, and where to."""

    recommender: Path
    """Folder of the recommender to begin with."""
    preferring: PreferringSettings = PreferringSettings()
    """Which choices are learned from, and how."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` …"""
    folder: Path
    """Recommender folder to make."""
    out: Path
    """JSON document: validation before and after, and the paired differences."""
    overwrite: bool = False
    """Whether a recommender in `folder` is replaced."""
    restart: bool = False
    """Whether an unfinished run is discarded instead of continued."""


def main(config: Config) -> None:
    """Measure, train, measure again, write and print."""
    require_file(config.out)
    model = GenerativeRecommender.from_pretrained(
        config.recommender, device=config.device, merged=True
    )
    judge, folder = judge_of(model, "valid"), config.folder
    made = not config.overwrite and preferred_before(model, config.preferring, folder)
    # The language model's own share: its memory is the same before and after.
    [before] = judge.measure([model.alone()])
    if made:
        tuned = GenerativeRecommender.from_pretrained(folder, device=config.device)
    else:
        options = {"overwrite": config.overwrite, "restart": config.restart}
        tuned = prefer(model, config.preferring, folder, **options)
    if not is_main():
        return
    [after, whole] = judge.measure([tuned.alone(), tuned])
    found = {name: gap.to_json() for name, gap in paired_differences(after, before).items()}
    results = {"before": before, "after": after, "after, with memory": whole}
    document = {name: result.to_json() for name, result in results.items()} | {"differences": found}
    with atomic_file(config.out) as path:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(table({name: result.metrics for name, result in results.items()}, found))


def table(metrics: dict[str, dict[str, float]], found: dict[str, Any]) -> str:
    """Validation metrics as a Markdown table, and how sure the difference is."""
    names = ("recall@10", "ndcg@10")
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for name, row in metrics.items():
        lines.append(f"| {name} | " + " | ".join(f"{row[metric]:.4f}" for metric in names) + " |")
    gap = found["ndcg@10"]
    ends = f"{gap['low']:+.4f} to {gap['high']:+.4f}"
    return "\n".join([*lines, "", f"ndcg@10 {gap['value']:+.4f} ({ends}), p = {gap['p']:.3f}"])


if __name__ == "__main__":
    run_recipe(main, Config)
