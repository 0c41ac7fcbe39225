"""A client and the web's part in serving it: ``web/chat.py`` without HTTP.

Writes into its story only what a client could see. Runs as a task of the server's process, so that
it ends with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.simulation.encoder import PIECE, SimulatedEncoder
from tests.simulation.servers import Server
from tests.simulation.story import Story

from bandari.domain.faults import Fault
from bandari.domain.ledger import Ending
from bandari.domain.outcome import Deny
from bandari.service.generation import Generation
from bandari.service.inference import Opening
from bandari.service.ports import FrameEncoder, HoldAlreadyEnded

SawEnd = Callable[[Story], None]
"""Is told in the instant in which a client reads the last frames of a good answer."""


async def ask(server: Server, story: Story, saw_end: SawEnd) -> None:
    """Ask, and read until the answer, the client's patience or the server ends."""
    server.stories[story.number] = story
    story.server = server.name
    loop = asyncio.get_running_loop()
    asked_at = loop.time()

    def make_encoder(opening: Opening) -> FrameEncoder:
        story.hold_id = f"rcpt_{opening.id}"
        return SimulatedEncoder(streams=story.request.stream)

    giving_up: asyncio.TimerHandle | None = None
    if story.given_up_after_s is not None:
        task = asyncio.current_task()
        assert task is not None
        giving_up = loop.call_later(story.given_up_after_s, task.cancel)
    try:
        begun = await server.inference.begin(story.principal, story.request, make_encoder)
    except asyncio.CancelledError:
        if server.process.alive:
            _close(server, story, "refused", "cancelled")
        raise
    except HoldAlreadyEnded:
        _close(server, story, "refused", "hold_already_ended")
        return
    except Fault as fault:
        _close(server, story, "refused", fault.code)
        return
    finally:
        if giving_up is not None:
            giving_up.cancel()
    if isinstance(begun, Deny):
        _close(server, story, "denied", begun.reason.value)
        return
    assert isinstance(begun, Generation), "there is no cache here"
    assert begun.receipt_id == story.hold_id
    story.shortened_to = begun.recording.about.max_tokens
    leaving: asyncio.TimerHandle | None = None
    if story.leaves_after_s is not None:
        leaving = loop.call_at(asked_at + story.leaves_after_s, _leave, begun, story)
    try:
        await _read(begun, story, saw_end)
    finally:
        if leaving is not None:
            leaving.cancel()
    if story.left:
        _close(server, story, "left")
    elif begun.recording.problem is not None:
        story.told_free = begun.is_free
        _close(server, story, "problem", begun.recording.problem.code)
    else:
        _close(server, story, "completed")


def _leave(generation: Generation, story: Story) -> None:
    story.left = True
    generation.stop(Ending.CLIENT_LEFT)


async def _read(generation: Generation, story: Story, saw_end: SawEnd) -> None:
    reader = generation.recording.reader()
    while True:
        frames = await reader.read()
        if story.left or not frames:
            return
        story.saw_text = story.saw_text or PIECE in frames
        _, has_ended, end = frames.partition(b"END ")
        if has_ended:
            first, second = end.split(b" ")
            story.end_usage = (int(first), int(second))
            saw_end(story)
        if story.pause_s:
            await asyncio.sleep(story.pause_s)


def _close(server: Server, story: Story, outcome: str, code: str = "") -> None:
    del server.stories[story.number]
    story.outcome, story.code = outcome, code
