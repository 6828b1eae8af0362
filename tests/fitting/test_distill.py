"""From a recommender's folder to a smaller one's: round trips, resumption, and what must not be needed."""

import json
import shutil

import numpy as np
import pytest
import torch

from genrec import FitSettings, GenerativeRecommender, InputError
from genrec.fitting.distill import StudentSettings, describe, distill, made_before
from genrec.language_model.pruning import layer_count
from genrec.testing.fakes import save_tiny_pretrained
from genrec.training import TrainingSettings

QUICK = TrainingSettings(max_steps=6, batch_items=512, validations=2, warmup_steps=2, max_items=7)
STUDENT = StudentSettings(layers=1, training=QUICK)


def fit(shop, quick_settings, **changes):
    settings = FitSettings.model_validate(quick_settings | changes)
    return GenerativeRecommender.fit(shop.catalog, shop.log, settings)


@pytest.fixture(scope="module")
def teacher(shop, quick_settings):
    compact = {"width": 16, "layers": 2, "heads": 2}
    return fit(shop, quick_settings, language_model={"compact": compact})


@pytest.fixture(scope="module")
def histories(shop):
    ids = shop.catalog.item_ids
    return [[ids[item] for item in shop.log.histories[user]] for user in range(20)]


@pytest.fixture(scope="module")
def distilled(teacher, tmp_path_factory):
    """A student and its folder; not to be changed."""
    out = tmp_path_factory.mktemp("students") / "one"
    return distill(teacher, STUDENT, out), out


def weights(recommender):
    return {n: p.detach() for n, p in recommender.language_model.model.named_parameters()}


def test_the_folder_is_an_ordinary_recommenders(distilled, teacher, histories):
    student, out = distilled
    opened = GenerativeRecommender.from_pretrained(out, device="cpu")
    assert opened.recommend(histories, k=7) == student.recommend(histories, k=7)
    assert layer_count(opened.language_model) == opened.settings.language_model.compact.layers == 1
    assert opened.settings == student.settings
    assert opened.settings.training.max_items == teacher.settings.training.max_items == 20
    assert (
        opened.settings.replace(
            language_model=teacher.settings.language_model, training=teacher.settings.training
        )
        == teacher.settings
    )
    assert np.array_equal(opened.semantic_ids.codes, teacher.semantic_ids.codes)
    assert opened.metrics == json.loads((out / "metrics.json").read_text()) == student.metrics
    assert not out.with_name("one.partial").exists()


def test_its_metrics_say_what_a_fits_say_and_whose_student_it_is(distilled, teacher):
    metrics = distilled[0].metrics
    assert set(teacher.metrics) - {"text_model"} <= set(metrics), "no text model was trained anew"
    assert 0 <= metrics["validation"]["metrics"]["recall@10"] <= 1
    assert metrics["training"]["steps"] == 6
    assert metrics["distillation"]["kept_layers"] == [0]
    assert metrics["distillation"]["teacher"]["layers"] == 2
    trainable, total = distilled[0].language_model.parameters()
    assert trainable == total == metrics["parameters"]["total"]
    assert total < teacher.language_model.parameters()[1]


def test_it_has_learned_and_the_teacher_has_not(teacher, tmp_path):
    before = {name: p.clone() for name, p in weights(teacher).items()}
    student = distill(teacher, STUDENT, tmp_path / "student")
    assert all(torch.equal(p, before[name]) for name, p in weights(teacher).items())
    shared = before.keys() & weights(student).keys()
    assert shared
    assert any(not torch.equal(weights(student)[name], before[name]) for name in shared)


class Killed(Exception):
    """Stands for a SIGKILL."""


def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    distilled, teacher, tmp_path, monkeypatch
):
    from genrec.fitting.objectives.distillation import DistillationLoss

    out, forward, calls = tmp_path / "student", DistillationLoss.forward, []

    def dying(self, items):
        calls.append(1)
        if len(calls) == 5:
            raise Killed
        return forward(self, items)

    with monkeypatch.context() as patch:
        patch.setattr(DistillationLoss, "forward", dying)
        with pytest.raises(Killed):
            distill(teacher, STUDENT, out)
    assert not out.exists()
    with pytest.raises(InputError, match="other data or settings"):
        distill(teacher, STUDENT.replace(seed=1), out)
    resumed = distill(teacher, STUDENT, out)
    expected = weights(distilled[0])
    assert all(torch.equal(p, expected[name]) for name, p in weights(resumed).items())
    assert not out.with_name("student.partial").exists()


def test_another_seed_may_replace_an_unfinished_run(teacher, tmp_path):
    work = tmp_path / "student.partial"
    work.mkdir()
    (work / "fit.json").write_text("{}")
    (work / "checkpoints").mkdir()
    with pytest.raises(InputError, match="other data or settings"):
        distill(teacher, STUDENT, tmp_path / "student")
    distill(teacher, STUDENT, tmp_path / "student", restart=True)
    assert (tmp_path / "student" / "recommender.json").is_file()


def test_what_stands_in_the_way_is_refused(distilled, teacher):
    _, out = distilled
    with pytest.raises(InputError, match="exists already"):
        distill(teacher, STUDENT, out)
    with pytest.raises(InputError, match=r"layers = 3: .* has 2"):
        distill(teacher, STUDENT.replace(layers=3), out.with_name("three"))
    assert not out.with_name("three.partial").exists()


def test_a_student_is_known_by_teacher_and_settings(distilled, teacher, recommender, tmp_path):
    _, out = distilled
    assert made_before(teacher, STUDENT, out)
    assert not made_before(teacher, STUDENT, tmp_path / "nothing")
    with pytest.raises(InputError, match="something other than this student"):
        made_before(recommender, STUDENT, out)
    with pytest.raises(InputError, match="something other than this student"):
        made_before(teacher, STUDENT.replace(layers=2), out)


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_an_adapters_student_needs_no_base_and_writes_no_titles(
    shop, quick_settings, tmp_path, histories, tuning
):
    base = save_tiny_pretrained(tmp_path / "base", "qwen3")
    teacher = fit(
        shop,
        quick_settings,
        language_model={"backbone": str(base), "lora": {"rank": 2}, "tuning": tuning},
        training={"max_steps": 3, "batch_items": 256, "validations": 1, "codes_first": 1},
        tasks={"next-title": 0.3},
    )
    student = distill(teacher, StudentSettings(layers=1, training=QUICK), tmp_path / "student")
    shutil.rmtree(base)
    opened = GenerativeRecommender.from_pretrained(tmp_path / "student", device="cpu")
    assert opened.recommend(histories, k=5) == student.recommend(histories, k=5)
    assert layer_count(opened.language_model) == 1
    assert opened.language_model.base is None
    assert teacher.settings.tasks
    assert not opened.settings.tasks
    with pytest.raises(InputError, match="has not learned to write titles"):
        opened.generate_titles(histories[:1])


def test_all_layers_without_a_step_worth_of_learning_rank_as_the_teacher(
    teacher, tmp_path, histories
):
    still = QUICK.replace(learning_rate=1e-12, max_steps=1, weight_decay=0.0)
    student = distill(teacher, StudentSettings(layers=2, training=still), tmp_path / "student")
    mine, theirs = (m.recommend(histories, k=10) for m in (student, teacher))
    assert [[r.item_id for r in row] for row in mine] == [
        [r.item_id for r in row] for row in theirs
    ]
    found, expected = (m.metrics["validation"]["metrics"] for m in (student, teacher))
    assert found == pytest.approx(expected, abs=1e-6)


def test_without_training_settings_it_learns_as_its_teacher_did(teacher, tmp_path):
    student = distill(teacher, StudentSettings(layers=1), tmp_path / "student")
    assert student.settings.training == teacher.settings.training
    assert student.metrics["training"]["steps"] == 60


def test_describe_says_what_it_costs(distilled, teacher):
    student, out = distilled
    found = describe(student, users=30)
    assert found["layers"] == 1
    assert found["users"] == 30
    assert found["seconds"] > 0
    assert found["metrics"] == student.metrics["validation"]["metrics"]
    size = (out / "language_model" / "model.safetensors").stat().st_size
    assert found["megabytes"] * 1e6 == pytest.approx(size, rel=0.2)
    assert found["megabytes"] < describe(teacher, users=30)["megabytes"]
    with pytest.raises(InputError, match="users = 0"):
        describe(student, users=0)
