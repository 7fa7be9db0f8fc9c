"""Requests made from the API's own OpenAPI schema: whatever they hold, the answer is one that the schema promises."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import given, settings
from pocket_models import make_talker
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import positive_data_acceptance
from scripted import Script

from dokja.serve import LocalService, Settings, create_app

OPERATIONS = {
    ("post", "/v1/chat/completions"), ("post", "/v1/completions"), ("post", "/v1/responses"),
    ("post", "/v1/embeddings"), ("get", "/v1/models"), ("get", "/v1/models/{name}"), ("post", "/tokenize"),
    ("post", "/detokenize"), ("get", "/health"), ("get", "/metrics"), ("get", "/api/board"),
}


@pytest.fixture(scope="module")
def api() -> BaseSchema:
    script = Script(make_talker(), "생각.</think>\n\n맑습니다.")
    app = create_app(LocalService({"talker": script}), lambda: None, settings=Settings(pages=False))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


# What no schema can say: which ids, lengths and parts this very model takes.
BEYOND_SCHEMAS = [positive_data_acceptance]
CASES = [(method, path, mode) for method, path in sorted(OPERATIONS) for mode in GenerationMode
         if method == "post" or mode is GenerationMode.POSITIVE]


def check(api: BaseSchema, method: str, path: str, mode: GenerationMode, examples: int) -> None:
    strategy = api[path][method.upper()].as_strategy(generation_mode=mode)

    @settings(max_examples=examples, deadline=None, derandomize=True)
    @given(case=strategy)
    def answered(case: Case) -> None:
        response = case.call()
        late = [not_a_server_error] if response.status_code == 504 else []  # it asked for that, with its timeout
        case.validate_response(response, excluded_checks=[*BEYOND_SCHEMAS, *late])

    answered()


@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_every_answer_is_one_that_the_schema_promises(api: BaseSchema, method: str, path: str, mode: GenerationMode):
    check(api, method, path, mode, 12)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path", "mode"), CASES)
def test_many_requests_from_the_schema(api: BaseSchema, method: str, path: str, mode: GenerationMode):
    check(api, method, path, mode, 500)


def test_the_schema_holds_every_endpoint_and_its_errors(api: BaseSchema):
    paths = api.raw_schema["paths"]
    assert {(method, path) for path, methods in paths.items() for method in methods} == OPERATIONS
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/tokenize"):
        assert {"400", "401", "413", "422", "429"} <= set(paths[path]["post"]["responses"])
