"""Planted fake users: they weigh less than real ones, and leave training but not the log."""

import numpy as np
import pytest

from bench.fake_users import FakeUserAttack, fake_histories, poisoned
from genrec import FitSettings
from genrec.data import SyntheticShop, generate
from genrec.data.fake_users import FakeUserSettings, Suspicion
from genrec.data.histories import Histories
from genrec.data.kept_split import KeptSplit
from genrec.data.split import leave_one_out


@pytest.fixture(scope="module")
def big_shop():
    return generate(SyntheticShop(items=400, users=2000, seed=1))


def attacked(shop, attack, seed=1):
    """The shop's log with 2 % made-up users, who push one item that sells little."""
    sold = np.bincount(shop.log.histories.items, minlength=len(shop.catalog))
    target = int(np.argsort(sold)[len(sold) // 3])
    settings = FakeUserAttack(share=0.02, seed=seed)
    return poisoned(shop.log, fake_histories(shop.log, target, attack, settings)), target


@pytest.mark.parametrize("attack", ["random", "bandwagon", "segment"])
def test_fakes_are_more_suspicious_than_real_users(big_shop, attack):
    log, target = attacked(big_shop, attack)
    train, real = leave_one_out(log).train, len(big_shop.log.histories)
    found = Suspicion.of(train, log.catalog.texts(), FakeUserSettings())
    assert found.items.argmax() == target
    assert found.weights[real:].mean() == 0
    assert found.weights[:real].mean() > 0.9
    assert np.median(found.users[real:]) > np.quantile(found.users[:real], 0.9)


def test_nobody_is_suspicious_where_nobody_is_made_up(big_shop):
    train = leave_one_out(big_shop.log).train
    found = Suspicion.of(train, big_shop.catalog.texts(), FakeUserSettings())
    assert found.weights.all()


def test_looking_at_histories_leaves_them_in_their_order():
    train = Histories.of([[3, 1, 3, 0], [2, 0]])
    Suspicion.of(train, ["tent", "rope", "cup", "tent pole"], FakeUserSettings())
    assert train.items.tolist() == [3, 1, 3, 0, 2, 0]
    assert train.offsets.tolist() == [0, 4, 6]


def test_few_users_of_an_item_are_not_judged(big_shop):
    log, _ = attacked(big_shop, "random")
    least = FakeUserSettings(least_users=10_000)
    assert Suspicion.of(leave_one_out(log).train, log.catalog.texts(), least).weights.all()


def test_texts_without_words_and_empty_histories_accuse_nobody():
    train = Histories.of([[0, 1], [], [1], [0, 1, 0]])
    assert Suspicion.of(train, ["", "?"], FakeUserSettings()).weights.tolist() == [1, 1, 1, 1]


def test_an_item_counts_once_however_often_it_is_bought():
    rng = np.random.default_rng(0)
    baskets = [rng.choice(30, 4, replace=False) for _ in range(60)]
    texts = [f"word{item} word{item % 5}" for item in range(30)]
    once = Suspicion.of(Histories.of(baskets), texts, FakeUserSettings())
    twice = Suspicion.of(
        Histories.of([np.repeat(basket, 2) for basket in baskets]), texts, FakeUserSettings()
    )
    np.testing.assert_allclose(once.items, twice.items)


def test_suspects_leave_training_and_validation_and_are_counted(big_shop):
    log, target = attacked(big_shop, "bandwagon")
    real = len(big_shop.log.histories)
    settings = FitSettings.model_validate({"split": {"fake_users": {"leave_out": True}}})
    split, plain = settings.split.apply(log, 0), FitSettings().split.apply(log, 0)
    assert (split.train.lengths[real:] == 0).all()
    assert not (split.valid.users >= real).any()
    np.testing.assert_array_equal(split.test.users, plain.test.users)
    gone = int((split.train.lengths == 0).sum())
    [note] = set(split.notes) - set(plain.notes)
    assert f"{gone:,} of {len(log.histories):,} users look made up" in note
    assert log.catalog.item_ids[target] in note
    again = KeptSplit.of(split, log.histories).split(log.histories)
    np.testing.assert_array_equal(again.train.lengths, split.train.lengths)


def test_by_default_nobody_is_left_out(big_shop):
    log, _ = attacked(big_shop, "bandwagon")
    plain = FitSettings().split.apply(log, 0)
    np.testing.assert_array_equal(plain.train.items, leave_one_out(log).train.items)


@pytest.mark.parametrize("attack", ["random", "bandwagon", "segment"])
def test_every_fake_holds_the_pushed_item_where_training_sees_it(big_shop, attack):
    settings = FakeUserAttack()
    fakes = fake_histories(big_shop.log, 7, attack, settings)
    assert len(fakes) == 20
    for history in fakes:
        assert np.count_nonzero(history == 7) == 1
        assert np.flatnonzero(history == 7)[0] < len(history) - 2
        assert len(set(history.tolist())) == len(history)
    log = poisoned(big_shop.log, fakes)
    assert len(log.histories) == len(big_shop.log.histories) + 20
    np.testing.assert_array_equal(log.histories[-1], fakes[-1])
