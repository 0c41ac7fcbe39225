"""What one protocol cannot say of another's request, refused in one and the same way.

The field is named as the client wrote it, where its place is known; else by the request's word.
"""

from __future__ import annotations

from bandari.domain.chat import OtherPart, OtherTool
from bandari.domain.faults import UnsupportedField


def cannot_carry(name: str) -> UnsupportedField:
    return UnsupportedField(f"'{name}' cannot be carried to this model's provider.", param=name)


def cannot_carry_part(part: OtherPart) -> UnsupportedField:
    return UnsupportedField(
        f"'{part.where}' is of type '{part.kind}', which cannot be carried to this model's "
        "provider.",
        param=part.where,
    )


def cannot_carry_tool(tool: OtherTool) -> UnsupportedField:
    return UnsupportedField(
        f"'{tool.where}' is a tool that cannot be carried to this model's provider: only functions "
        "can.",
        param=tool.where,
    )
