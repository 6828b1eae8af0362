"""Splits of a log: four ways to hold out the future; what is trained on, and the cases that test it.

Every split keeps one training sequence per user of the log, empty if need be, so that index `u`
means the same user everywhere. A case's history is all that the user did before the target.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from genrec.common.errors import DataError
from genrec.data.fake_users import FakeUserSettings, Suspicion
from genrec.data.histories import Cases, Histories, Split
from genrec.data.interactions import Interactions
from genrec.data.timestamps import parse_date

__all__ = [
    "cold_items",
    "learning_validation",
    "leave_one_out",
    "same_time",
    "temporal",
    "user_holdout",
    "with_fewer_users",
    "with_lighter_users",
    "without_fake_users",
]


_TIMES_THE_MIDDLE = 10
"""Times the events of the middle user from which one may be heavy."""


def leave_one_out(log: Interactions) -> Split:
    """Test on every user's last item, validate on the one before, train on the rest.

    The protocol of SASRec (Kang and McAuley, 2018) and TIGER (Rajput et al., 2023). A user with two
    interactions has a test case only, and the first interaction is trained on; a user with one is
    trained on only.

    Raises:
        DataError: no user has two interactions.
    """
    lengths = log.histories.lengths
    train = _heads(log.histories, np.where(lengths >= 3, lengths - 2, np.minimum(lengths, 1)))
    valid = _cases(log.histories, lengths - 2, lengths >= 3)
    test = _cases(log.histories, lengths - 1, lengths >= 2)
    notes = _count_notes(
        (int((lengths == 2).sum()), "with two interactions have no validation case"),
        (int((lengths == 1).sum()), "with a single interaction have no case"),
    )
    return _checked(Split("leave-one-out", train, valid, test, notes), log, _MORE_EVENTS)


def temporal(log: Interactions, valid_from: int | str, test_from: int | str) -> Split:
    """Cut the whole log at two moments, as if the model had been trained at the first.

    Training sees what happened before `valid_from`. A user's first interaction at or after
    `test_from` is the test target, the first one from `valid_from` until `test_from` the validation
    target; the history is all that the same user did before that. A user with nothing before a cut
    has no case there.

    Args:
        log: interactions with timestamps that mean the same for all users.
        valid_from: the first moment that is not trained on, in the unit of the log's timestamps, or
            an ISO date where the log holds dates.
        test_from: the first moment of the test, likewise.

    Raises:
        DataError: the log has no timestamps, they start at the same value for every user, the cuts
            are not in order, or no test case results.
    """
    times = _common_times(log)
    first, second = _moment(log, valid_from), _moment(log, test_from)
    if first >= second:
        raise DataError(f"valid_from must come before test_from, found {valid_from}, {test_from}")
    before_valid, before_test = (_count_before(log, times, cut) for cut in (first, second))
    valid = _cases(log.histories, before_valid, (before_valid > 0) & (before_valid < before_test))
    known = before_test > 0
    test = _cases(log.histories, before_test, known & (before_test < log.histories.lengths))
    notes = _count_notes(
        (int((before_test == 0).sum()), "have no history before the test and so no case"),
        (int((before_test == log.histories.lengths).sum()), "have nothing to predict in the test"),
    )
    train = _heads(log.histories, before_valid)
    protocol = f"temporal(valid_from={valid_from}, test_from={test_from})"
    advice = f"choose cuts between {times.min()} and {times.max()}"
    return _checked(Split(protocol, train, valid, test, notes), log, advice)


def user_holdout(log: Interactions, fraction: float = 0.1, seed: int = 0) -> Split:
    """Hold out users: nothing of theirs is trained on, their last items are the targets.

    This is the protocol of cold users, as a model meets them that knows no user by name: no interaction
    of theirs was trained on, and what they did before the target is shown at request time. (Liang et al.
    2018 call it strong generalization.) A user of whom nothing at all is known has an empty history, and
    so has no case here. Under the other protocols, `genrec.evaluation.slices` marks cold users as a slice.

    Args:
        log: the interactions.
        fraction: share of the users with two or more interactions that test, and of those that
            validate; above 0 and below 0.5.
        seed: chooses the users.

    Raises:
        DataError: the fraction is out of range, or no user has two interactions.
    """
    _check_fraction(fraction, below=0.5)
    lengths = log.histories.lengths
    eligible = np.flatnonzero(lengths >= 2)
    if len(eligible) < 3:
        raise DataError(f"{len(eligible)} users have two interactions; holding out needs three")
    size = max(1, int(fraction * len(eligible)))
    drawn = np.random.default_rng(seed).permutation(eligible)
    valid, test = (_chosen(len(lengths), part) for part in (drawn[size : 2 * size], drawn[:size]))
    return Split(
        f"user-holdout(fraction={fraction}, seed={seed})",
        _heads(log.histories, np.where(valid | test, 0, lengths)),
        _cases(log.histories, lengths - 1, valid),
        _cases(log.histories, lengths - 1, test),
        (f"{size:,} users test and {size:,} validate; none of them is trained on",),
    )


def cold_items(log: Interactions, fraction: float = 0.1, seed: int = 0) -> Split:
    """Hold out items: they never occur in training, and only they are targets.

    As `leave_one_out`, with the cold items taken out of the training sequences and only the cases
    kept whose target is cold. Histories of cases stay whole: a shop knows what was bought.

    Args:
        log: the interactions.
        fraction: share of the log's items made cold; above 0 and below 1.
        seed: chooses the items.

    Raises:
        DataError: the fraction is out of range, or no user's last item is cold.
    """
    _check_fraction(fraction, below=1.0)
    split = leave_one_out(log)
    seen = np.unique(log.histories.items)
    size = max(1, int(fraction * len(seen)))
    cold = np.zeros(len(log.catalog), dtype=np.bool_)
    cold[np.random.default_rng(seed).choice(seen, size, replace=False)] = True
    split = replace(
        split,
        protocol=f"cold-items(fraction={fraction}, seed={seed})",
        train=_without(split.train, cold),
        valid=split.valid.take(np.flatnonzero(cold[split.valid.targets])),
        test=split.test.take(np.flatnonzero(cold[split.test.targets])),
        notes=(f"{size:,} of {len(seen):,} items are cold", *split.notes),
    )
    return _checked(split, log, "raise fraction or change seed")


def learning_validation(split: Split, log: Interactions) -> Split:
    """Train on the validation targets and all before them, too; nothing is left to choose on.

    Args:
        split: of `log`, by any protocol whose training sequences are the starts of the users' own.
        log: the interactions.
    """
    lengths = split.train.lengths.copy()
    lengths[split.valid.users] = split.valid.histories.lengths + 1
    note = f"{len(split.valid):,} validation targets are trained on"
    return replace(
        split,
        protocol=f"{split.protocol}, validation trained on",
        train=_heads(log.histories, lengths),
        valid=Cases.none(),
        notes=(*split.notes, note),
    )


def with_fewer_users(split: Split, share: float, seed: int) -> Split:
    """Leave training and validation a share of the users; what is tested, and on whom, stays.

    Args:
        split: of a log.
        share: of the users who have a training sequence, at least one of them; above 0 and at most 1.
        seed: chooses the users.
    """
    if share == 1:
        return split
    known = np.flatnonzero(split.train.lengths)
    size = max(1, round(share * len(known)))
    kept = _chosen(len(split.train), np.random.default_rng(seed).choice(known, size, replace=False))
    train = _heads(split.train, np.where(kept, split.train.lengths, 0))
    valid = split.valid.take(np.flatnonzero(kept[split.valid.users]))
    note = f"training and validation see {size:,} of {len(known):,} users"
    return replace(split, train=train, valid=valid, notes=(*split.notes, note))


def with_lighter_users(split: Split, log: Interactions, share: float) -> Split:
    """Cut users short in training who hold more of it than a person would: robots, shared accounts, tests.

    One such user beside a small shop's customers is most of what is counted, sold and learned. Who holds more
    than `share` of the training events, and ten times as many as the middle user, keeps the oldest of them:
    `share` times what the others hold, or as many as the next user has. The cases stay.

    Args:
        split: of `log`.
        log: names the users.
        share: of the training events; 1 leaves everybody as they are.
    """
    lengths = split.train.lengths
    middle = np.median(lengths[lengths > 0]) if lengths.any() else 0
    heavy = (lengths > share * lengths.sum()) & (lengths > _TIMES_THE_MIDDLE * middle)
    if not heavy.any():
        return split
    others = lengths[~heavy]
    most = max(int(share * others.sum()), int(others.max(initial=1)))
    notes = [
        f"user {log.user_ids[user]!r} holds {lengths[user] / lengths.sum():.1%} of the training events "
        f"({lengths[user]:,} of {lengths.sum():,}): {min(most, lengths[user]):,} of them count "
        "(split.heavy_user_share)"
        for user in np.flatnonzero(heavy)
    ]
    train = _heads(split.train, np.where(heavy, np.minimum(lengths, most), lengths))
    return replace(split, train=train, notes=(*split.notes, *notes))


def without_fake_users(split: Split, log: Interactions, settings: FakeUserSettings) -> Split:
    """Leave users who look made up out of training and validation, if that is wanted; the test stays.

    Args:
        split: of `log`.
        log: whose catalog's texts tell which items are alike.
        settings: whether, and beyond which limits.
    """
    if not settings.leave_out:
        return split
    suspicion = Suspicion.of(split.train, log.catalog.texts(), settings)
    kept = suspicion.weights > 0
    train = _heads(split.train, np.where(kept, split.train.lengths, 0))
    valid = split.valid.take(np.flatnonzero(kept[split.valid.users]))
    worst = np.argsort(-suspicion.items)[: min(3, int((suspicion.items > 1).sum()))]
    named = ", ".join(log.catalog.item_ids[item] for item in worst)
    note = (
        f"{int((~kept).sum()):,} of {len(kept):,} users look made up and are left out of training"
    )
    note += f"; most suspicious items: {named}" if named else ""
    return replace(split, train=train, valid=valid, notes=(*split.notes, note))


def same_time(log: Interactions, cases: Cases) -> NDArray[np.bool_] | None:
    """Mark the cases whose target has the timestamp of the event before it, `(C,)`.

    Which of the two came first is then the file's word, not the clock's: many logs know only days.

    Args:
        log: what the cases were cut from, by any split of this module.
        cases: C of them.

    Returns:
        False for a case without history; None where the log has no timestamps.
    """
    if log.timestamps is None:
        return None
    lengths = cases.histories.lengths
    targets = log.histories.offsets[cases.users] + lengths
    before = np.maximum(targets - 1, 0)
    return np.asarray((lengths > 0) & (log.timestamps[targets] == log.timestamps[before]))


_MORE_EVENTS = "a case needs a user with two interactions: is the log one row a user, or filtered?"


def _checked(split: Split, log: Interactions, advice: str) -> Split:
    if len(split.test) == 0:
        message = f"{split.protocol} leaves no test case; {advice}"
        raise DataError(message, source=log.report.source)
    if len(split.valid) == 0:
        split = replace(split, notes=(*split.notes, "there is no validation case"))
    return split


def _cases(
    histories: Histories, positions: NDArray[np.int64], has_case: NDArray[np.bool_]
) -> Cases:
    """Make the item at ``positions[u]`` of each user `u` that has a case the target."""
    users = np.flatnonzero(has_case)
    before = np.where(has_case, positions, 0)
    targets = histories.items[histories.offsets[users] + before[users]]
    return Cases(users, _heads(histories, before).take(users), targets)


def _heads(histories: Histories, lengths: NDArray[np.int64]) -> Histories:
    """Keep the oldest ``lengths[u]`` items of each sequence."""
    within = np.arange(len(histories.items)) - np.repeat(histories.offsets[:-1], histories.lengths)
    kept = within < np.repeat(lengths, histories.lengths)
    return Histories(histories.items[kept], _offsets(lengths))


def _without(histories: Histories, unwanted: NDArray[np.bool_]) -> Histories:
    kept = ~unwanted[histories.items]
    running = np.concatenate([[0], np.cumsum(kept)])
    return Histories(histories.items[kept], running[histories.offsets].astype(np.int64))


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _count_before(log: Interactions, times: NDArray[np.int64], cut: int) -> NDArray[np.int64]:
    # Sequences are sorted by time, so this is also the position of the first event from the cut on.
    running = np.concatenate([[0], np.cumsum(times < cut)])
    return np.diff(running[log.histories.offsets]).astype(np.int64)


def _common_times(log: Interactions) -> NDArray[np.int64]:
    times = log.timestamps
    if times is None:
        raise DataError(
            "a temporal split needs timestamps; use leave_one_out", source=log.report.source
        )
    starts = times[log.histories.offsets[:-1]]
    if len(starts) > 1 and np.all(starts == starts[0]):
        raise DataError(
            f"every user's first timestamp is {starts[0]}: times that count from each user's own "
            "start cannot be cut globally; use leave_one_out",
            source=log.report.source,
        )
    return times


def _moment(log: Interactions, moment: int | str) -> int:
    if not isinstance(moment, str):
        return int(moment)
    value = parse_date(moment)
    if value is None:
        raise DataError("a cut must be an integer or an ISO date such as 2024-05-01", value=moment)
    if log.timestamp_unit != "us":
        raise DataError(
            "the log's timestamps are numbers; give the cut in their unit", value=moment
        )
    return value


def _check_fraction(fraction: float, below: float) -> None:
    if not 0 < fraction < below:
        raise DataError(f"fraction must be above 0 and below {below}", value=fraction)


def _chosen(size: int, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=np.bool_)
    mask[positions] = True
    return mask


def _count_notes(*counts: tuple[int, str]) -> tuple[str, ...]:
    return tuple(f"{count:,} users {what}" for count, what in counts if count)
