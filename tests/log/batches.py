"""What a Kafka broker would count of a record, by the client's own batches."""

from __future__ import annotations

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from event_center.model import Headers


def batch_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """What a broker counts of a record that is alone in its batch."""
    builder = DefaultRecordBatchBuilder(2, 0, 1, 1, 1, 0, 900_000)
    assert builder.append(0, 1, key, value, list(headers)) is not None
    return len(builder.build())


def counted_in_characters(headers: Headers) -> int:
    """The bytes of headers for one who forgets what their names are written as, and that they end."""
    return sum(len(name) + len(content) for name, content in headers)
