from __future__ import annotations

from pathlib import Path

import pytest

from bandari.adapters.engine.errors import ModelTooBig
from bandari.adapters.engine.memory import available_bytes, check_fits, needed_bytes
from bandari.adapters.engine.model_file import ModelFacts

GIB = 1 << 30
# 2 GiB of weights; 32 layers of 1024 numbers: 64 KiB per token
FACTS = ModelFacts(2 * GIB, "llama", 131_072, (1024,) * 32, 0)


def test_needed_is_weights_and_every_slots_cache() -> None:
    assert needed_bytes(FACTS, 8192, 4) == 2 * GIB + 4 * 8192 * 65_536


def test_what_fits_exactly_is_accepted() -> None:
    check_fits(FACTS, 8192, 4, 4 * GIB)


def test_one_byte_too_much_is_refused_with_both_numbers() -> None:
    with pytest.raises(ModelTooBig) as caught:
        check_fits(FACTS, 8192, 4, 4 * GIB - 1)
    message = str(caught.value)
    assert "needs 4.00 GiB" in message
    assert "2.00 GiB weights" in message
    assert "but 4.00 GiB is available" in message
    assert "\n" not in message


def test_unknown_memory_refuses_nothing() -> None:
    check_fits(FACTS, 8192, 4, None)


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal:       24683000 kB\nMemAvailable:    1000 kB\nSwapTotal: 0 kB\n")
    return path


def cgroup(tmp_path: Path, limit: str, used: int, droppable: int) -> Path:
    root = tmp_path / "cgroup"
    root.mkdir()
    (root / "memory.max").write_text(f"{limit}\n")
    (root / "memory.current").write_text(f"{used}\n")
    (root / "memory.stat").write_text(f"anon 1\ninactive_file {droppable}\nactive_file 5\n")
    return root


def test_available_is_what_the_kernel_says(meminfo: Path, tmp_path: Path) -> None:
    assert available_bytes(meminfo, tmp_path / "none") == 1000 * 1024


def test_a_container_limit_counts_if_it_is_lower(meminfo: Path, tmp_path: Path) -> None:
    assert available_bytes(meminfo, cgroup(tmp_path, "500000", 200_000, 50_000)) == 350_000


def test_a_container_without_limit_changes_nothing(meminfo: Path, tmp_path: Path) -> None:
    assert available_bytes(meminfo, cgroup(tmp_path, "max", 200_000, 50_000)) == 1000 * 1024


def test_a_container_over_its_limit_has_nothing_left(meminfo: Path, tmp_path: Path) -> None:
    assert available_bytes(meminfo, cgroup(tmp_path, "1000", 5000, 0)) == 0


def test_without_proc_physical_memory_is_the_answer(tmp_path: Path) -> None:
    available = available_bytes(tmp_path / "none", tmp_path / "none")
    assert available is None or available > 1 << 20
