"""Anthropic's Messages: one codec for both roles, ``POST /v1/messages`` here and at upstreams.

Facts: protocols.md, section 3.
"""

from typing import Final

PROTOCOL: Final = "messages"

VERSION: Final = "2023-06-01"
"""What ``anthropic-version`` says."""
