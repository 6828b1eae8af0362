"""Make a recommender smaller and faster: fewer layers, distilled from the whole (SLMRec, Xu et al. 2024).

    python train/sft.py train/sft_beauty.yaml
    python train/distill.py train/distill_beauty.yaml [layers=[1] student.distillation.weight=0.9 …]

Each number in `layers` gives a recommender folder below `folder`, and a row beside the teacher's. A student
that is there already is only measured; one that was interrupted goes on where it stood. After a change of
teacher or settings, say overwrite=true or give another folder.
"""

from pathlib import Path
from typing import Any

from genrec import GenerativeRecommender
from genrec.common.artifacts import provenance, require_file
from genrec.common.config import Settings
from genrec.common.program import is_main
from genrec.common.recipe import run_recipe, write_results
from genrec.fitting.distill import StudentSettings, describe, distill, made_before


class Config(Settings):
    """Which teacher, which students, and where to."""

    recommender: Path
    """Folder of the teacher."""
    layers: tuple[int, ...] = (2, 1)
    """Layers of each student."""
    student: StudentSettings = StudentSettings()
    """How students learn; `layers` in it is not read."""
    without_teacher: bool = False
    """Whether the same students are made once more by fine-tuning alone, to see what the teacher gives."""
    rank_users: int = 1000
    """Most validation users to rank for the time."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda`` …"""
    folder: Path
    """Where the students go."""
    out: Path
    """JSON document; the table goes beside it, ending in .md."""
    overwrite: bool = False
    """Whether students that are there are made again."""
    restart: bool = False
    """Whether an unfinished student is discarded instead of continued."""


def main(config: Config) -> None:
    """Make every student, measure all of them beside the teacher, write and print."""
    require_file(config.out)
    teacher = GenerativeRecommender.from_pretrained(
        config.recommender, device=config.device, merged=True
    )
    rows = {"teacher": describe(teacher, config.rank_users)}
    for name, settings in students(config).items():
        folder = config.folder / name
        if config.overwrite or not made_before(teacher, settings, folder):
            distill(teacher, settings, folder, overwrite=config.overwrite, restart=config.restart)
        if is_main():
            student = GenerativeRecommender.from_pretrained(folder, device=config.device)
            rows[name] = describe(student, config.rank_users)
    if not is_main():
        return
    document = {"rows": rows, "provenance": provenance()}
    write_results(config.out, document, table(rows))
    print(table(rows))


def students(config: Config) -> dict[str, StudentSettings]:
    """Name of a student's folder -> its settings."""
    whole, alone = config.student.distillation, {"weight": 0.0, "feature_weight": 0.0}
    kinds = {"distilled": whole}
    if config.without_teacher:
        kinds["fine-tuned"] = whole.replace(**alone)
    return {
        f"{kind}-{layers}": config.student.replace(layers=layers, distillation=distillation)
        for layers in config.layers
        for kind, distillation in kinds.items()
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    users = rows["teacher"]["users"]
    head = (
        f"| recommender | layers | parameters | weights | {users:,} users ranked in "
        "| validation recall@10 | validation ndcg@10 |"
    )
    lines = [
        f"| {name} | {row['layers']} | {row['parameters']:,} | {row['megabytes']:.1f} MB "
        f"| {row['seconds']:.2f} s | {metric(row, 'recall@10')} | {metric(row, 'ndcg@10')} |"
        for name, row in rows.items()
    ]
    return "\n".join([head, "|---|" + "---:|" * 6, *lines])


def metric(row: dict[str, Any], name: str) -> str:
    """A metric for reading; a dash where the split has no validation case."""
    return "-" if row["metrics"] is None else f"{row['metrics'][name]:.4f}"


if __name__ == "__main__":
    run_recipe(main, Config)
