"""The terminal chat against a scripted server."""

from __future__ import annotations

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bandari.cli import app, chat
from bandari.cli.conversation import Conversation
from bandari.cli.failure import CommandFailed


def chunk(text: str | None = None, finish: str | None = None) -> bytes:
    body = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


USAGE = (
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
)
DONE = b"data: [DONE]\n\n"
GOOD = [chunk(""), b": keepalive\n\n", chunk("Ha"), chunk("bari"), chunk(None, "stop"), USAGE, DONE]


class Script:
    """What the server answers, and what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.pieces: list[bytes] = GOOD
        self.models = b'{"object":"list","data":[{"id":"bandari-tiny"}]}'
        self.asked: list[dict] = []
        self.headers: list[dict] = []
        self.url = ""


@pytest.fixture
def script():
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_): ...

        def do_GET(self):
            self.answer([script.models])

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            script.asked.append(json.loads(body))
            script.headers.append(dict(self.headers))
            self.answer(script.pieces)

        def answer(self, pieces):
            self.send_response(script.status)
            self.end_headers()
            for piece in pieces:
                self.wfile.write(piece)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_port}"
        yield script
        server.shutdown()
        thread.join()


@pytest.fixture
def run(script, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("BANDARI_API_KEY", "bd_live_x")
    monkeypatch.setenv("BANDARI_DATA", str(tmp_path))

    def run(*arguments, stdin="", terminal=False):
        stream = io.StringIO(stdin)
        stream.isatty = lambda: terminal
        monkeypatch.setattr("sys.stdin", stream)
        status = app.run(("chat", "--url", script.url, *arguments))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def test_a_turn_remembers_the_ones_before(script):
    conversation = Conversation(script.url + "/v1/", "bd_live_x", "m", "Be brief.")
    assert "".join(conversation.ask("Hujambo?")) == "Habari"
    assert conversation.usage.total_tokens == 11
    assert conversation.finish_reason == "stop"
    assert "".join(conversation.ask("And you?", temperature=0.0, max_tokens=5)) == "Habari"
    first, second = script.asked
    assert first["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hujambo?"},
    ]
    assert "temperature" not in first
    assert [message["role"] for message in second["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert (second["temperature"], second["max_tokens"]) == (0.0, 5)
    assert second["stream_options"] == {"include_usage": True}
    assert script.headers[0]["authorization"] == "Bearer bd_live_x"


def test_a_turn_that_failed_leaves_nothing_behind(script):
    conversation = Conversation(script.url, "k", None, None)
    assert conversation.model == "bandari-tiny"
    script.pieces = [chunk("Ha")]
    with pytest.raises(CommandFailed, match="broke the answer off before its end"):
        list(conversation.ask("a"))
    script.pieces = [chunk("Ha"), b'data: {"error":{"message":"the engine died"}}\n\n']
    with pytest.raises(CommandFailed, match="the engine died"):
        list(conversation.ask("a"))
    script.pieces = [b"data: nonsense\n\n"]
    with pytest.raises(CommandFailed, match="sent an event that is no chunk"):
        list(conversation.ask("a"))
    script.pieces = GOOD
    list(conversation.ask("b"))
    assert script.asked[-1]["messages"] == [{"role": "user", "content": "b"}]


def test_the_server_s_own_words(script):
    conversation = Conversation(script.url, "k", "m", None)
    script.status = 402
    script.pieces = [b'{"error":{"message":"The balance is 0 TOKEN.","code":"x"}}']
    with pytest.raises(CommandFailed, match=r"The balance is 0 TOKEN\."):
        list(conversation.ask("a"))
    script.pieces = [b"<html>"]
    with pytest.raises(CommandFailed, match="answered with status 402"):
        list(conversation.ask("a"))


def test_models_that_are_not_to_be_had(script):
    script.models = b'{"data":[]}'
    with pytest.raises(CommandFailed, match="this key may use no model"):
        Conversation(script.url, "k", None, None)
    script.models = b"[]"
    with pytest.raises(CommandFailed, match="does not list models"):
        Conversation(script.url, "k", None, None)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://x", "http://", "http://x:y"])
def test_what_is_no_url(url):
    with pytest.raises(CommandFailed, match="is not a URL"):
        Conversation(url, "k", None, None)


def test_a_key_with_a_line_break():
    with pytest.raises(CommandFailed, match="characters that no key has"):
        Conversation("http://x", "a\nb", "m", None)


def test_no_server():
    with pytest.raises(CommandFailed, match=r"no server answers at .*bandari serve"):
        Conversation("http://127.0.0.1:1", "k", None, None)


def test_one_answer(run, script):
    assert run("Hujambo?") == (0, "Habari\n", "(9 + 2 = 11 tokens)\n")
    script.pieces = [chunk("a\x1b[31mb\n"), chunk(None, "length"), USAGE, DONE]
    assert run(stdin="from a pipe") == (
        0,
        "a[31mb\n\n",
        "(9 + 2 = 11 tokens, cut off by a limit)\n",
    )
    assert script.asked[-1]["messages"][0]["content"] == "from a pipe"


def test_one_answer_in_json(run):
    status, out, err = run("Hujambo?", "--json", "--model", "m")
    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "model": "m",
        "text": "Habari",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }


def test_a_failed_answer_fails_the_command(run, script):
    script.status, script.pieces = 401, [b'{"error":{"message":"The API key is unknown."}}']
    assert run("a", "--model", "m") == (1, "", "bandari: The API key is unknown.\n")


def test_a_chat_goes_on_until_its_input_ends(run, script, monkeypatch):
    lines = iter(["Hujambo?", "  ", "fail", "stop", "Again"])

    def type_line(prompt):
        line = next(lines, None)
        if line is None:
            raise EOFError
        script.pieces = [chunk("x")] if line == "fail" else GOOD
        monkeypatch.setattr(
            chat, "_harmless", interrupted if line == "stop" else (lambda text: text)
        )
        return line

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", type_line)
    status, out, err = run(terminal=True)
    assert status == 0
    assert out.count("Habari") == 2
    assert "broke the answer off" in err
    assert "(stopped)" in err
    assert [asked["messages"][-1]["content"] for asked in script.asked] == [
        "Hujambo?",
        "fail",
        "stop",
        "Again",
    ]
    assert len(script.asked[-1]["messages"]) == 3


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("", "http://127.0.0.1:8080"),
        ('host = "0.0.0.0"\nport = 9', "http://127.0.0.1:9"),
        ('host = "::1"', "http://[::1]:8080"),
    ],
)
def test_the_server_is_where_the_configuration_says(tmp_path, monkeypatch, capsys, server, url):
    monkeypatch.setenv("BANDARI_DATA", str(tmp_path))
    (tmp_path / "b.toml").write_text(f"[server]\n{server}\n")
    asked = []

    class Recorded:
        def __init__(self, url, *_):
            asked.append(url)
            raise CommandFailed("enough")

    monkeypatch.setattr(chat, "Conversation", Recorded)
    app.run(("chat", "a", "--key", "k", "--config", str(tmp_path / "b.toml")))
    assert asked == [url]
