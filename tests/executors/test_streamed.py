"""The pieces of a stream make the answer that would have come at once."""

from typing import Any

from anybatch.core.model import Json
from anybatch.executors.streamed import whole

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def piece(*choices: Json, **fields: Any) -> Json:
    return {
        "object": "chat.completion.chunk",
        "id": "1",
        "model": "m",
        "choices": list(choices),
        **fields,
    }


def delta(index: int = 0, finish_reason: str | None = None, **said: Any) -> Json:
    return {"index": index, "finish_reason": finish_reason, "delta": said}


def test_texts_are_joined_and_the_end_is_kept() -> None:
    answer = whole(
        [
            piece(delta(role="assistant", content=None)),
            piece(delta(content="Hel")),
            piece(delta(content="lo")),
            piece(delta(finish_reason="stop")),
            piece(usage=USAGE),
        ]
    )

    assert answer == {
        "object": "chat.completion",
        "id": "1",
        "model": "m",
        "usage": USAGE,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hello"},
            }
        ],
    }


def test_an_answer_that_says_nothing_has_no_text() -> None:
    answer = whole([piece(delta(role="assistant")), piece(delta(finish_reason="stop"))])

    assert answer["choices"][0]["message"]["content"] is None


def test_several_answers_to_one_question_are_kept_apart() -> None:
    answer = whole(
        [
            piece(delta(1, content="b")),
            piece(delta(0, content="a"), delta(1, content="b")),
            piece(delta(0, "stop"), delta(1, "length")),
        ]
    )

    choices = answer["choices"]
    assert [choice["message"]["content"] for choice in choices] == ["a", "bb"]
    assert [choice["finish_reason"] for choice in choices] == ["stop", "length"]


def test_the_arguments_of_a_tools_call_are_joined() -> None:
    def calls(*arguments: tuple[int, str], **named: Any) -> Json:
        functions = [
            {"index": i, "function": {"arguments": text}, **named} for i, text in arguments
        ]
        return piece(delta(tool_calls=functions))

    answer = whole(
        [calls((0, '{"a"'), id="x", type="function"), calls((1, "{")), calls((0, ":1}"))]
    )

    assert answer["choices"][0]["message"]["tool_calls"] == [
        {"index": 0, "id": "x", "type": "function", "function": {"arguments": '{"a":1}'}},
        {"index": 1, "function": {"arguments": "{"}},
    ]


def test_the_chances_of_tokens_are_listed_in_order() -> None:
    def chance(token: str) -> Json:
        return {**delta(content=token), "logprobs": {"content": [{"token": token}]}}

    answer = whole([piece(chance("a")), piece(chance("b"))])

    assert answer["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_completions_are_joined_too() -> None:
    def text(said: str, finish_reason: str | None = None) -> Json:
        return {"index": 0, "text": said, "logprobs": None, "finish_reason": finish_reason}

    answer = whole(
        [
            piece(text("a"), object="text_completion"),
            piece(text("", "length"), object="text_completion", usage=USAGE),
        ]
    )

    assert answer["object"] == "text_completion"
    assert answer["choices"] == [text("a", "length")]


def test_an_error_is_an_error() -> None:
    error = {"error": {"code": 400, "message": "no"}}

    assert whole([error]) == error
    assert whole([piece(delta(content="a")), error]) == error
