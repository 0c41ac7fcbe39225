"""Whole answers under load: wrk drives one gateway, and says what it measured as JSON.

wrk asks again as soon as it is answered, on every connection: the rate is what the gateway can do,
and the latency is that of a saturated server.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from tools.bench.processes import environment, pinned, tail
from tools.bench.question import Question

TIMEOUT_S = 60

_SCRIPT = """\
wrk.method = "POST"
wrk.path = {path}
{headers}
local file = io.open({body}, "rb")
wrk.body = file:read("*a")
file:close()
{turns}
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'MEASURED {{"seconds": %.6f, "requests": %d, "connect": %d, "read": %d, "write": %d, ' ..
    '"status": %d, "timeout": %d, "p50_us": %.1f, "p99_us": %.1f, "max_us": %.1f}}\\n',
    summary.duration / 1e6, summary.requests, errors.connect, errors.read, errors.write,
    errors.status, errors.timeout, latency:percentile(50), latency:percentile(99), latency.max))
end
"""

_TURNS = """\
local requests, turn = {{}}, 0
init = function(arguments)
  for key in io.lines({keys}) do
    wrk.headers["authorization"] = "Bearer " .. key
    requests[#requests + 1] = wrk.format()
  end
end
request = function()
  turn = turn % #requests + 1
  return requests[turn]
end
"""


class LoadFailed(Exception):
    """Not every request was answered well."""


class NoneCame(LoadFailed):
    """There was no answer within the time, and no error either."""


def drive(
    question: Question, connections: int, seconds: float, core: int, folder: Path
) -> dict[str, float]:
    """Ask for that long. Returns ``requests_per_s``, ``requests``, ``p50_ms`` and ``p99_ms``.

    Raises ``LoadFailed`` if a single answer was an error or never came.
    """
    script = folder / "wrk.lua"
    (folder / "body.json").write_bytes(question.body)
    (folder / "keys").write_text("".join(f"{key}\n" for key in question.keys))
    script.write_text(_script(question, folder))
    parts = urlsplit(question.url)
    command = [
        *("wrk", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{max(round(seconds), 1)}s", "--timeout", f"{TIMEOUT_S}s"),
        *("--script", str(script), f"{parts.scheme}://{parts.netloc}"),
    ]
    done = subprocess.run(
        pinned(core, command),
        capture_output=True,
        text=True,
        env=environment({}),
        timeout=seconds + 2 * TIMEOUT_S,
        check=False,
    )
    return parse(done.stdout + done.stderr)


def parse(output: str) -> dict[str, float]:
    """The figures in what wrk wrote, under our script. Raises ``LoadFailed``."""
    found = re.search(r"^MEASURED (\{.*\})$", output, re.MULTILINE)
    if found is None:
        raise LoadFailed(f"wrk: {tail(output)}")
    measured = json.loads(found[1])
    errors = {
        "answers that were not 2xx or 3xx": measured["status"],
        "connections that failed": measured["connect"],
        "reads that failed": measured["read"],
        "writes that failed": measured["write"],
        f"answers that took over {TIMEOUT_S} s": measured["timeout"],
    }
    said = [f"{count} {what}" for what, count in errors.items() if count]
    if said:
        raise LoadFailed(f"beside {measured['requests']} answers: {', '.join(said)}")
    if not measured["requests"]:
        raise NoneCame("no answer came")
    return {
        "requests": measured["requests"],
        "requests_per_s": measured["requests"] / measured["seconds"],
        "p50_ms": measured["p50_us"] / 1000,
        "p99_ms": measured["p99_us"] / 1000,
    }


def _script(question: Question, folder: Path) -> str:
    quoted = {"path": json.dumps(urlsplit(question.url).path)}
    lines = [
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}"
        for name, value in question.all_headers().items()
    ]
    several = len(question.keys) > 1
    turns = _TURNS.format(keys=json.dumps(str(folder / "keys"))) if several else ""
    return _SCRIPT.format(
        path=quoted["path"],
        headers="\n".join(lines),
        body=json.dumps(str(folder / "body.json")),
        turns=turns,
    )
