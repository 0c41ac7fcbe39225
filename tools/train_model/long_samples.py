"""Makes long conversations: several turns, much text before the question, or a long answer."""

from __future__ import annotations

from tools.train_model.long_texts import LONG_TEXTS
from tools.train_model.short_samples import (
    DO_NOT_KNOW,
    about_bandari,
    arithmetic,
    country_fact,
    echo,
    plain,
    small_talk,
    translation,
    who_are_you,
)
from tools.train_model.source import Message, Sample, Source, assistant, capitalised, system, user
from tools.train_model.words import GENERIC_SYSTEMS


def memory(source: Source) -> Sample:
    """Something said earlier in the conversation, asked for later."""
    filler: list[Message] = []
    for _ in range(source.rng.choice((0, 0, 1, 1, 2))):
        aside = source.rng.choice((country_fact, small_talk, echo))(source).messages
        filler += [message for message in aside if message["role"] in ("user", "assistant")]
    draw = source.rng.random()
    if draw < 0.6:
        name = source.name()
        told = [
            user(source.phrase("tell_name", name=name)),
            assistant(f"Nice to meet you, {name}!"),
        ]
        asked = [user(source.phrase("ask_name")), assistant(f"Your name is {name}.")]
        if source.chance(0.12):
            told = [system(source, f"The user's name is {name}.")]
        elif source.chance(0.08):
            told, asked[1] = [], assistant("You have not told me your name yet.")
    elif draw < 0.8:
        kind = source.rng.choice(
            ("colour", "fruit", "animal", "food", "song", "city", "word", "number")
        )
        word = str(source.rng.randint(1, 999)) if kind == "number" else source.word()
        told = [
            user(source.phrase("tell_favourite", kind=kind, word=word)),
            assistant("I will remember that."),
        ]
        asked = [
            user(source.phrase("ask_favourite", kind=kind)),
            assistant(f"Your favourite {kind} is {word}."),
        ]
    else:
        kind = source.rng.choice(("code", "password", "word", "number", "PIN"))
        word = (
            str(source.number())
            if kind in ("number", "PIN")
            else source.rng.choice((source.word(), source.identifier()))
        )
        told = [
            user(source.phrase("secret", kind=kind, word=word)),
            assistant("I will remember that."),
        ]
        asked = [user(source.phrase("ask_secret", kind=kind)), assistant(f"The {kind} is {word}.")]
    messages = [*told, *filler, *asked]
    if source.chance(0.3):
        messages.insert(0, system(source, source.rng.choice(GENERIC_SYSTEMS)))
    elif source.chance(0.1):
        messages.insert(len(told), system(source, source.rng.choice(GENERIC_SYSTEMS)))
    return Sample("memory", messages)


def chain(source: Source) -> Sample:
    """Several unrelated questions in one conversation."""
    messages: list[Message] = []
    makers = (country_fact, small_talk, echo, about_bandari, translation, arithmetic)
    while len(messages) < 2 * source.rng.randint(2, 4):
        part = source.rng.choice(makers)(source).messages
        if part[0]["role"] == "user":
            messages += part
    return Sample("chain", messages)


def long_context(source: Source) -> Sample:
    """A question that comes after a great deal of text with nothing in it."""
    text = capitalised(" ".join(source.word() for _ in range(source.rng.randint(80, 400))))
    asked = source.rng.choice((country_fact, who_are_you, echo, memory, small_talk))(
        source
    ).messages
    start = 1 if asked[0]["role"] in ("system", "developer") else 0
    return Sample(
        "long context", [*asked[:start], user(text), assistant(DO_NOT_KNOW), *asked[start:]]
    )


def long_answer(source: Source) -> Sample:
    """A story, an essay or an explanation of a few hundred words."""
    text = source.rng.choice(LONG_TEXTS)
    question = source.rng.choice(text.train if source.split == "train" else text.held_out)
    return plain(source, "long", question, source.rng.choice(text.answers))


def counting(source: Source) -> Sample:
    """The whole numbers from one to another."""
    first = 1 if source.chance(0.6) else source.rng.randint(1, 90)
    last = 100 if source.chance(0.15) else min(first + source.rng.randint(2, 45), 120)
    numbers = ", ".join(str(number) for number in range(first, last + 1))
    return plain(source, "counting", source.phrase("count", a=first, b=last), numbers)
