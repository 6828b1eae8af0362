"""Data as settings name it: two files with columns of any name, or a shop."""

import pytest

from genrec.common.config import validate
from genrec.common.errors import ConfigError
from genrec.data.settings import DataSettings


def test_columns_may_have_other_names(tmp_path):
    (tmp_path / "items.csv").write_text("asin,name\nA,Tent\nB,Rope\n")
    (tmp_path / "log.csv").write_text("customer,asin,day\nu,A,1\nu,B,2\n")
    values = {
        "items": tmp_path / "items.csv",
        "interactions": tmp_path / "log.csv",
        "item_columns": {"item_id": "asin", "title": "name"},
        "interaction_columns": {"user_id": "customer", "item_id": "asin", "timestamp": "day"},
    }
    catalog, log = validate(DataSettings, values, source="test").read()
    assert (catalog.item_ids, catalog.titles) == (["A", "B"], ["Tent", "Rope"])
    assert (log.user_ids, log.histories.items.tolist()) == (["u"], [0, 1])


@pytest.mark.parametrize("values", [{}, {"items": "a.csv"}, {"items": "a.csv", "shop": {}}])
def test_two_files_or_a_shop(values):
    with pytest.raises(ConfigError, match="give either items and interactions"):
        validate(DataSettings, values, source="test")
