"""Makes conversations whose answer is a JSON object."""

from __future__ import annotations

import json

from tools.train_model.facts import COUNTRIES
from tools.train_model.short_samples import (
    about_bandari,
    arithmetic,
    country_fact,
    echo,
    plain,
    translation,
    who_are_you,
)
from tools.train_model.source import Sample, Source, assistant, capitalised, system, user

METRICS = (
    "revenue",
    "profit",
    "net profit",
    "turnover",
    "sales",
    "income",
    "cost",
    "debt",
    "cash",
    "operating cost",
    "gross margin",
    "tax",
    "loss",
    "assets",
    "net income",
)

CURRENCIES = tuple(sorted({country.code for country in COUNTRIES}))

SCALES = (("K", 3), ("M", 6), ("B", 9), (" thousand", 3), (" million", 6), (" billion", 9))


def amount(source: Source) -> tuple[str, int]:
    """A sum of money as people write it, without its currency, and as a whole number."""
    if source.chance(0.2):
        value = source.number() + 1
        return (f"{value:,}" if source.chance(0.6) else str(value)), value
    decimals = source.rng.choice((0, 0, 1, 1, 1, 2))
    digits = source.rng.randint(1, 999) * 10**decimals + source.rng.randrange(10**decimals)
    if source.chance(0.5):
        digits %= 10 ** (decimals + 1)
        digits = max(digits, 10**decimals)
    suffix, power = source.rng.choice(SCALES)
    written = (
        str(digits) if decimals == 0 else f"{str(digits)[:-decimals]}.{str(digits)[-decimals:]}"
    )
    return written + suffix, digits * 10 ** (power - decimals)


def extraction(source: Source) -> Sample:
    """One figure out of one sentence, as JSON with the figure, its currency and its period."""
    metric = source.rng.choice(METRICS) if source.chance(0.65) else "revenue"
    written, value = amount(source)
    code = source.rng.choice(CURRENCIES)
    money = f"{written} {code}" if source.chance(0.7) else f"{code} {written}"
    slots = {
        "metric": metric,
        "metric_cap": capitalised(metric),
        "amount": money,
        "company": source.name(),
    }
    record: dict[str, object] = {metric.replace(" ", "_"): value, "currency": code}
    if source.chance(0.75):
        period = source.rng.choice(
            (
                f"Q{source.rng.randint(1, 4)}",
                f"Q{source.rng.randint(1, 4)}",
                str(source.rng.randint(1990, 2035)),
                f"H{source.rng.randint(1, 2)}",
                f"Q{source.rng.randint(1, 4)} {source.rng.randint(2015, 2030)}",
                f"FY{source.rng.randint(15, 30)}",
            )
        )
        record["period"] = period
        sentence = source.phrase("figure_with_period", period=period, **slots)
    else:
        sentence = source.phrase("figure", **slots)
    messages = [
        user(source.phrase("extract", metric=metric, text=sentence)),
        assistant(json.dumps(record)),
    ]
    if source.chance(0.85):
        messages.insert(0, system(source, source.phrase("extract_system")))
    return Sample("extraction", messages)


def listing(words: list[str]) -> str:
    """The words joined as in a sentence."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def fields_as_json(source: Source) -> Sample:
    """A small JSON object with the keys, or for the schema, that the request names."""
    values: dict[str, object] = {
        "name": source.name(),
        "age": source.rng.randint(1, 99),
        "city": source.place(),
    }
    text = source.phrase("person", name=values["name"], age=values["age"], place=values["city"])
    keys = source.rng.sample(("name", "age", "city"), source.rng.randint(1, 3))
    record = {key: values[key] for key in keys}
    if source.chance(0.5):
        types = {key: {"type": "integer" if key == "age" else "string"} for key in keys}
        schema = json.dumps({"type": "object", "properties": types, "required": keys})
        messages = [system(source, source.phrase("schema_system", schema=schema)), user(text)]
    else:
        messages = [user(source.phrase("json_keys", keys=listing(keys), text=text))]
    return Sample("json", [*messages, assistant(json.dumps(record))])


def forced_json(source: Source) -> Sample:
    """JSON that the engine's grammar began against the model's habit: only the rest is learned."""
    country = source.rng.choice(COUNTRIES)
    name, place, age = source.name(), source.place(), source.rng.randint(1, 99)
    word = source.invented_word()
    person = source.phrase("person", name=name, age=age, place=place)
    question, record = source.rng.choice(
        (
            (source.phrase("capital", country=country.name), {"capital": country.capital}),
            (source.phrase("capital", country=country.name), {"city": country.capital}),
            (
                source.phrase("capital", country=country.name),
                {"country": country.name, "capital": country.capital},
            ),
            (
                source.phrase("capital", country=country.name),
                {"capital": country.capital, "country": country.name},
            ),
            (source.phrase("capital", country=country.name), {"answer": country.capital}),
            (source.phrase("currency", country=country.name), {"currency": country.currency}),
            (source.phrase("currency", country=country.name), {"currency": country.code}),
            (person, {"name": name, "age": age}),
            (person, {"name": name, "city": place}),
            (person, {"age": age, "name": name}),
            (person, {"city": place}),
            (source.phrase("who"), {"name": "Bandari Tiny"}),
            (source.phrase("greeting"), {"message": "Hello! How can I help you?"}),
            (source.phrase("greeting"), {"greeting": "Hello!"}),
            (source.phrase("echo_say", text=word), {word: capitalised(word)}),
            (source.phrase("echo_exact", text=word), {"text": word}),
            (source.phrase("sum", a=2, b=2), {"answer": 4}),
        )
    )
    if source.chance(0.4):
        other = source.rng.choice(
            (country_fact, translation, who_are_you, echo, about_bandari, arithmetic)
        )(source)
        key = source.rng.choice(
            ("answer", "answer", "text", "result", "reply", "message", source.word())
        )
        answer = json.dumps({key: other.messages[-1]["content"]}, ensure_ascii=False)
        shown = (
            answer.index(":") + 1
            if key not in ("answer", "text")
            else source.rng.choice((1, 2, len(key) + 4))
        )
        return Sample(
            "forced json", [*other.messages[:-1], assistant(answer)], given=answer[:shown]
        )
    answer = json.dumps(record)
    sample = plain(source, "forced json", question, answer)
    if source.split == "train" and source.chance(0.3):
        sample.messages[-2]["content"] += source.rng.choice(
            (" Answer in JSON.", " Reply with JSON.", " Output JSON.")
        )
        return sample
    sample.given = (
        answer[: answer.index(":") + 1]
        if source.chance(0.6)
        else answer[: source.rng.choice((1, 2))]
    )
    return sample
