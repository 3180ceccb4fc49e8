"""The fake endpoint's answers are OpenAI's, as the official SDK judges them."""

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from anybatch.testing import Answer, Call, FakeEndpoint, Spoiled, Status, retry_after

openai = pytest.importorskip("openai", reason="the official SDK is the judge here")

SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"enum": ["good", "bad"]},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "required": ["label", "score"],
    "additionalProperties": False,
}
FORMAT: Any = {"name": "verdict", "schema": SCHEMA, "strict": True}
HI: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(models=("small", "large")) as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: FakeEndpoint) -> Iterator[Any]:
    with openai.OpenAI(base_url=endpoint.base_url, api_key="any") as client:
        yield client


def connected(endpoint: FakeEndpoint, **options: Any) -> Any:
    return openai.OpenAI(base_url=endpoint.base_url, api_key="any", **options)


def test_chat_says_the_last_user_message_back(client: Any) -> None:
    answer = client.chat.completions.create(model="m", messages=HI)

    assert answer.choices[0].message.content == "echo: hi"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "m"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_responses_say_the_input_back(client: Any) -> None:
    answer = client.responses.create(model="m", input="hi", instructions="Be brief.")

    assert answer.output_text == "echo: hi"
    assert answer.status == "completed"
    assert answer.usage.input_tokens == 4


def test_completions_say_the_prompt_back(client: Any) -> None:
    answer = client.completions.create(model="m", prompt="hi")

    assert answer.choices[0].text == "echo: hi"


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_the_same_for_the_same_text(client: Any, encoding: Any) -> None:
    answer = client.embeddings.create(
        model="m", input=["hi", "you", "hi"], encoding_format=encoding, dimensions=4
    )

    vectors = [one.embedding for one in answer.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert answer.usage.prompt_tokens == 3


def test_both_encodings_of_an_embedding_say_the_same(client: Any) -> None:
    floats = client.embeddings.create(model="m", input="hi", encoding_format="float")
    # The SDK asks for base64 when it is not told, and decodes it.
    packed = client.embeddings.create(model="m", input="hi")

    assert packed.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-6)


def test_moderation_finds_the_categories_that_a_text_names(client: Any) -> None:
    answer = client.moderations.create(model="m", input="hate and violence")

    (found,) = answer.results
    assert found.flagged
    assert found.categories.violence
    assert not found.categories.sexual
    assert found.category_scores.violence > 0.5 > found.category_scores.sexual


def test_moderation_answers_each_of_several_texts(client: Any) -> None:
    answer = client.moderations.create(model="m", input=["violence", "birds"])

    assert [found.flagged for found in answer.results] == [True, False]


def test_an_image_is_the_same_for_the_same_words(client: Any) -> None:
    first, second = client.images.generate(model="m", prompt="a cat", n=2).data
    again = client.images.generate(model="m", prompt="a cat").data[0]

    assert base64.b64decode(first.b64_json).startswith(b"\x89PNG")
    assert first.b64_json == again.b64_json != second.b64_json


def test_an_image_has_an_address_if_that_is_asked_for(client: Any) -> None:
    (image,) = client.images.generate(model="m", prompt="a cat", response_format="url").data

    assert image.url.startswith("https://")
    assert image.b64_json is None


def test_the_models_are_listed(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["small", "large"]


def test_chat_with_a_schema_answers_an_instance_of_it(client: Any) -> None:
    answer = client.chat.completions.create(
        model="m",
        messages=HI,
        response_format={"type": "json_schema", "json_schema": FORMAT},
    )

    verdict = msgspec.json.decode(answer.choices[0].message.content)
    assert verdict["label"] in ("good", "bad")
    assert 1 <= verdict["score"] <= 5


def test_responses_with_a_schema_answer_an_instance_of_it(client: Any) -> None:
    answer = client.responses.create(
        model="m", input="hi", text={"format": {"type": "json_schema", **FORMAT}}
    )

    assert set(msgspec.json.decode(answer.output_text)) == {"label", "score"}


def test_json_mode_answers_an_object(client: Any) -> None:
    answer = client.chat.completions.create(
        model="m", messages=HI, response_format={"type": "json_object"}
    )

    assert msgspec.json.decode(answer.choices[0].message.content) == {"echo": "hi"}


def test_an_output_budget_truncates_the_answer(client: Any) -> None:
    chat = client.chat.completions.create(model="m", messages=HI, max_completion_tokens=1)
    response = client.responses.create(model="m", input="hi", max_output_tokens=1)

    assert chat.choices[0].finish_reason == "length"
    assert chat.usage.completion_tokens == 1
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_content_filter_is_said_in_each_apis_words() -> None:
    fake = FakeEndpoint(script=lambda call: Spoiled("filtered"))
    with fake as endpoint, connected(endpoint) as client:
        chat = client.chat.completions.create(model="m", messages=HI)
        response = client.responses.create(model="m", input="hi")

    assert chat.choices[0].finish_reason == "content_filter"
    assert response.incomplete_details.reason == "content_filter"


def test_a_refusal_is_said_in_each_apis_words() -> None:
    fake = FakeEndpoint(script=lambda call: Spoiled("refused"))
    with fake as endpoint, connected(endpoint) as client:
        chat = client.chat.completions.create(model="m", messages=HI)
        response = client.responses.create(model="m", input="hi")

    assert chat.choices[0].message.content is None
    assert "cannot help" in chat.choices[0].message.refusal
    assert response.output[0].content[0].type == "refusal"


def test_your_own_function_answers() -> None:
    def answer(call: Call) -> Answer:
        return Answer(call.prompt.upper(), tokens_in=100, tokens_out=7, cached=64)

    with FakeEndpoint(answer=answer) as endpoint, connected(endpoint) as client:
        said = client.chat.completions.create(model="m", messages=HI)

    assert said.choices[0].message.content == "HI"
    assert said.usage.prompt_tokens_details.cached_tokens == 64
    assert endpoint.ledger.tokens == 107


def test_the_sdk_retries_a_scripted_500_by_itself() -> None:
    fault = Status(500, headers=retry_after(0.001, form="ms"))

    with FakeEndpoint(script=[fault]) as endpoint, connected(endpoint) as client:
        said = client.chat.completions.create(model="m", messages=HI)

    assert said.choices[0].message.content == "echo: hi"
    assert endpoint.ledger.statuses == {500: 1, 200: 1}
    assert [one.number for one in endpoint.ledger.executions] == [2]


def test_the_sdk_obeys_retry_after() -> None:
    # It gives up at once where it is told to wait for longer than two minutes.
    short = Status(429, headers=retry_after(0.01, form="float"))
    long = Status(429, headers=retry_after(200))

    with (
        FakeEndpoint(script=[short, long]) as endpoint,
        connected(endpoint) as client,
        pytest.raises(openai.RateLimitError),
    ):
        client.chat.completions.create(model="m", messages=HI)

    assert endpoint.ledger.statuses == {429: 2}


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, "BadRequestError", None),
        (401, "AuthenticationError", "invalid_api_key"),
        (402, "APIStatusError", "billing_hard_limit_reached"),
        (403, "PermissionDeniedError", "permission_denied"),
        (404, "NotFoundError", "model_not_found"),
        (408, "APIStatusError", "request_timeout"),
        (409, "ConflictError", None),
        (413, "APIStatusError", "request_too_large"),
        (429, "RateLimitError", "rate_limit_exceeded"),
        (500, "InternalServerError", None),
        (502, "InternalServerError", "bad_gateway"),
        (503, "InternalServerError", "overloaded"),
        (504, "InternalServerError", "gateway_timeout"),
    ],
)
def test_the_sdk_knows_each_error(status: int, error: str, code: str | None) -> None:
    with (
        FakeEndpoint(script=[Status(status)]) as endpoint,
        connected(endpoint, max_retries=0) as client,
        pytest.raises(getattr(openai, error)) as caught,
    ):
        client.chat.completions.create(model="m", messages=HI)

    assert caught.value.status_code == status
    assert caught.value.code == code
    assert caught.value.request_id == "req_1"


def test_a_wrong_key_is_refused_and_bills_nothing() -> None:
    with FakeEndpoint(key="sk-test") as endpoint:
        with connected(endpoint) as client, pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="m", messages=HI)
        with openai.OpenAI(base_url=endpoint.base_url, api_key="sk-test") as client:
            client.chat.completions.create(model="m", messages=HI)

    assert endpoint.ledger.received == 1
    assert len(endpoint.ledger.executions) == 1


def test_an_unknown_path_is_not_found(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        client.fine_tuning.jobs.list()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": None, "messages": HI}, "model parameter"),
        ({"model": "m", "messages": "hi"}, "Invalid type for 'messages'"),
        ({"model": "m", "messages": HI, "stream": True}, "does not stream"),
    ],
)
def test_a_wrong_body_is_a_bad_request(client: Any, fields: Any, message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.chat.completions.create(**fields)


def test_a_missing_field_is_named(client: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body={"model": "m"}, cast_to=object)

    assert caught.value.code == "missing_required_parameter"
    assert caught.value.param == "messages"
