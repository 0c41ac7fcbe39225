"""The id of the request that is being served, for whoever logs on its behalf."""

from __future__ import annotations

from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
