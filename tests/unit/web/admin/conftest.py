from __future__ import annotations

import pytest
from tests.support.operated_house import OperatedHouse


@pytest.fixture
async def house():
    """With an operator of each role, and the account ``amina`` with 1,000 tokens."""
    return await OperatedHouse().furnished()
