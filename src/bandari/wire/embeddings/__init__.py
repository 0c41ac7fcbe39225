"""OpenAI's Embeddings, both ways, for whichever role we have.

``fields`` what may become of a request's fields; ``decode_request`` and ``encode_request``;
``decode_answer`` and ``encode_answer``; ``errors``. Source: the published API reference and the
openai-python package, which asks for base64 unless it is told otherwise.
"""

from typing import Final

PROTOCOL: Final = "embeddings"

STEP_BYTES: Final = 64 * 1024
"""How much of an answer is read or spelled in one step: well below a millisecond's work."""
