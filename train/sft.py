"""Train a recommender by supervised fine-tuning on histories, and save its folder.

    python train/sft.py train/sft_demo.yaml [fit.training.epochs=3 …]
    accelerate launch train/sft.py train/sft_lora.yaml

Everything under `fit` is a setting of `genrec fit`, and the folder is the same. A run that was interrupted
goes on where it stood when the same command is given again, by as many processes.
"""

import json
from pathlib import Path

from genrec import FitSettings, GenerativeRecommender
from genrec.common.artifacts import require_free
from genrec.common.config import Settings
from genrec.common.program import is_main
from genrec.common.recipe import run_recipe
from genrec.data.settings import DataSettings
from genrec.fitting.fit import fit_folder


class Config(Settings):
    """From which data, how, and where to."""

    data: DataSettings
    """The catalog and its log."""
    fit: FitSettings = FitSettings()
    """How the recommender is made."""
    out: Path
    """Recommender folder to make."""
    overwrite: bool = False
    """Whether an existing folder is replaced."""
    restart: bool = False
    """Whether an unfinished run is discarded instead of continued."""


def main(config: Config) -> None:
    """Fit, save, and say what came of it."""
    advice = "choose another out, or set overwrite=true"
    require_free(config.out, overwrite=config.overwrite, advice=advice)
    catalog, log = config.data.read()
    recommender = fit_folder(
        GenerativeRecommender,
        catalog,
        log,
        config.fit,
        config.out,
        overwrite=config.overwrite,
        restart=config.restart,
    )
    if not is_main():
        return
    shown = {
        name: recommender.metrics[name] for name in ("parameters", "seconds", "peak_memory_mib")
    }
    validation = recommender.metrics["validation"] or {"metrics": None}
    print(json.dumps(shown | {"validation": validation["metrics"]}, indent=2))
    print(f"recommender in {config.out}; next: python eval/rank.py recommender={config.out}")


if __name__ == "__main__":
    run_recipe(main, Config)
