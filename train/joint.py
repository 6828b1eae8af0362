"""Train one language model on several catalogs together; make a recommender folder for each.

    python train/joint.py train/joint_demo.yaml [fit.joint.temperature=1 fit.training.epochs=3 …]

Codes mean the same in all of them, so `genrec transfer` takes each of these recommenders to a catalog that
none of them has seen. A run that was interrupted goes on where it stood when the same command is given again.
"""

import json
from pathlib import Path

from genrec import FitSettings, GenerativeRecommender
from genrec.common.config import Settings
from genrec.common.program import is_main
from genrec.common.recipe import run_recipe
from genrec.data.settings import DataSettings
from genrec.fitting.together import Shop, fit_together


class Config(Settings):
    """From which catalogs, how, and where to."""

    catalogs: dict[str, DataSettings]
    """Each catalog and its log, by a name that its folder gets."""
    fit: FitSettings = FitSettings()
    """How the recommenders are made."""
    out: Path
    """Folder to make, with a recommender folder for each catalog."""
    overwrite: bool = False
    """Whether an existing folder is replaced."""
    restart: bool = False
    """Whether an unfinished run is discarded instead of continued."""


def main(config: Config) -> None:
    """Fit, save, and say what came of it."""
    shops = {name: Shop(*data.read()) for name, data in config.catalogs.items()}
    options = {"overwrite": config.overwrite, "restart": config.restart}
    fitted = fit_together(GenerativeRecommender, shops, config.fit, config.out, **options)
    if not is_main():
        return
    for name, recommender in fitted.items():
        validation = recommender.metrics["validation"] or {"metrics": None}
        print(json.dumps({"catalog": name, "validation": validation["metrics"]}, indent=2))
    print(f"recommenders in {config.out}: {', '.join(fitted)}")


if __name__ == "__main__":
    run_recipe(main, Config)
