"""meetkai-mka1, the real package: whole answers, Responses, models and embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from meetkai_mka1 import SDK, models
from meetkai_mka1.errors import SDKError
from tests.support.chat import MODEL, user
from tests.support.repertoire import CITIES, THOUGHT, act
from tests.support.server import Bandari, wait_until
from tests.support.stage import ACTED, Stage, stage

# The package itself calls some of these deprecated, as the service's documentation does.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FRANCE = "What is the capital of France?"
# Without ``strict`` the package takes a function for a hosted tool and sends nothing but its type.
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("mka1") / "data", act) as acted:
        yield acted


@pytest.fixture
def sdk(bandari: Bandari, key: str) -> Iterator[SDK]:
    with SDK(bearer_auth=key, server_url=bandari.url, retry_config=None) as client:
        yield client


@pytest.fixture
def actor(acted: Stage) -> Iterator[SDK]:
    with SDK(bearer_auth=acted.key, server_url=acted.server.url, retry_config=None) as client:
        yield client


def events_of(stream: Any) -> list[Any]:
    with stream as events:
        return [event.data for event in events]


def test_whole_chat_completion(bandari: Bandari, sdk: SDK) -> None:
    answer = sdk.llm.chat.create_chat(
        model=MODEL, messages=user(FRANCE), temperature=0, x_on_behalf_of="mteja-10"
    )
    assert isinstance(answer, models.OpenAIChatCompletion)
    assert "Paris" in str(answer.choices[0].message.content)
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    receipt = bandari.receipt(answer.id.replace("chatcmpl-", "rcpt_"))
    assert receipt["end_user"] == "mteja-10"


def test_whole_response(sdk: SDK) -> None:
    response = sdk.llm.responses.create(model=MODEL, input=FRANCE, temperature=0)
    assert isinstance(response, models.ResponseObject)
    assert response.status == "completed"
    assert response.completed_at is not None
    (message,) = response.output
    assert "Paris" in message.content[0].text
    assert response.usage.total_tokens > 0
    assert sdk.llm.responses.get(response_id=response.id).output == response.output
    assert sdk.llm.responses.delete(response_id=response.id).deleted
    with pytest.raises(SDKError) as missing:
        sdk.llm.responses.get(response_id=response.id)
    assert missing.value.status_code == 404


def test_streamed_response(sdk: SDK) -> None:
    events = events_of(
        sdk.llm.responses.create(model=MODEL, input=FRANCE, temperature=0, stream=True)
    )
    assert not [event for event in events if getattr(event, "is_unknown", False)]
    assert isinstance(events[0], models.ResponseCreatedEvent)
    assert isinstance(events[-1], models.ResponseCompletedEvent)
    text = "".join(
        event.delta for event in events if isinstance(event, models.ResponseOutputTextDeltaEvent)
    )
    assert "Paris" in text
    assert events[-1].response.output[0].content[0].text == text


def test_streamed_response_with_thoughts_and_tools(actor: SDK) -> None:
    thinking = events_of(actor.llm.responses.create(model=ACTED, input="think", stream=True))
    calling = events_of(
        actor.llm.responses.create(
            model=ACTED, input="What is the weather?", tools=[WEATHER], stream=True
        )
    )
    assert not [event.raw for event in thinking + calling if getattr(event, "is_unknown", False)]
    thought = "".join(
        event.delta
        for event in thinking
        if event.type in {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
    )
    assert thought == THOUGHT
    calls = [item for item in calling[-1].response.output if item.type == "function_call"]
    assert [call.arguments for call in calls] == [f'{{"city": "{city}"}}' for city in CITIES]
    told = actor.llm.responses.create(
        model=ACTED,
        previous_response_id=calling[-1].response.id,
        tools=[WEATHER],
        input=[
            {"type": "function_call_output", "call_id": call.call_id, "output": f"{city} is sunny"}
            for call, city in zip(calls, CITIES, strict=True)
        ],
    )
    assert told.output[0].content[0].text == "Nairobi is sunny and Kisumu is sunny."


def test_a_stream_that_breaks_ends_with_an_error_event(actor: SDK) -> None:
    seen: list[Any] = []
    stream = actor.llm.responses.create(model=ACTED, input="break", stream=True)
    # What follows the event is an aborted connection, so that nobody takes the answer for whole.
    with pytest.raises(Exception, match=r"incomplete|peer closed"), stream as events:
        seen.extend(event.data for event in events)
    assert {"error", "response.failed"} & {event.type for event in seen}


def test_response_in_the_background(sdk: SDK) -> None:
    response = sdk.llm.responses.create(model=MODEL, input=FRANCE, temperature=0, background=True)
    assert response.status in {"queued", "in_progress"}

    def is_completed() -> bool:
        return sdk.llm.responses.get(response_id=response.id).status == "completed"

    wait_until(is_completed, what="the end of the response")


def test_models_have_every_field_of_the_catalogue(sdk: SDK) -> None:
    listed = sdk.llm.models.list()
    (model,) = listed.data
    assert (model.id, model.model_type) == (MODEL, "llm")
    assert (model.input_modalities, model.output_modalities) == (["text"], ["text"])
    assert model.context_window
    assert model.lifecycle.status == "active"
    assert model.capabilities.supports_temperature
    one = sdk.llm.models.get(model_id=MODEL)
    assert one.model_dump() == model.model_dump()
    with pytest.raises(SDKError) as missing:
        sdk.llm.models.get(model_id="none")
    assert missing.value.status_code == 404
