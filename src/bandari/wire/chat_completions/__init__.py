"""OpenAI's Chat Completions, both ways: ``request``, ``answer`` (whole and streamed), ``errors``.

Source: the published API reference and the openai-python package's types.
"""

PROTOCOL = "chat_completions"
