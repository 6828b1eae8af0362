"""Settings of a split: which protocol cuts the log, and at which place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from genrec.common.config import Settings
from genrec.data.fake_users import FakeUserSettings

if TYPE_CHECKING:
    from genrec.data.histories import Split
    from genrec.data.interactions import Interactions

__all__ = ["SplitSettings"]


class SplitSettings(Settings):
    """How the log is cut into training, validation and test."""

    protocol: Literal["leave-one-out", "temporal", "user-holdout", "cold-items"] = "leave-one-out"
    """Which protocol (see `genrec.data.split`)."""
    valid_from: int | str | None = None
    """Temporal: time from which events validate, as a timestamp of the log or a date."""
    test_from: int | str | None = None
    """Temporal: time from which events test."""
    fraction: float = Field(0.1, gt=0, lt=1)
    """User hold-out and cold items: share of users or items held out."""
    hold_out: Literal["validation and test", "test"] = "validation and test"
    """What is not trained on. Without a validation part nothing can be chosen: see `genrec refit`."""
    train_share: float = Field(1.0, gt=0, le=1)
    """Share of the users that training and validation see, drawn at random; the test stays whole. What little
    data does is measured with it."""
    heavy_user_share: float = Field(0.1, gt=0, le=1)
    """Most of the training events that one user may hold: of one with more, who also has ten times as many as
    the middle user, only so many are trained on, the oldest. 1 leaves everybody as they are."""
    fake_users: FakeUserSettings = FakeUserSettings()
    """Users who look made up to push an item: they may be left out of training and validation."""

    @model_validator(mode="after")
    def _times_for_temporal(self) -> SplitSettings:
        if self.protocol == "temporal" and (self.valid_from is None or self.test_from is None):
            raise ValueError("the temporal protocol needs split.valid_from and split.test_from")
        return self

    @model_validator(mode="after")
    def _cold_items_stay_cold(self) -> SplitSettings:
        if self.protocol == "cold-items" and self.hold_out == "test":
            raise ValueError(
                "split.hold_out = test would train on items that are to stay cold: use another protocol, or "
                "hold out validation and test"
            )
        return self

    def apply(self, log: Interactions, seed: int) -> Split:
        """Cut the log; one that items were removed from, as it was cut before. No log has no parts."""
        from genrec.data.histories import Cases, Split
        from genrec.data.split import with_fewer_users, with_lighter_users, without_fake_users

        if log.kept_split is not None:
            return log.kept_split.split(log.histories)
        if not len(log):
            none = Cases.none()
            return Split(self.protocol, log.histories, none, none, ("there is no log",))
        split = with_fewer_users(self._whole(log, seed), self.train_share, seed)
        split = with_lighter_users(split, log, self.heavy_user_share)
        return without_fake_users(split, log, self.fake_users)

    def _whole(self, log: Interactions, seed: int) -> Split:
        from genrec.data.split import learning_validation

        split = self._cut(log, seed)
        return learning_validation(split, log) if self.hold_out == "test" else split

    def _cut(self, log: Interactions, seed: int) -> Split:
        from genrec.data import split

        if self.protocol == "temporal":
            assert self.valid_from is not None
            assert self.test_from is not None
            return split.temporal(log, self.valid_from, self.test_from)
        if self.protocol == "user-holdout":
            return split.user_holdout(log, self.fraction, seed)
        if self.protocol == "cold-items":
            return split.cold_items(log, self.fraction, seed)
        return split.leave_one_out(log)
