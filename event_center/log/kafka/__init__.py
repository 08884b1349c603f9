"""The log on Apache Kafka: for when one machine is not enough."""

from __future__ import annotations

from event_center.log.kafka.access import Access
from event_center.log.kafka.log import KafkaLog, open_kafka
from event_center.log.kafka.options import MAX_EVENT_BYTES, KafkaOptions

__all__ = ["MAX_EVENT_BYTES", "Access", "KafkaLog", "KafkaOptions", "open_kafka"]
