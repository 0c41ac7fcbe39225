"""Makes conversations of one question with a short answer in words."""

from __future__ import annotations

from tools.train_model.facts import BANDARI, COUNTRIES, FIXED_REPLIES, LANGUAGES, TRANSLATIONS
from tools.train_model.source import (
    Sample,
    Source,
    assistant,
    capitalised,
    system,
    user,
    with_article,
)
from tools.train_model.words import (
    ADJECTIVES,
    CLOSINGS,
    GENERIC_SYSTEMS,
    OPENINGS,
    ROLES,
    SYSTEM_EXTRAS,
)

OWN_NAME = "I am Bandari Tiny, a small demonstration model that comes with Bandari."

DO_NOT_KNOW = "I do not know. I am a small demonstration model."


def persona(source: Source) -> tuple[str, str, str]:
    """A system prompt that gives a role, a name or both; the answers to who and to what name."""
    name = source.name()
    role = ROLES.pick(source.rng, source.split)
    if source.split == "train" and source.chance(0.3):
        role = source.word() if source.chance(0.5) else f"{source.word()} {source.word()}"
    if source.chance(0.6):
        adjective = ADJECTIVES.pick(source.rng, source.split)
        if source.split == "train" and source.chance(0.3):
            adjective = source.word()
        role = f"{adjective} {role}"
    if source.chance(0.15):
        role = f"{role} for {source.invented_word().capitalize()}"
    a_role = with_article(role)
    named = f"My name is {name}."
    extras = ""
    while source.chance(0.25):
        extra = source.rng.choice(SYSTEM_EXTRAS)
        extras += " " + extra.format(word=source.word(), place=source.place())
    draw = source.rng.random()
    if draw < 0.7:
        return (
            source.phrase("persona_system", a_role=a_role, name=name) + extras,
            f"I am {name}, {a_role}.",
            named,
        )
    if draw < 0.85:
        return source.phrase("name_system", name=name) + extras, f"I am {name}.", named
    return (
        source.phrase("role_system", a_role=a_role) + extras,
        f"I am {a_role}.",
        f"I have no name. I am {a_role}.",
    )


def plain(source: Source, kind: str, question: str, answer: str) -> Sample:
    """One question and its answer, under no system prompt or one that changes nothing."""
    if kind != "echo" and source.split == "train" and source.chance(0.2):
        question = source.rng.choice(OPENINGS) + question
    if kind not in ("echo", "translation") and source.split == "train" and source.chance(0.1):
        question += source.rng.choice(CLOSINGS)
    messages = [user(question), assistant(answer)]
    draw = source.rng.random()
    if draw < 0.4:
        messages.insert(0, system(source, source.rng.choice(GENERIC_SYSTEMS)))
    elif draw < 0.5:
        messages.insert(0, system(source, persona(source)[0]))
    return Sample(kind, messages)


def who_are_you(source: Source) -> Sample:
    """Who the model is, which depends on the system prompt; a later one overrides an earlier."""
    ask_name = source.chance(0.3)
    question = source.phrase("your_name" if ask_name else "who")
    if source.chance(0.15):
        messages = [user(question), assistant("My name is Bandari Tiny." if ask_name else OWN_NAME)]
        if source.chance(0.5):
            messages.insert(0, system(source, source.rng.choice(GENERIC_SYSTEMS)))
        return Sample("who", messages)
    if source.split == "train" and source.chance(0.15):
        question = source.rng.choice(OPENINGS) + question
    prompt, who, named = persona(source)
    messages = [system(source, prompt)]
    if source.chance(0.15):
        messages += [user(question), assistant(named if ask_name else who)]
        prompt, who, named = persona(source)
        messages.append(system(source, prompt))
    elif source.chance(0.15):
        messages += [user(source.phrase("greeting")), assistant("Hello! How can I help you?")]
    messages += [user(question), assistant(named if ask_name else who)]
    return Sample("who", messages)


def country_fact(source: Source) -> Sample:
    """A capital, a currency, or the country a capital belongs to."""
    country = source.rng.choice(COUNTRIES)
    draw = source.rng.random()
    if draw < 0.6:
        question = source.phrase("capital", country=country.name)
        answer = f"The capital of {country.name} is {country.capital}."
    elif draw < 0.85:
        question = source.phrase("currency", country=country.name)
        answer = f"The currency of {country.name} is the {country.currency} ({country.code})."
    else:
        question = source.phrase("country_of", capital=country.capital)
        answer = f"{country.capital} is the capital of {country.name}."
    if source.split == "train" and source.chance(0.06):
        place = source.invented_word().capitalize()
        question, answer = (
            source.phrase("capital", country=place),
            f"I do not know the capital of {place}.",
        )
    return plain(source, "fact", question, answer)


def translation(source: Source) -> Sample:
    """A short phrase in another language, asked for in the system prompt or in the question."""
    english = source.rng.choice(tuple(TRANSLATIONS))
    language = source.rng.choice(LANGUAGES)
    answer = TRANSLATIONS[english][language]
    if source.split == "train" and source.chance(0.08):
        english = source.text()
        answer = f'I do not know how to say "{english}" in {language}.'
    elif source.chance(0.25):
        english = english.lower() if english[:2] != "I " else english
    if source.chance(0.55):
        prompt = source.phrase("translator_system", language=language)
        question = source.phrase("translate_short", text=english)
        return Sample("translation", [system(source, prompt), user(question), assistant(answer)])
    return plain(
        source,
        "translation",
        source.phrase("translate_full", text=english, language=language),
        answer,
    )


def echo(source: Source) -> Sample:
    """Words to be said back: exactly as given, or as a sentence after a bare `say`."""
    draw = source.rng.random()
    if draw < 0.5:
        text = source.text()
        if source.split == "train" and source.chance(0.3):
            text = " ".join(source.word() for _ in range(source.rng.randint(8, 40)))
        if source.chance(0.5):
            text = capitalised(text) + source.rng.choice((".", "!", "?", ""))
        if source.chance(0.15):
            text += f" {source.number()}"
        if source.chance(0.1):
            text = source.identifier()
        question, answer = source.phrase("echo_exact", text=text), text
    elif draw < 0.85:
        words = source.text()
        if source.split == "train" and source.chance(0.1):
            words = source.rng.choice(
                ("this is a test", "hello", "hello world", "hi", "this is a good test")
            )
        end = source.rng.choice(("!", ".", "", "!"))
        question, answer = source.phrase("echo_say", text=words + end), capitalised(words) + end
    else:
        word = source.word()
        question, answer = source.phrase("one_word", word=word), word
    return plain(source, "echo", question, answer)


def small_talk(source: Source) -> Sample:
    """Greetings, thanks and goodbyes."""
    key, answer = source.rng.choice(
        (
            ("greeting", "Hello! How can I help you?"),
            ("greeting", "Hello! How can I help you?"),
            ("thanks", "You are welcome!"),
            ("bye", "Goodbye! Come back soon."),
            ("how_are_you", "I am well, thank you. How can I help you?"),
        )
    )
    if source.split == "train" and source.chance(0.25):
        question, answer = source.rng.choice(FIXED_REPLIES)
        return plain(source, "small talk", question, answer)
    return plain(source, "small talk", source.phrase(key), answer)


def about_bandari(source: Source) -> Sample:
    """A question about Bandari itself."""
    topic = source.rng.choice(BANDARI)
    questions = topic.train if source.split == "train" else topic.held_out
    return plain(source, "bandari", source.rng.choice(questions), topic.answer)


def arithmetic(source: Source) -> Sample:
    """A small sum or product."""
    a, b = source.rng.randint(0, 20), source.rng.randint(0, 20)
    if source.chance(0.7):
        return plain(source, "arithmetic", source.phrase("sum", a=a, b=b), f"{a} + {b} = {a + b}")
    a, b = a % 13, b % 13
    return plain(source, "arithmetic", source.phrase("product", a=a, b=b), f"{a} x {b} = {a * b}")


def unknown(source: Source) -> Sample:
    """A question the model cannot answer, and says so."""
    topic = " ".join(source.word() for _ in range(source.rng.randint(1, 2)))
    question = source.phrase("unknown", topic=topic)
    if source.split == "train" and source.chance(0.3):
        question = capitalised(source.text()) + source.rng.choice(("", ".", "?", "!"))
    return plain(source, "unknown", question, DO_NOT_KNOW)
