import pytest

from genrec.common.errors import InputError
from genrec.data import Condition


@pytest.mark.parametrize(
    ("words", "column", "operator", "values"),
    [
        ("price<20", "price", "<", ("20",)),
        ("price<=-1.5e3", "price", "<=", ("-1.5e3",)),
        (" price  >= 20 ", "price", ">=", ("20",)),
        ("price>0", "price", ">", ("0",)),
        ("brand=Acme|Other", "brand", "=", ("Acme", "Other")),
        ("brand != Juniper & Moss | Acme ", "brand", "!=", ("Juniper & Moss", "Acme")),
        ("shoe size=42", "shoe size", "=", ("42",)),
        ("title=a=b<c", "title", "=", ("a=b<c",)),
        ("item_id=B0,C1|été\n2", "item_id", "=", ("B0,C1", "été\n2")),
    ],
)
def test_words_are_column_operator_values(words, column, operator, values):
    expected = Condition(column, operator, values)
    assert Condition.parse(words) == Condition.of(words) == expected
    assert Condition.parse(str(expected)) == expected
    assert Condition.of(expected) is expected


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "'' is not a condition: write COLUMN OPERATOR VALUE, such as 'price<20'"),
        ("price", "'price' is not a condition: .* in quotes on a command line"),
        ("<20", "'<20' is not a condition"),
        (" <20", "' *<20' names no column"),
        ("price<", "'price<' has an empty value"),
        ("brand=Acme|", "has an empty value"),
        ("brand= ", "items whose attribute is missing meet no condition"),
        ("price==20", "no operator '==', use = != < <= > >="),
        ("price=<20", "no operator '=<'"),
        ("price<>20", "no operator '<>'"),
        ("price!20", "no operator '!'"),
        ("price<20|30", "'<' takes one value, only = and != several"),
    ],
)
def test_what_is_no_condition_is_said(words, says):
    with pytest.raises(InputError, match=says):
        Condition.parse(words)


@pytest.mark.parametrize("values", ["Acme", ["Acme"], (20,), ()])
def test_values_in_python_are_a_tuple_of_texts(values):
    with pytest.raises(InputError, match=r"tuple of texts|empty value"):
        Condition("brand", "=", values)
