"""What the tests of the client room share."""

from __future__ import annotations

import pytest

from tests.client.shelf import Shelf


@pytest.fixture
def shelf() -> Shelf:
    """A log in memory, empty."""
    return Shelf()
