"""Requests made up from the OpenAPI document: whatever comes, the server answers as the document says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from .conftest import BEARER, TOKEN, Change, listening

NAMES = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]
ASKING = [
    ("/recommend", "POST"),
    ("/titles", "POST"),
    ("/search", "GET"),
    ("/items", "POST"),
    ("/items", "PATCH"),
]
OTHERS = [
    ("/items/{item_id}", "GET"),
    ("/items/{item_id}", "DELETE"),
    ("/reload", "POST"),
    ("/tree", "GET"),
    ("/health", "GET"),
    ("/metrics", "GET"),
]
TRIED = [(*each, GenerationMode.POSITIVE) for each in ASKING + OTHERS]
TRIED += [(*each, GenerationMode.NEGATIVE) for each in ASKING]  # the others take anything


@pytest.fixture(scope="module")
def schema(recommender, make_app):
    """The document of a running server whose catalog may change."""
    with listening(make_app(Change(recommender), tokens=[TOKEN])) as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json", headers=BEARER)


def test_all_operations_are_tried(schema):
    found = [(each.ok().path, each.ok().method.upper()) for each in schema.get_all_operations()]
    assert sorted(found) == sorted(ASKING + OTHERS)


@pytest.mark.parametrize(("path", "method", "mode"), TRIED)
def test_whatever_is_sent_the_answer_is_one_of_the_document(schema, path, method, mode):
    operation = schema[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=15, suppress_health_check=list(HealthCheck))
    def ask(case):
        response = case.call(headers=BEARER)
        case.validate_response(response, checks=CHECKS.get_by_names(NAMES))
        assert response.status_code != 500
        assert "Traceback" not in response.text
        if response.status_code >= 400:
            assert len(response.json()["error"]) > 5

    ask()
