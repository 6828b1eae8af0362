"""Words of a model card that are the same for many recommenders."""

from __future__ import annotations

__all__ = ["LIMITS", "ONLY_TEST", "RETRAINED", "SPLITS", "UNMEASURED", "USE"]

SPLITS = {
    "leave-one-out": (
        "The last two interactions of each user with three or more were held out of training, and the last "
        "one of a user with two: the newest taste of everybody is not learned."
    ),
    "temporal": "What happened from the start of the validation period on was held out of training.",
    "user-holdout": "Users were held out of training, with all that they did.",
    "cold-items": (
        "Items were held out of training, and of what was left the last two interactions of each user with "
        "three or more."
    ),
}
"""Protocol -> what training did not see."""

ONLY_TEST = "The test part of the log was held out of training."
"""The same after a refit."""

RETRAINED = {
    "distillation": "Made smaller from another, which taught it; training and costs are of that alone",
    "preference": (
        "Trained further to prefer what was chosen to what was expected; training and costs are of that alone"
    ),
    "adapters": (
        "Domain adapters were added to its language model, each with a weight; training and costs are of "
        "what it was before, or, where the weights were learned, of that alone"
    ),
    "refit": (
        "Fitted again on training and validation events together, for the passes, with the weights and the "
        "reranker that a fit on training events alone had chosen"
    ),
    "further": "Trained further from another recommender's weights; training and costs are of that alone",
}
"""Record in ``metrics.json`` -> what was done after a first fit."""

UNMEASURED = (
    "What shoppers do with the recommendations: a log tells what was bought without them.",
    "Other seeds: every figure is of one run.",
    "Differences between groups of users, and harm of any sort.",
    "Energy, and the machine: the costs below are of one that is not recorded.",
)
"""What no fit measures."""

LIMITS = (
    "Cold items: one without interactions is known by its text alone, one added after the fit only by the "
    "codes that its text got; both are recommended less well.",
    "Another catalog: codes and weights belong to this one. On a catalog never trained on (`genrec "
    "transfer`), expect much less, and measure it.",
    "Popularity: it learns from what was bought, so it favours what sells, and repeats what the shop's own "
    "displays and earlier recommendations made sell.",
    "Language: texts and queries are used in the languages that they are in; nothing is translated, and a "
    "text encoder knows only the languages that it was made from.",
    "Privacy: user ids are not kept, histories are (`interactions.parquet`): do not publish the folder "
    "unless the log may be published.",
)
"""What holds for every recommender."""

USE = """```bash
genrec recommend DIR --history ITEM_ID,ITEM_ID -k 10
genrec evaluate DIR --baselines
```

```python
from genrec import GenerativeRecommender

recommender = GenerativeRecommender.from_pretrained("DIR")
recommender.recommend([["ITEM_ID", "ITEM_ID"]], k=10)
```

`DIR` is this folder, `ITEM_ID` an id of its catalog."""
"""How to use it, in Markdown."""
