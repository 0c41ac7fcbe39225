"""Embeddings for openai-python, LangChain and meetkai-mka1, the real packages."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from meetkai_mka1 import SDK
from tests.support.acting_upstream import vector
from tests.support.repertoire import act
from tests.support.stage import ACTED, EMBEDDED, Stage, stage

TEXTS = ["one", "three"]
VECTORS = [vector(text) for text in TEXTS]


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("embeddings") / "data", act) as acted:
        yield acted


@pytest.fixture
def sdk(acted: Stage) -> Iterator[openai.OpenAI]:
    url, key = f"{acted.server.url}/v1", acted.key
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        yield client


def test_openai_in_either_form(acted: Stage, sdk: openai.OpenAI) -> None:
    balance, _ = acted.server.wallet("visitor")
    answer = sdk.embeddings.create(model=EMBEDDED, input=TEXTS)
    floats = sdk.embeddings.create(model=EMBEDDED, input=TEXTS, encoding_format="float")
    assert [entry.embedding for entry in answer.data] == VECTORS
    assert [entry.embedding for entry in floats.data] == VECTORS
    assert [entry.index for entry in answer.data] == [0, 1]
    assert answer.usage.total_tokens == 2
    assert acted.server.wallet("visitor") == (balance - 4, 0)


def test_a_model_that_writes_does_not_embed(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        sdk.embeddings.create(model=ACTED, input="one")
    assert wrong.value.param == "model"
    with pytest.raises(openai.BadRequestError) as other:
        sdk.chat.completions.create(model=EMBEDDED, messages=[{"role": "user", "content": "x"}])
    assert other.value.param == "model"


def test_langchain(acted: Stage) -> None:
    embeddings = OpenAIEmbeddings(
        model=EMBEDDED,
        base_url=f"{acted.server.url}/v1",
        api_key=acted.key,
        check_embedding_ctx_length=False,  # it would fetch a tokenizer
    )
    assert embeddings.embed_documents(TEXTS) == VECTORS
    assert embeddings.embed_query("one") == VECTORS[0]


def test_mka1(acted: Stage) -> None:
    with SDK(bearer_auth=acted.key, server_url=acted.server.url, retry_config=None) as sdk:
        answer = sdk.llm.embeddings.embed(model=EMBEDDED, input=TEXTS)
    assert [entry.embedding for entry in answer.data] == VECTORS
