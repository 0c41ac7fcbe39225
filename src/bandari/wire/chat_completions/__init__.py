"""OpenAI's Chat Completions, both ways, for whichever role we have.

``fields`` what may become of a request's fields; ``decode_request`` and ``encode_request``;
``decode_answer`` and ``encode_answer``; ``errors``; ``models``. Source: the published API reference
and the openai-python package's types.
"""

from typing import Final

PROTOCOL: Final = "chat_completions"

DONE: Final = b"[DONE]"
"""The data of a stream's last event."""
