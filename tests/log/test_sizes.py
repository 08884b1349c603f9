"""How large a record is, compared with the batches that a Kafka broker counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_center.log.kafka.options import MAX_RECORD_BYTES
from event_center.log.kafka.wanted import DEFAULT_BYTES, LARGEST_BATCH_BYTES
from event_center.model import Headers, size_of
from tests.log.batches import batch_bytes, counted_in_characters

AROUND = LARGEST_BATCH_BYTES - MAX_RECORD_BYTES
"""What a batch has beside its only record, at most."""
PARTS = st.binary() | st.none()
HEADERS = st.lists(st.tuples(st.text(), st.binary())).map(tuple)


@given(key=PARTS, value=PARTS, headers=HEADERS)
def test_no_batch_is_larger(key: bytes | None, value: bytes | None, headers: Headers) -> None:
    """Whatever the record is like, its size and the same for each batch are enough."""
    size = size_of(key, value, headers)
    assert batch_bytes(key, value, headers) <= size + AROUND
    if not headers:
        assert size == len(key or b"") + len(value or b"")


@pytest.mark.parametrize(
    "headers",
    [
        (("é" * 500_000, b""),),
        tuple((chr(97 + n % 26), b"") for n in range(340_000)),
        (("\U0010ffff" * 100_000, b"x" * 500_000),),
    ],
    ids=["a long name", "many names", "a name and its content"],
)
def test_large_headers(headers: Headers) -> None:
    """The same of large ones. The twin counts as before, in characters: such a batch is refused."""
    batch = batch_bytes(b"w-1", b"{}", headers)
    assert batch <= size_of(b"w-1", b"{}", headers) + AROUND
    assert batch > counted_in_characters(headers) + 5 + AROUND


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (None, MAX_RECORD_BYTES, ()),
        (MAX_RECORD_BYTES // 2, MAX_RECORD_BYTES // 2, ()),
        (1, MAX_RECORD_BYTES - 1 - 12, (("a", b"b"),)),
        (0, 0, (("a", b""),) * (MAX_RECORD_BYTES // 11)),
    ],
    ids=["a value", "a key", "a header", "headers"],
)
def test_the_largest_record(key: int | None, value: int, headers: Headers) -> None:
    """What is demanded of a topic is enough for it, and what brokers take by themselves is, too."""
    parts = (None if key is None else bytes(key), bytes(value), headers)
    assert MAX_RECORD_BYTES - 10 <= size_of(*parts) <= MAX_RECORD_BYTES
    assert batch_bytes(*parts) <= LARGEST_BATCH_BYTES <= DEFAULT_BYTES
    if not headers:  # the twin: a batch as large as its record has no room for it
        assert batch_bytes(*parts) > MAX_RECORD_BYTES
