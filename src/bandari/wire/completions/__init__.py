"""OpenAI's legacy Completions, for our clients: a conversation of one message, in the old words.

``fields`` what may become of a request's fields; ``decode_request`` makes one of Chat Completions
of it; ``encode_answer``. Errors are those of Chat Completions. Source: the published API reference
and the openai-python package's types.

A prompt goes through the model's chat template, as the one message of a user: most providers know
no other way, and a model that was made for chats answers best there.
"""

from typing import Final

PROTOCOL: Final = "completions"
