"""``docs/configuration.md`` names every key with its default, and its example can be used."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from msgspec import NODEFAULT, Struct, structs

from bandari.config import Cache, Engine, Provider, Responses, Server, Streams, load
from bandari.config.values import (
    RESUME_WINDOWS_S,
    GroupTable,
    ModelTable,
    PriceTable,
    StoreTable,
    TargetTable,
    TopTable,
)
from bandari.domain.allowance import Limits
from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import Defaults

TEXT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()

SECTIONS: dict[str, tuple[type[Struct], ...]] = {
    "The keys above the first table": (TopTable,),
    "`[server]`": (Server,),
    "`[engine]`": (Engine,),
    "`[responses]`": (Responses,),
    "`[streams]`": (Streams,),
    "`[cache]`": (Cache,),
    "`[store]`": (StoreTable,),
    "`[providers.NAME]`": (Provider,),
    '`[models."ID"]`': (ModelTable, TargetTable, Defaults, Bounds, PriceTable),
    "`[groups.NAME]`": (GroupTable,),
    "Limits": (Limits,),
}


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("title", SECTIONS)
def test_every_key_is_named_in_its_section(title):
    text = section(title)
    for kind in SECTIONS[title]:
        for item in structs.fields(kind):
            if (kind, item.name) != (Provider, "name"):
                assert f"`{item.name}`" in text, f"{kind.__name__}.{item.name}"


@pytest.mark.parametrize("kind", [TopTable, Server, Engine, Responses, Streams, Cache, Provider])
def test_every_default_is_the_one_that_is_told(kind):
    (text,) = (section(title) for title, kinds in SECTIONS.items() if kind in kinds)
    for item in structs.fields(kind):
        if item.default is NODEFAULT or item.default is None:
            continue
        told = json.dumps(item.default)
        row = next(line for line in text.splitlines() if line.startswith(f"| `{item.name}`"))
        assert f"| `{told}` |" in row, row


def test_the_window_of_every_surface_is_told():
    row = next(
        line
        for line in section("`[streams]`").splitlines()
        if line.startswith("| `resume_window_s`")
    )
    assert all(f"`{surface}`" in row for surface in RESUME_WINDOWS_S)
    told = {surface: window_s for surface, window_s in RESUME_WINDOWS_S.items() if window_s}
    assert [f"{{ {surface} = {window_s} }}" in row for surface, window_s in told.items()] == [True]


def test_the_example_can_be_used(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", section("A whole example"), re.DOTALL)
    file = tmp_path / "bandari.toml"
    file.write_text(example)
    settings = load(file, environ={"HOME": str(tmp_path), "ACME_KEY": "k"})
    assert set(settings.groups) == {"default", "trial", "partner"}
