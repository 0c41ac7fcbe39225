"""openai-python, the real package, with Responses: streamed, kept, continued, in the background."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam, Response
from pydantic import BaseModel, Field
from tests.support.acting_upstream import Part, Pause, Say
from tests.support.chat import MODEL
from tests.support.repertoire import CITIES, THOUGHT
from tests.support.repertoire import act as act_usually
from tests.support.server import Bandari, wait_until
from tests.support.stage import ACTED, Stage, stage

FRANCE = "What is the capital of France?"
THINKS = {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def act(body: dict[str, Any]) -> list[Part]:
    if body["messages"][-1]["content"] == "go on for ever":
        return [Say("It was "), Pause()]
    return act_usually(body)


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("responses") / "data", act) as acted:
        yield acted


@pytest.fixture
def sdk(bandari: Bandari, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{bandari.url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def actor(acted: Stage) -> Iterator[openai.OpenAI]:
    url, key = f"{acted.server.url}/v1", acted.key
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        yield client


def done(client: openai.OpenAI, response: Response) -> Response:
    """The response, as soon as nothing more happens to it."""

    def is_done() -> bool:
        nonlocal response
        response = client.responses.retrieve(response.id)
        return response.status not in {"queued", "in_progress"}

    wait_until(is_done, what="the end of the response")
    return response


def test_whole_response(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(model=MODEL, input=FRANCE, temperature=0)
    assert (response.object, response.status) == ("response", "completed")
    assert response.id.startswith("resp_")
    assert "Paris" in response.output_text
    (message,) = response.output
    assert (message.type, message.status) == ("message", "completed")
    usage = response.usage
    assert usage is not None
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens > 0
    assert response.error is None


def test_instructions_and_items(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(
        model=MODEL,
        instructions="You are a helpful AI assistant named Alex.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "Who are you?"}]}],
        temperature=0,
    )
    assert "Alex" in response.output_text


def test_stream(sdk: openai.OpenAI) -> None:
    events = list(sdk.responses.create(model=MODEL, input=FRANCE, temperature=0, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1].response
    assert final.output_text == text
    assert "Paris" in text
    assert final.usage is not None


def test_streaming_helper(sdk: openai.OpenAI) -> None:
    with sdk.responses.stream(model=MODEL, input=FRANCE, temperature=0) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert {"response.output_text.delta", "response.completed"} <= kinds
    assert "Paris" in final.output_text


async def test_async_stream(bandari: Bandari, key: str) -> None:
    async with (
        openai.AsyncOpenAI(base_url=f"{bandari.url}/v1", api_key=key) as client,
        client.responses.stream(model=MODEL, input=FRANCE, temperature=0) as stream,
    ):
        final = await stream.get_final_response()
    assert "Paris" in final.output_text


class Boat(BaseModel):
    name: str = Field(max_length=10)
    masts: int


def test_parse(sdk: openai.OpenAI) -> None:
    response = sdk.responses.parse(
        model=MODEL, input="Describe a boat.", text_format=Boat, max_output_tokens=300
    )
    assert isinstance(response.output_parsed, Boat)


def test_a_limit_makes_it_incomplete(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(
        model=MODEL, input="Tell me a long story.", max_output_tokens=16, temperature=0
    )
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage is not None
    assert response.usage.output_tokens == 16


def test_a_tool_that_must_be_called(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(
        model=MODEL,
        input="What is the weather in Nairobi?",
        tools=[WEATHER],
        tool_choice="required",
        temperature=0,
    )
    (call,) = response.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Nairobi"})
    assert call.call_id


def test_it_is_kept_and_deleted(bandari: Bandari, sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(model=MODEL, input=FRANCE, temperature=0)
    assert sdk.responses.retrieve(response.id).output_text == response.output_text
    (item,) = sdk.responses.input_items.list(response.id)
    assert item.type == "message"
    assert item.content[0].type == "input_text"
    assert item.content[0].text == FRANCE
    stranger = sdk.with_options(api_key=bandari.new_key("responses-stranger", 1))
    with pytest.raises(openai.NotFoundError):
        stranger.responses.retrieve(response.id)
    sdk.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(response.id)


def test_it_is_not_kept_unless_that_is_wanted(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(model=MODEL, input=FRANCE, temperature=0, store=False)
    assert response.store is False
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve(response.id)


def test_it_is_continued(acted: Stage, actor: openai.OpenAI) -> None:
    first = actor.responses.create(model=ACTED, input="What is the weather?", tools=[WEATHER])
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == list(CITIES)
    told = actor.responses.create(
        model=ACTED,
        previous_response_id=first.id,
        tools=[WEATHER],
        input=[
            {"type": "function_call_output", "call_id": call.call_id, "output": f"{city} is sunny"}
            for call, city in zip(calls, CITIES, strict=True)
        ],
    )
    assert told.output_text == "Nairobi is sunny and Kisumu is sunny."
    assert told.previous_response_id == first.id
    seen = acted.upstream.asked[-1]["messages"]
    assert [message["role"] for message in seen] == ["user", "assistant", "tool", "tool"]
    with pytest.raises(openai.APIStatusError) as missing:
        actor.responses.create(model=ACTED, input="x", previous_response_id="resp_none")
    assert missing.value.param == "previous_response_id"


def test_it_is_made_in_the_background(sdk: openai.OpenAI) -> None:
    response = sdk.responses.create(model=MODEL, input=FRANCE, temperature=0, background=True)
    assert response.background is True
    assert response.status in {"queued", "in_progress"}
    final = done(sdk, response)
    assert final.status == "completed"
    assert "Paris" in final.output_text
    assert final.usage is not None


def test_one_in_the_background_is_read_on(sdk: openai.OpenAI) -> None:
    with sdk.responses.create(
        model=MODEL, input=FRANCE, temperature=0, background=True, stream=True
    ) as stream:
        first = [event for event, _ in zip(stream, range(4), strict=False)]
    created = first[0]
    assert created.type == "response.created"
    rest = list(
        sdk.responses.retrieve(
            created.response.id, stream=True, starting_after=first[-1].sequence_number
        )
    )
    events = first + rest
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert "Paris" in text
    assert text == events[-1].response.output_text


def test_one_in_the_background_is_cancelled(acted: Stage, actor: openai.OpenAI) -> None:
    response = actor.responses.create(model=ACTED, input="go on for ever", background=True)
    wait_until(lambda: acted.upstream.asked, what="the provider's answer")
    assert actor.responses.cancel(response.id).status == "cancelled"
    assert actor.responses.retrieve(response.id).status == "cancelled"
    wait_until(lambda: acted.server.wallet("visitor")[1] == 0, what="the end of the hold")


def test_thoughts_are_items_of_their_own(actor: openai.OpenAI) -> None:
    with actor.responses.stream(model=ACTED, input="think") as stream:
        thought = "".join(
            event.delta
            for event in stream
            if event.type
            in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
        )
        final = stream.get_final_response()
    assert thought == THOUGHT
    assert [item.type for item in final.output] == ["reasoning", "message"]
    again = actor.responses.create(
        model=ACTED,
        store=False,
        input=[
            {"role": "user", "content": "think"},
            *(item.to_dict(exclude_none=True) for item in final.output),
            {"role": "user", "content": "think"},
        ],
    )
    assert again.output_text == "Forty-two."


def test_a_stream_that_breaks_is_an_error(actor: openai.OpenAI) -> None:
    with pytest.raises(openai.APIError) as broken:
        for _ in actor.responses.create(model=ACTED, input="break", stream=True):
            pass
    assert "out of memory" in broken.value.message


def test_errors_have_their_classes(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        sdk.responses.create(model=MODEL, input="x", temperature=3)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        sdk.responses.create(model="none", input="x")
    with pytest.raises(openai.NotFoundError):
        sdk.responses.retrieve("resp_none")
    with pytest.raises(openai.AuthenticationError):
        sdk.with_options(api_key="nonsense").responses.create(model=MODEL, input="x")
