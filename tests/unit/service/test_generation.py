"""One answer from its hold to its end: what is told, what is charged, and in which order."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.plain_encoder import PlainEncoder
from tests.support.samples import a_model, a_request
from tests.support.scripted_upstream import (
    Script,
    ScriptedUpstream,
    answer,
    counted,
    finish,
    text,
    usage,
)
from tests.support.small_house import SmallHouse, ended

from bandari.domain.catalogue import Target
from bandari.domain.estimate import Basis
from bandari.domain.events import FinishReason
from bandari.domain.faults import (
    ContextLengthExceeded,
    StoreUnavailable,
    UnsupportedField,
    UpstreamInterrupted,
    UpstreamOverloaded,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from bandari.domain.ledger import Count, Ending, RunningCount
from bandari.domain.usage import CountRule, Usage
from bandari.service.inference import Settings
from bandari.service.ports import HoldAlreadyEnded

THREE = a_model(targets=(Target("a", "a-1"), Target("b", "b-1", 1), Target("c", "c-1", 2)))


def upstream(*steps, **options) -> ScriptedUpstream:
    return ScriptedUpstream(Script(*steps), **options)


def house_with(*steps, **options) -> SmallHouse:
    return SmallHouse(upstream(*steps), **options)


@pytest.fixture(autouse=True, params=[True, False], ids=["taken", "asked for"])
def _both_ways(request, monkeypatch):
    """What an upstream says is given to the generation as it comes, or when it asks for it."""
    monkeypatch.setattr(ScriptedUpstream, "offers", request.param)


@pytest.fixture(autouse=True)
async def _nothing_left_behind():
    before = asyncio.all_tasks()
    unseen = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: unseen.append(told))
    yield
    await until_idle()
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}
    assert not unseen


# -- all goes well ---------------------------------------------------------------------------------


async def test_a_stream_in_order():
    house = house_with(text("Hi "), [text("there"), finish()], usage(10, 2))
    done = await house.answer(a_request())
    assert done.lines == ["text:Hi ", "text:there", "finish:0:stop", "end:12"]
    receipt = done.receipt
    assert (receipt.amount, receipt.usage, receipt.rule, receipt.ending) == (
        12,
        Usage(10, 2),
        CountRule.REPORTED,
        Ending.COMPLETED,
    )
    assert (receipt.target, receipt.finish_reason) == ("acme:acme-1", "stop")
    assert house.books.wallet().balance == 1_000_000 - 12
    assert house.books.wallet().held == 0


async def test_a_whole_answer_is_one_frame_at_the_end():
    house = house_with(*answer("Hi there"))
    done = await house.answer(a_request(stream=False))
    assert done.lines == ["end:Hi there:12"]
    assert done.generation.recording.frame_count == 1
    assert done.receipt.amount == 12


async def test_the_reasons_and_the_effort_are_on_the_receipt():
    house = house_with(text("x"), finish(FinishReason.LENGTH), usage(1, 1))
    done = await house.answer(a_request(reasoning_effort="high"))
    assert (done.receipt.finish_reason, done.receipt.reasoning_effort) == ("length", "high")


async def test_the_target_and_what_it_ignores_are_known_from_the_first_event_on():
    gate = Gate()
    house = SmallHouse(upstream(gate, text("a"), Gate(), ignored=("top_a",)))
    generation = await house.begin(a_request())
    await gate.reached.wait()
    assert (generation.target, generation.recording.about.ignored) == (None, ())
    gate.open()
    await generation.recording.reader().read()
    assert str(generation.target) == "acme:acme-1"
    assert generation.recording.about.ignored == ("top_a",)
    generation.stop(Ending.CLIENT_LEFT)
    await ended(generation, house.books)


async def test_nothing_final_leaves_before_the_charge_is_durable():
    house = house_with(*answer("Hi"))
    post = house.books.held_up("post")
    generation = await house.begin(a_request())
    await post.reached.wait()
    await until_idle()
    recording = generation.recording
    assert recording.bytes_from(0) == b"text:Hi\nfinish:0:stop\n"
    assert not recording.ended
    post.open()
    done = await ended(generation, house.books)
    assert done.lines[-1] == "end:12"


async def test_metrics_hear_of_the_start_the_first_token_and_the_end():
    house = SmallHouse(upstream())
    house.upstreams["acme"]._scripts = [Script(lambda: house.clock.pass_ms(250), *answer("Hi"))]
    await house.answer(a_request())
    assert house.metrics.told == [
        ("generation_started", "bandari-1"),
        ("first_token", "bandari-1", 0.25),
        ("generation_ended", "bandari-1", Ending.COMPLETED, Usage(10, 2)),
    ]


# -- falling back ----------------------------------------------------------------------------------


async def test_targets_are_tried_in_order_until_one_answers():
    house = SmallHouse(
        {
            "a": ScriptedUpstream(Script(entering=[UpstreamUnreachable()])),
            "b": upstream(UpstreamTimeout()),
            "c": upstream(*answer("Hi")),
        },
        model=THREE,
    )
    done = await house.answer(a_request())
    assert done.lines == ["text:Hi", "finish:0:stop", "end:12"]
    assert done.receipt.target == "c:c-1"
    assert [u.calls[0].model for u in house.upstreams.values()] == ["a-1", "b-1", "c-1"]
    assert house.metrics.of("upstream_failed") == [
        ("a", "upstream_unreachable"),
        ("b", "upstream_timeout"),
    ]


async def test_when_all_fail_the_last_fault_is_told_and_nothing_is_charged():
    house = SmallHouse(
        {
            "a": upstream(UpstreamUnreachable()),
            "b": upstream(UpstreamTimeout()),
            "c": upstream(UpstreamOverloaded(retry_after_ms=700)),
        },
        model=THREE,
    )
    done = await house.answer(a_request())
    assert done.was_voided
    assert done.receipt is None
    assert done.generation.recording.failed_early
    assert (done.problem.code, done.problem.retry_after_ms) == ("upstream_overloaded", 700)
    assert done.lines == ["problem:upstream_overloaded"]
    assert house.books.wallet().balance == house.books.wallet().free == 1_000_000


async def test_what_is_the_callers_fault_is_not_tried_elsewhere():
    house = SmallHouse(
        {
            "a": ScriptedUpstream(Script(entering=[ContextLengthExceeded()])),
            "b": upstream(*answer("Hi")),
            "c": upstream(*answer("Hi")),
        },
        model=THREE,
    )
    done = await house.answer(a_request())
    assert (done.problem.status, done.problem.code) == (400, "context_length_exceeded")
    assert done.was_voided
    assert not house.upstreams["b"].calls
    assert not house.metrics.of("upstream_failed")


async def test_what_one_protocol_has_no_words_for_another_may_have():
    lost = UnsupportedField("'logit_bias' cannot be carried.", param="logit_bias")
    refusing = [ScriptedUpstream(Script(entering=[lost])) for _ in range(3)]
    house = SmallHouse(
        {"a": refusing[0], "b": upstream(*answer("Hi")), "c": upstream(*answer("Hi"))}, model=THREE
    )
    done = await house.answer(a_request())
    assert done.receipt.target == "b:b-1"
    assert not house.metrics.of("upstream_failed")
    done = await SmallHouse(dict(zip("abc", refusing, strict=True)), model=THREE).answer(
        a_request()
    )
    assert (done.problem.status, done.problem.param) == (400, "logit_bias")
    assert done.was_voided


async def test_the_operator_is_told_why_and_the_client_is_not(caplog):
    unreachable = UpstreamUnreachable()
    unreachable.__cause__ = OSError("no address for llm.acme.example")
    done = await house_with(unreachable).answer(a_request(stream=False))
    assert "llm.acme.example" in caplog.records[0].detail
    assert done.problem is not None
    assert "llm.acme.example" not in done.problem.message


async def test_nothing_falls_back_after_the_first_event():
    house = SmallHouse(
        {
            "a": upstream(counted(0), UpstreamInterrupted()),
            "b": upstream(*answer("Hi")),
            "c": upstream(*answer("Hi")),
        },
        model=THREE,
    )
    done = await house.answer(a_request())
    assert done.problem.code == "upstream_interrupted"
    assert not house.upstreams["b"].calls


# -- the upstream fails ----------------------------------------------------------------------------


async def test_an_upstream_that_fails_in_the_middle_is_told_there_and_charged_until_there():
    house = house_with(text("Hi"), counted(4, prompt=9), UpstreamInterrupted())
    done = await house.answer(a_request())
    assert done.lines == ["text:Hi", "problem:upstream_interrupted"]
    assert not done.generation.recording.failed_early
    assert (done.receipt.amount, done.receipt.rule) == (13, CountRule.COUNTED)
    assert done.receipt.ending is Ending.UPSTREAM_FAILED
    assert done.receipt.finish_reason is None


async def test_a_whole_answer_that_the_upstream_lost_costs_nothing():
    house = house_with(text("Hi"), counted(4), UpstreamInterrupted())
    done = await house.answer(a_request(stream=False))
    assert done.was_voided
    assert done.generation.recording.failed_early
    assert (done.lines, done.problem.status) == ([], 502)


# -- the client leaves -----------------------------------------------------------------------------


async def test_a_client_that_leaves_before_anything_has_started_pays_nothing():
    house = house_with(*answer("Hi"))
    generation = await house.begin(a_request())
    generation.stop(Ending.CLIENT_LEFT)  # its task has not run yet
    done = await ended(generation, house.books)
    assert done.was_voided
    assert not house.upstreams["acme"].calls


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_while_it_waits_for_a_first_token_pays_nothing(stream):
    waiting = Gate()
    house = house_with(waiting, *answer("Hi"))
    generation = await house.begin(a_request(stream=stream))
    await waiting.reached.wait()
    generation.stop(Ending.CLIENT_LEFT)
    done = await ended(generation, house.books)
    assert done.was_voided
    assert house.upstreams["acme"].calls[0].left.is_set()


async def test_a_client_that_leaves_before_the_upstream_answers_pays_nothing():
    waiting = Gate()
    house = SmallHouse(ScriptedUpstream(Script(entering=[waiting])))
    generation = await house.begin(a_request())
    await waiting.reached.wait()
    generation.stop(Ending.CLIENT_LEFT)
    assert (await ended(generation, house.books)).was_voided
    assert house.upstreams["acme"].open_calls == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_in_the_middle_pays_what_was_generated(stream):
    waiting = Gate()
    house = house_with(text("Hi"), counted(4, prompt=9), waiting, *answer("there"))
    generation = await house.begin(a_request(stream=stream))
    await waiting.reached.wait()
    generation.stop(Ending.CLIENT_LEFT)
    generation.stop(Ending.SERVER_STOPPED)  # the first one is what happened
    done = await ended(generation, house.books)
    assert (done.receipt.amount, done.receipt.ending) == (13, Ending.CLIENT_LEFT)
    assert done.problem.code == "interrupted"
    call = house.upstreams["acme"].calls[0]
    assert call.left.is_set()
    assert not call.played_to_end


async def test_the_charge_of_a_stopped_answer_is_not_made_in_a_cancelled_task():
    """Else a timeout inside a store would be taken for a cancellation."""
    waiting = Gate()
    house = house_with(text("Hi"), waiting)
    cancellations = []
    post = house.books.post

    async def watched_post(charge):
        cancellations.append(asyncio.current_task().cancelling())
        return await post(charge)

    house.books.post = watched_post
    generation = await house.begin(a_request())
    await waiting.reached.wait()
    generation.stop(Ending.CLIENT_LEFT)
    await ended(generation, house.books)
    assert cancellations == [0]


async def test_leaving_while_the_answer_is_settled_changes_nothing():
    house = house_with(*answer("Hi"))
    post = house.books.held_up("post")
    generation = await house.begin(a_request())
    await post.reached.wait()
    generation.stop(Ending.CLIENT_LEFT)
    generation.stop(Ending.CLIENT_LEFT)
    post.open()
    done = await ended(generation, house.books)
    assert done.receipt.ending is Ending.COMPLETED
    assert done.lines[-1] == "end:12"
    generation.stop(Ending.CLIENT_LEFT)  # and afterwards neither
    assert done.generation.recording.problem is None


async def test_leaving_while_the_hold_is_voided_changes_nothing():
    house = house_with(UpstreamTimeout())
    void = house.books.held_up("void")
    generation = await house.begin(a_request())
    await void.reached.wait()
    generation.stop(Ending.CLIENT_LEFT)
    void.open()
    done = await ended(generation, house.books)
    assert done.was_voided
    assert done.problem.code == "upstream_timeout"


async def test_leaving_while_the_answer_waits_for_more_of_a_hold():
    house = house_with(text("x"), counted(2000), Gate(), balance=5000)
    extend = house.books.held_up("extend")
    generation = await house.begin(a_request())
    await extend.reached.wait()
    generation.stop(Ending.CLIENT_LEFT)
    await until_idle()
    extend.open()
    done = await ended(generation, house.books)
    assert (done.receipt.ending, done.receipt.amount) == (Ending.CLIENT_LEFT, 2010)
    assert house.books.wallet().held == 0


# -- money -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [StoreUnavailable(), HoldAlreadyEnded("rcpt"), OSError("disk")])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_cannot_be_charged_ends_as_an_error_and_never_as_a_success(
    fault, stream
):
    house = house_with(*answer("Hi"))
    house.books.failing["post"] = [fault]
    done = await house.answer(a_request(stream=stream))
    code = "store_unavailable" if isinstance(fault, StoreUnavailable) else "internal_error"
    expected = ["text:Hi", "finish:0:stop", f"problem:{code}"]
    assert done.lines == (expected if stream else [])
    assert done.problem.code == code
    assert done.receipt is None


async def test_a_hold_that_cannot_be_voided_stays_for_the_next_server():
    house = house_with(UpstreamTimeout())
    house.books.failing["void"] = [StoreUnavailable()]
    done = await house.answer(a_request())
    assert done.problem.code == "store_unavailable"
    assert len(house.books.holds) == 1


async def test_a_wallet_that_runs_out_ends_the_answer_with_length_charged_to_the_last_token():
    words = [(text("x"), counted(number, prompt=10)) for number in range(1, 3000)]
    house = house_with(*words, balance=4000)
    generation = await house.begin(a_request(max_tokens=4096))
    # Shortened, and the upstream was told so.
    assert generation.recording.about.max_tokens is not None
    assert house.upstreams["acme"].calls == []
    house.books.credit(1, "TOKEN", -house.books.wallet().free)  # somebody else spends the rest
    done = await ended(generation, house.books)
    assert done.receipt.ending is Ending.OUT_OF_BALANCE
    assert (done.receipt.finish_reason, done.receipt.overrun) == ("length", 0)
    assert done.lines[-1] == f"end:length:{done.receipt.amount}"
    assert done.receipt.usage.total_tokens == done.receipt.amount == 1124
    assert house.books.wallet().balance == house.books.wallet().free == 0
    assert done.problem is None
    assert house.upstreams["acme"].calls[0].left.is_set()


async def test_the_upstream_is_given_the_limit_that_the_balance_sets():
    house = house_with(*answer("Hi"), balance=150)
    done = await house.answer(a_request(max_tokens=500))
    assert done.generation.recording.about.max_tokens == 50
    assert house.upstreams["acme"].calls[0].request.sampling.max_tokens == 50


async def test_an_answer_that_finishes_with_its_last_token_is_complete():
    """The finish comes with the token that uses up the hold: nothing is cut."""
    house = house_with([text("x"), counted(50), finish()], usage(100, 50), balance=150)
    done = await house.answer(a_request(max_tokens=50))
    assert done.receipt.ending is Ending.COMPLETED
    assert house.books.wallet().balance == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_store_that_fails_in_the_middle_ends_the_answer_as_our_fault(stream):
    house = house_with(text("x"), counted(2000), *answer("y"))
    house.books.failing["extend"] = [StoreUnavailable()]
    done = await house.answer(a_request(stream=stream))
    assert done.problem.code == "store_unavailable"
    assert house.books.wallet().held == 0
    if stream:
        assert done.lines == ["text:x", "problem:store_unavailable"]
        assert (done.receipt.ending, done.receipt.amount) == (Ending.SERVER_STOPPED, 2010)
    else:
        assert done.was_voided
    assert not house.metrics.of("upstream_failed")


async def test_the_prompt_that_was_counted_for_the_hold_is_what_is_charged():
    scripted = upstream(text("abcd"), UpstreamInterrupted(), input_tokens=20)
    house = SmallHouse(scripted, balance=150)
    done = await house.answer(a_request(max_tokens=500))
    assert done.receipt.usage == Usage(20, 1)
    assert done.receipt.rule is CountRule.ESTIMATED


# -- bounds and defects ----------------------------------------------------------------------------


async def test_an_answer_larger_than_a_recording_is_broken_off_and_charged():
    house = house_with(
        text("x" * 80),
        counted(20),
        text("y" * 80),
        settings=Settings(max_recording_bytes=100),
    )
    done = await house.answer(a_request())
    assert done.lines == [f"text:{'x' * 80}", "problem:answer_too_large"]
    assert (done.receipt.ending, done.receipt.amount) == (Ending.TOO_LARGE, 30)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_defect_in_the_middle_still_ends_the_hold(stream, caplog):
    house = house_with(text("Hi"), counted(4, prompt=9), ZeroDivisionError("a defect"))
    done = await house.answer(a_request(stream=stream))
    assert house.books.wallet().held == 0
    assert "generation failed" in caplog.text
    assert "a defect" in caplog.text
    if stream:
        assert (done.receipt.ending, done.receipt.amount) == (Ending.SERVER_STOPPED, 13)
    else:
        assert done.was_voided
    assert done.problem.code == "internal_error"


@pytest.mark.parametrize("failing", ["events", "close"])
async def test_a_defect_of_the_encoder_still_ends_hold_and_recording(failing, caplog):
    house = house_with(*answer("Hi"))
    done = await house.answer(a_request(), encoder=PlainEncoder(failing=failing))
    assert house.books.wallet().held == 0
    assert f"a defect in {failing}" in caplog.text
    assert done.lines[-1] == "problem:internal_error"
    assert not any(line.startswith("end") for line in done.lines)


async def test_a_whole_answer_that_cannot_be_spelled_costs_nothing():
    house = house_with(*answer("Hi"))
    encoder = PlainEncoder(streams=False, failing="close")
    done = await house.answer(a_request(stream=False), encoder=encoder)
    assert done.was_voided
    assert done.problem.code == "internal_error"


async def test_a_problem_that_cannot_be_spelled_still_ends_the_recording(caplog):
    house = house_with(text("Hi"), UpstreamInterrupted())
    done = await house.answer(a_request(), encoder=PlainEncoder(failing="problem"))
    assert done.lines == ["text:Hi"]
    assert done.problem.code == "upstream_interrupted"
    assert "a defect in problem" in caplog.text


async def test_what_a_wallet_cannot_pay_is_told_to_the_operator():
    """A hidden template: the prompt is far larger than its bytes let expect."""
    house = house_with(text("Hi"), counted(1, prompt=1500), finish(), balance=1000)
    done = await house.answer(a_request(max_tokens=5))
    assert (done.receipt.amount, done.receipt.overrun) == (1000, 501)
    assert house.metrics.of("overrun") == [("TOKEN", 501)]
    assert house.books.wallet().balance == 0


# -- a ledger that cannot be written ---------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_hold_that_could_not_be_ended_is_ended_late(stream):
    house = house_with(*answer("Hi"))
    house.books.failing["post"] = [StoreUnavailable(), StoreUnavailable()]
    house.books.failing["void"] = [StoreUnavailable()]
    done = await house.answer(a_request(stream=stream))
    await until_idle()
    assert done.problem.code == "store_unavailable"
    assert house.books.wallet().held > 0
    with pytest.raises(StoreUnavailable):
        await house.inference.settle_late()
    assert house.books.wallet().held > 0
    await house.inference.settle_late()
    assert house.books.wallet().held == 0
    endings = [receipt.ending for receipt in house.books.receipts.values()]
    assert endings == ([Ending.SERVER_STOPPED] if stream else [])
    assert len(house.books.voided) == (0 if stream else 1)
    await house.inference.settle_late()


async def test_a_hold_that_had_ended_after_all_is_left_alone():
    house = house_with(*answer("Hi"))
    house.books.failing["post"] = [StoreUnavailable(), HoldAlreadyEnded()]
    await house.answer(a_request(stream=True))
    await until_idle()
    await house.inference.settle_late()
    await house.inference.settle_late()
    assert house.books.writes("post") == []


async def test_an_unstreamed_answer_has_no_running_count():
    """If it dies with its server, it is free, as when the server stops."""
    gate = Gate()
    house = house_with(text("Hi"), counted(1), gate, finish(), usage(10, 1))
    generation = await house.begin(a_request(stream=False))
    await gate.reached.wait()
    assert generation.progress() is None
    gate.open()
    await ended(generation, house.books)


async def test_a_report_at_the_end_needs_no_cover():
    """The wallet has not as much; but the answer was whole before its total was told."""
    house = SmallHouse(upstream(text("Hi"), finish(), usage(4_000, 4_000)), balance=1_500)
    done = await house.answer(a_request(max_tokens=100))
    assert (done.receipt.ending, done.receipt.usage) == (Ending.COMPLETED, Usage(4_000, 4_000))
    assert (done.receipt.amount, done.receipt.overrun) == (1_500, 6_500)
    assert house.books.writes("extend") == []


# -- tokens that nobody told -----------------------------------------------------------------------


def tokenizing(*steps, tokens: int | BaseException | None) -> SmallHouse:
    return SmallHouse(upstream(*steps, counts_text=True, text_tokens=tokens))


async def test_an_answer_without_usage_is_counted_by_a_target_that_can():
    house = tokenizing(text("Hello "), text("you"), finish(), tokens=2)
    house.upstreams["acme"].input_tokens = 30
    done = await house.answer(a_request())
    assert house.upstreams["acme"].texts == ["Hello you"]
    assert (done.receipt.usage, done.receipt.rule) == (Usage(30, 2), CountRule.COUNTED)
    assert done.lines[-1] == "end:32"


async def test_what_was_told_is_not_counted_again():
    house = tokenizing(*answer("Hi"), tokens=9)
    done = await house.answer(a_request())
    assert (house.upstreams["acme"].texts, done.receipt.rule) == ([], CountRule.REPORTED)


@pytest.mark.parametrize("failing", [None, RuntimeError("a defect")])
async def test_a_count_that_fails_leaves_an_estimate(failing, caplog):
    house = tokenizing(text("Hello you"), finish(), tokens=failing)
    done = await house.answer(a_request())
    assert (done.receipt.usage, done.receipt.rule) == (Usage(9, 3), CountRule.ESTIMATED)
    assert ("counting failed" in caplog.text) is (failing is not None)


async def test_an_upstream_that_failed_is_not_asked_to_count():
    house = tokenizing(text("Hello"), UpstreamInterrupted(), tokens=9)
    done = await house.answer(a_request())
    assert (house.upstreams["acme"].texts, done.receipt.rule) == ([], CountRule.ESTIMATED)


async def test_the_text_of_a_client_that_left_is_counted():
    gate = Gate()
    house = tokenizing(text("Hello"), gate, tokens=9)
    generation = await house.begin(a_request())
    await gate.reached.wait()
    generation.stop(Ending.CLIENT_LEFT)
    done = await ended(generation, house.books)
    assert done.receipt.usage.output_tokens == 9


async def test_reports_teach_what_estimates_go_by():
    told = answer("x" * 4_000, output=2_000)
    house = SmallHouse(ScriptedUpstream(Script(*told), Script(text("x" * 100), finish())))
    await house.answer(a_request())
    done = await house.answer(a_request())
    assert done.receipt.rule is CountRule.ESTIMATED
    assert done.receipt.basis.ratios.output == 375_000
    assert done.receipt.usage.output_tokens == 38


# -- beyond the limit ------------------------------------------------------------------------------


async def test_an_upstream_that_ignores_the_limit_is_ended_with_length():
    steps = [(text("a"), counted(number)) for number in range(1, 100)]
    house = house_with(*steps, finish(), usage(10, 99))
    done = await house.answer(a_request(max_tokens=20))
    assert done.lines[-1] == "end:length:47"
    assert (done.receipt.usage, done.receipt.rule) == (Usage(10, 37), CountRule.COUNTED)
    assert (done.receipt.ending, done.receipt.finish_reason) == (Ending.COMPLETED, "length")


async def test_what_may_be_short_tokens_is_given_more_room():
    """A provider that sends a character at a time: no limit is passed, whatever it looks like."""
    steps = [text("a")] * 300
    house = house_with(*steps, finish(), usage(10, 80))
    done = await house.answer(a_request(max_tokens=80))
    assert (done.receipt.usage, done.receipt.rule) == (Usage(10, 80), CountRule.REPORTED)
    house = house_with(*[text("abcd")] * 5_000, finish(), usage(10, 5_000))
    done = await house.answer(a_request(max_tokens=80))
    assert done.lines[-1].startswith("end:length:")
    assert done.receipt.usage.output_tokens == 80 * 4 + 1_024 + 16 + 1


# -- counts for the books --------------------------------------------------------------------------


async def test_a_count_is_told_once_for_each_time_it_moved():
    gates = [Gate(), Gate(), Gate()]
    house = house_with(
        gates[0], text("Hi"), counted(1), gates[1], counted(5), counted(6), gates[2], finish()
    )
    generation = await house.begin(a_request())
    written: list[RunningCount] = []

    async def write(counts):
        written.extend(counts)

    async def unwritten(_):
        raise StoreUnavailable

    write_counts = house.inference.write_counts
    await gates[0].reached.wait()
    await write_counts(write)
    assert written == []
    gates[0].open()
    await gates[1].reached.wait()
    with pytest.raises(StoreUnavailable):
        await write_counts(unwritten)
    await write_counts(write)
    assert written == [
        RunningCount(generation.receipt_id, Count(Usage(10, 1), CountRule.COUNTED, Basis(36, 0, 2)))
    ]
    await write_counts(write)
    assert len(written) == 1
    gates[1].open()
    await gates[2].reached.wait()
    await write_counts(write)
    assert [count.count.usage.output_tokens for count in written] == [1, 6]
    gates[2].open()
    await ended(generation, house.books)
    await until_idle()
    await write_counts(write)
    assert len(written) == 2
