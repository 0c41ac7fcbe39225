"""meetkai-mka1, the real package: its typed stream, its errors and its end users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from meetkai_mka1 import SDK
from meetkai_mka1.errors import SDKError
from tests.support.chat import MODEL, user
from tests.support.server import Bandari

# The package itself calls the stream deprecated, as the service's documentation does.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def sdk(bandari: Bandari, key: str) -> Iterator[SDK]:
    with SDK(bearer_auth=key, server_url=bandari.url, retry_config=None) as client:
        yield client


def streamed(sdk: SDK, **options: Any) -> list[Any]:
    fields = {"model": MODEL, "messages": user("What is the capital of France?"), "temperature": 0}
    with sdk.llm.chat.stream(**(fields | options)) as events:
        return list(events)


def test_stream(bandari: Bandari, sdk: SDK) -> None:
    *messages, done = streamed(sdk, x_on_behalf_of="mteja-9")
    chunks = [message.data for message in messages]
    assert "Paris" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert [int(message.id) for message in messages] == list(range(len(messages)))
    assert done.event == "done"
    receipt = bandari.receipt(chunks[0].id.replace("chatcmpl-", "rcpt_"))
    assert receipt["end_user"] == "mteja-9"


def test_an_error_before_the_stream_has_its_status(sdk: SDK) -> None:
    with pytest.raises(SDKError) as raised:
        streamed(sdk, model="none")
    assert raised.value.status_code == 404


def test_a_wrong_key(bandari: Bandari) -> None:
    with SDK(bearer_auth="x", server_url=bandari.url, retry_config=None) as stranger:
        with pytest.raises(SDKError) as raised:
            streamed(stranger)
        assert raised.value.status_code == 401
