"""OpenAI's Responses: one codec for both roles, ``POST /v1/responses`` here and at upstreams.

Facts: protocols.md, section 4.
"""

from typing import Final

PROTOCOL: Final = "responses"
