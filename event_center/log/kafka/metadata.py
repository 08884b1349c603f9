"""
One request that aiokafka does not know: the topics of the cluster with their ids.

A topic's id tells a topic from another one that was made later under the same name; aiokafka's own
metadata request is too old to carry it. Promises only the bytes of Kafka's Metadata request,
version 10. `catalog.py` sends it.
"""

from __future__ import annotations

import uuid
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)


class Uuid(AbstractType[str]):  # type: ignore[misc]  # aiokafka has no types
    """Sixteen bytes."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        """As bytes."""
        return uuid.UUID(value).bytes

    @classmethod
    def decode(cls, data: BytesIO) -> str:
        """As text."""
        return str(uuid.UUID(bytes=data.read(16)))


class TopicsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    """Brokers, and topics with their partitions."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class TopicsStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    """All topics, and no new ones."""

    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = TopicsResponse
    SCHEMA = Schema(
        ("topics", CompactArray(Int32)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class TopicsRequest(Request[TopicsStruct]):  # type: ignore[misc]  # aiokafka has no types
    """Asks for all topics."""

    API_KEY = 3

    def build(self, request_struct_class: type[TopicsStruct]) -> Any:
        """The request as it goes out."""
        return request_struct_class(None, False, False, False, {})
