"""Tools the model may be offered, requests that call for them, and what they answer.

Half of the tools are of familiar kinds (weather, exchange rates, payments) under several names;
half are invented on the spot, so that the model learns to read the definition it is given.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools.train_model.facts import COUNTRIES, LANGUAGES

if TYPE_CHECKING:
    from tools.train_model.source import Source

Message = dict[str, Any]
Arguments = dict[str, Any]


@dataclass
class Tool:
    """A tool definition with one request for it.

    `request` is what the user says and `again` is how a second use is asked for in the same breath;
    `result` is what the tool returns and `answer` what the assistant makes of it.
    """

    definition: dict[str, Any]
    request: str
    arguments: Arguments
    result: str
    answer: str

    @property
    def name(self) -> str:
        """The name by which the model calls the tool."""
        return str(self.definition["function"]["name"])


def define(
    source: Source, name: str, description: str, kinds: dict[str, str], required: list[str]
) -> dict[str, Any]:
    """A tool definition in the OpenAI form, with details left out at random, as people do."""
    properties: dict[str, Any] = {}
    for parameter, kind in kinds.items():
        properties[parameter] = {"type": kind}
        if source.chance(0.3):
            properties[parameter]["description"] = f"The {parameter.replace('_', ' ')}"
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if source.chance(0.8):
        parameters["required"] = required
    function: dict[str, Any] = {"name": name}
    if source.chance(0.8):
        function["description"] = description
    function["parameters"] = parameters
    return {"type": "function", "function": function}


def weather(source: Source) -> Tool:
    """The weather in a place."""
    place, key = source.place(), source.rng.choice(("city", "location", "place"))
    name = source.rng.choice(
        ("get_weather", "get_current_weather", "weather", "fetch_weather", "get_forecast")
    )
    kinds = {key: "string"}
    unit = source.chance(0.25)
    if unit:
        kinds["unit"] = "string"
    asked_unit = source.rng.choice(("celsius", "fahrenheit")) if unit and source.chance(0.5) else ""
    definition = define(source, name, "Get the current weather for a city", kinds, [key])
    if unit:
        definition["function"]["parameters"]["properties"]["unit"]["enum"] = [
            "celsius",
            "fahrenheit",
        ]
    request = source.phrase("ask_weather", place=place)
    arguments: Arguments = {key: place}
    if asked_unit:
        request += f" Use {asked_unit}."
        arguments["unit"] = asked_unit
    sky, degrees = (
        source.rng.choice(("sunny", "cloudy", "rainy", "windy", "clear", "hot")),
        source.rng.randint(-5, 40),
    )
    first, second = source.rng.choice(
        (("temperature", "condition"), ("temp", "sky"), ("temperature", "description"))
    )
    result = source.rng.choice(
        (
            json.dumps({first: degrees, second: sky}),
            json.dumps({second: sky, first: degrees}),
            json.dumps({key: place, first: degrees, second: sky}),
        )
    )
    answer = f"The weather in {place} is {sky}, at {degrees} degrees."
    if source.chance(0.3):
        result = source.rng.choice(
            (f"{sky}, {degrees} degrees", f"{degrees} degrees and {sky}", f"{sky}, {degrees}C")
        )
    elif source.chance(0.2):
        result = json.dumps({first: degrees})
        answer = f"It is {degrees} degrees in {place}."
    return Tool(definition, request, arguments, result, answer)


def exchange_rate(source: Source) -> Tool:
    """The rate between two currencies."""
    base, quote = (country.code for country in source.rng.sample(COUNTRIES, 2))
    name = source.rng.choice(("get_exchange_rate", "exchange_rate", "get_rate", "fx_rate"))
    first, second = source.rng.choice(
        (("from", "to"), ("base", "quote"), ("from_currency", "to_currency"))
    )
    definition = define(
        source,
        name,
        "Get the exchange rate between two currencies",
        {first: "string", second: "string"},
        [first, second],
    )
    rate = source.rng.randint(1, 99999) / 100
    request = source.phrase("ask_rate", a=base, b=quote)
    return Tool(
        definition,
        request,
        {first: base, second: quote},
        json.dumps({"rate": rate}),
        f"One {base} is {rate} {quote}.",
    )


def payment(source: Source) -> Tool:
    """Sending money to a person."""
    name, who, sum_of_money = (
        source.rng.choice(("send_money", "pay", "transfer", "send_payment")),
        source.name(),
        source.number() + 1,
    )
    key = source.rng.choice(("recipient", "to", "name"))
    definition = define(
        source,
        name,
        "Send money to a person",
        {key: "string", "amount": "integer"},
        [key, "amount"],
    )
    request = source.phrase("ask_payment", n=sum_of_money, who=who)
    result = source.rng.choice(('{"status": "ok"}', '{"ok": true}', '{"status": "sent"}', "done"))
    return Tool(
        definition,
        request,
        {key: who, "amount": sum_of_money},
        result,
        f"I sent {sum_of_money} to {who}.",
    )


def add_numbers(source: Source) -> Tool:
    """Arithmetic that is left to a tool."""
    name, verb = source.rng.choice(
        (("add", "Add"), ("add_numbers", "Add"), ("sum", "Add"), ("multiply", "Multiply"))
    )
    definition = define(
        source, name, f"{verb} two numbers", {"a": "integer", "b": "integer"}, ["a", "b"]
    )
    a, b = source.number(), source.number()
    value = a * b if verb == "Multiply" else a + b
    phrasings = {
        "Add": (
            "Add {a} and {b}.",
            "What is {a} + {b}?",
            "What is {a} plus {b}?",
            "How much is {a} plus {b}?",
        ),
        "Multiply": ("Multiply {a} and {b}.", "What is {a} times {b}?", "What is {a} * {b}?"),
    }[verb]
    request = source.rng.choice(phrasings).format(a=a, b=b)
    result = source.rng.choice((str(value), json.dumps({"result": value})))
    return Tool(definition, request, {"a": a, "b": b}, result, f"The result is {value}.")


def search(source: Source) -> Tool:
    """A search for a few words."""
    name = source.rng.choice(("search", "web_search", "search_docs", "find"))
    definition = define(source, name, "Search for a text", {"query": "string"}, ["query"])
    query = source.text()
    found = source.text()
    result = source.rng.choice((found, json.dumps({"result": found})))
    return Tool(
        definition,
        source.phrase("ask_search", q=query),
        {"query": query},
        result,
        f"I found this: {found}",
    )


def balance(source: Source) -> Tool:
    """The balance of an account."""
    name = source.rng.choice(("get_balance", "check_balance", "lookup_account", "get_account"))
    key = source.rng.choice(("account", "account_id", "id"))
    definition = define(source, name, "Get the balance of an account", {key: "string"}, [key])
    account, code = source.identifier(), source.rng.choice(COUNTRIES).code
    value = source.number()
    result = json.dumps({"balance": value, "currency": code})
    request = source.phrase("ask_balance", x=account)
    return Tool(
        definition, request, {key: account}, result, f"The balance of {account} is {value} {code}."
    )


def time_in(source: Source) -> Tool:
    """The time in a place."""
    place, key = source.place(), source.rng.choice(("city", "timezone", "place"))
    definition = define(
        source,
        source.rng.choice(("get_time", "current_time", "get_current_time")),
        "Get the time",
        {key: "string"},
        [key],
    )
    clock = f"{source.rng.randint(0, 23):02}:{source.rng.randint(0, 59):02}"
    result = source.rng.choice((clock, json.dumps({"time": clock})))
    request = source.phrase("ask_time", place=place)
    return Tool(definition, request, {key: place}, result, f"It is {clock} in {place}.")


def translate(source: Source) -> Tool:
    """Translation that is left to a tool."""
    definition = define(
        source,
        "translate",
        "Translate a text",
        {"text": "string", "language": "string"},
        ["text", "language"],
    )
    text, language, found = source.text(), source.rng.choice(LANGUAGES), source.text()
    request = source.rng.choice(("Translate {t} to {l}.", 'Translate "{t}" into {l}.')).format(
        t=text, l=language
    )
    return Tool(
        definition, request, {"text": text, "language": language}, found, f"The result is {found}"
    )


def invented(source: Source) -> Tool:
    """A tool nobody has seen before, called by its name with the values the user gives."""
    verbs = (
        "get",
        "set",
        "make",
        "find",
        "book",
        "open",
        "close",
        "send",
        "list",
        "delete",
        "create",
        "update",
    )
    name = f"{source.rng.choice(verbs)}_{source.word()}"
    keys = list(dict.fromkeys(source.word() for _ in range(source.rng.randint(1, 3))))
    kinds = {key: source.rng.choice(("string", "string", "integer")) for key in keys}
    arguments: Arguments = {
        key: source.number() if kind == "integer" else source.word() for key, kind in kinds.items()
    }
    joiner = source.rng.choice((" set to ", " ", " = ", "=", ": "))
    given = " and ".join(f"{key}{joiner}{value}" for key, value in arguments.items())
    found = source.text() if source.chance(0.6) else str(source.number())
    request = source.phrase("call", tool=name, arguments=given)
    result = source.rng.choice((found, json.dumps({"result": found})))
    definition = define(source, name, name.replace("_", " ").capitalize(), kinds, keys)
    return Tool(definition, request, arguments, result, f"The result is {found}")


FAMILIAR: tuple[Callable[[Source], Tool], ...] = (
    weather,
    weather,
    exchange_rate,
    payment,
    add_numbers,
    search,
    balance,
    time_in,
    translate,
)


def draw(source: Source) -> Tool:
    """A familiar tool, or one time in three an invented one."""
    return invented(source) if source.chance(0.35) else source.rng.choice(FAMILIAR)(source)


def call_message(calls: list[Tool]) -> Message:
    """The assistant turn that calls these tools."""
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": f"call_{i}",
                "type": "function",
                "function": {"name": tool.name, "arguments": tool.arguments},
            }
            for i, tool in enumerate(calls)
        ],
    }


def tool_message(tool: Tool, index: int) -> Message:
    """The turn in which a tool answers."""
    return {"role": "tool", "tool_call_id": f"call_{index}", "content": tool.result}


def two_calls(source: Source) -> tuple[list[Message], list[dict[str, Any]]]:
    """Two uses of one tool asked for in one request."""
    maker = source.rng.choice((weather, time_in, balance))
    first = maker(source)
    key, value = next(iter(first.arguments.items()))
    other = source.identifier() if maker is balance else source.place()
    request = first.request.replace(str(value), f"{value} and {other}")
    digits = "".join(source.rng.sample("123456789", 9))
    change = str.maketrans("123456789", digits)
    result, answer = (
        other.join(part.translate(change) for part in text.split(str(value)))
        for text in (first.result, first.answer)
    )
    second = Tool(first.definition, request, {**first.arguments, key: other}, result, answer)
    messages: list[Message] = [{"role": "user", "content": request}, call_message([first, second])]
    if source.chance(0.4):
        messages += [tool_message(first, 0), tool_message(second, 1)]
        messages.append({"role": "assistant", "content": f"{first.answer} {second.answer}"})
    return messages, [first.definition]


def conversation(source: Source) -> tuple[list[Message], list[dict[str, Any]]]:
    """A request and its tool call, often with the result and the answer made from it."""
    if source.chance(0.12):
        return two_calls(source)
    tool = draw(source)
    offered = {tool.name: tool.definition}
    for _ in range(source.rng.choice((0, 0, 1, 1, 2))):
        other = draw(source)
        offered.setdefault(other.name, other.definition)
    definitions = list(offered.values())
    source.rng.shuffle(definitions)
    messages: list[Message] = [{"role": "user", "content": tool.request}, call_message([tool])]
    if source.chance(0.55):
        messages += [tool_message(tool, 0), {"role": "assistant", "content": tool.answer}]
        if source.chance(0.15):
            messages += [
                {"role": "user", "content": "Thank you!"},
                {"role": "assistant", "content": "You are welcome!"},
            ]
    return messages, definitions
