"""The quality gate of a fit: before training, a warning or a refusal."""

import pytest

from genrec import FitSettings, GenerativeRecommender
from genrec.common.errors import InputError
from genrec.fitting import fit as fitting
from genrec.semantic_ids.quality_gate import QualityGate

STRICT = {"gate": {"min_agreement": 1000, "strict": True}}


@pytest.fixture
def fit(shop, quick_settings, tmp_path):
    """Fit the shop with a few steps and more settings, in a work folder."""
    quick = quick_settings | {"training": quick_settings["training"] | {"max_steps": 2}}

    def run(more):
        settings = FitSettings.model_validate(quick | more)
        return GenerativeRecommender.fit(shop.catalog, shop.log, settings, work=tmp_path / "work")

    return run


def test_a_good_fit_says_how_far_items_moved_and_warns_of_nothing(fit, caplog):
    with caplog.at_level("INFO", "genrec"):
        recommender = fit({})
    assert f"{recommender.semantic_ids.moved} moved: by 0." in caplog.text
    assert [r.message for r in caplog.records if r.levelname == "WARNING"] == []


def test_a_poor_one_is_warned_of_before_training_and_goes_on(fit, caplog):
    with caplog.at_level("INFO", "genrec"):
        recommender = fit({"gate": {"min_agreement": 1000}})
    messages = [record.message for record in caplog.records]
    warning = next(m for m in messages if "share their first code only" in m)
    assert messages.index(warning) < next(i for i, m in enumerate(messages) if "training: " in m)
    assert recommender.metrics["training"]["steps"] == 2


def test_a_strict_fit_stops_before_training_and_leaves_nothing(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "train", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(InputError, match=r"first code only .* times.*collaborative\.weight"):
        fit(STRICT)
    assert list(tmp_path.iterdir()) == []


def test_a_strict_fit_keeps_a_work_folder_that_was_there(fit, tmp_path, monkeypatch):
    """What an interrupted fit had made before the gate is not thrown away by it."""
    with monkeypatch.context() as patch:
        patch.setattr(QualityGate, "apply", lambda *_: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):  # noqa: PT011 any will do
            fit(STRICT)
    kept = tmp_path / "work" / "item_tokenizer"
    assert kept.is_dir()
    with pytest.raises(InputError, match="not worth training on"):
        fit(STRICT)
    assert kept.is_dir()
