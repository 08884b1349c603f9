"""
The settings of a log on Kafka: the table `[log.kafka]`, which counts where `[log] kind` is "kafka".

`settings.py` has the table in its `[log]`; `wiring.py` makes the log's options of it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from event_center.app.kafka_security import SaslSettings, TlsSettings
from event_center.app.quantity import Seconds

Bootstrap = Annotated[str, StringConstraints(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")]
Part = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,50}$")]
Instance = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,200}$")]
Some = Annotated[Seconds, Field(ge=0.05, le=900)]


class KafkaSettings(BaseModel):
    """Where the cluster is, and how long it may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bootstrap: Bootstrap = Field(
        default="localhost:9092",
        description="The host:port of a broker, or of several with commas between them. One that"
        " answers is enough to find the others.",
    )
    group: Part = Field(
        default="center",
        description="The consumer group of the daemons that share the work is `<app>.<group>`."
        " Daemons of one app always have the same.",
    )
    topic_prefix: Prefix = Field(
        default="",
        description="Stands before the name of every topic, group and producer in the cluster, so"
        " that several systems can share it.",
    )
    delivery: Literal["exactly_once", "at_least_once"] = Field(
        default="exactly_once",
        description="`exactly_once` writes each cut in a transaction. `at_least_once` is for clusters"
        " without transactions: after a crash, history and emitted events may be there twice, and a"
        " daemon that stood still is kept from writing by its group alone.",
    )
    replication_factor: Annotated[int, Field(ge=1, le=32)] = Field(
        default=3,
        description="Copies of each topic that the center makes, on as many brokers; all but one of"
        " them must be up for a write. With 1, what a broker loses is lost.",
    )
    create_topics: bool = Field(
        default=True,
        description="Make the topics that are missing when a center starts. Without it a start is"
        " refused until `event-center topics create` has been run, by whoever may do so.",
    )
    transaction_timeout: Some = Field(
        default=15.0,
        description="After this the brokers abort the transaction of a daemon that stands still: a"
        " duration. Until then readers of what it emitted to wait.",
    )
    session_timeout: Some = Field(
        default=10.0,
        description="A daemon that is not heard of for this long loses its shards to the others: a"
        " duration. Brokers allow 6s to 30m unless told otherwise.",
    )
    rebalance_timeout: Some = Field(
        default=10.0,
        description="How long the group waits for a daemon that does not join again when members"
        " come or go: a duration. Shards that stay where they are go on meanwhile.",
    )
    heartbeat: Some = Field(
        default=1.0,
        description="How often a daemon is heard of, and hears of changes: a duration of at most a"
        " third of `session_timeout`.",
    )
    request_timeout: Some = Field(
        default=10.0,
        description="How long a broker may take for one answer: a duration. A cut that takes twice"
        " as long counts as unknown, and the shard is taken over again.",
    )
    handover_timeout: Some = Field(
        default=30.0,
        description="How long a daemon may take to release a shard that moves to another one: a"
        " duration. Then it moves all the same.",
    )

    instance_id: Instance = Field(
        default="",
        description="A name of this daemon alone, as a pod's ordinal. One that comes back under it"
        " within `session_timeout` gets its shards back and disturbs nobody; what it left waits for"
        " it so long. Of two daemons with one name one is refused; each of several `processes` has its"
        " number after it.",
    )
    start_wait: Annotated[Seconds, Field(ge=0, le=3_600)] = Field(
        default=30.0,
        description="How long a start waits for a cluster that does not answer: a duration up to 1h."
        " Then it fails. `run --wait` says otherwise, and other commands wait 3s at most.",
    )
    tls: TlsSettings = Field(default=TlsSettings(), description="Whom we trust, by TLS.")
    sasl: SaslSettings = Field(
        default=SaslSettings(), description="The password or token that lets us in."
    )

    @model_validator(mode="after")
    def _beats_in_time(self) -> Self:
        if self.heartbeat * 3 > self.session_timeout:
            raise ValueError(
                "heartbeat is more than a third of session_timeout: one lost heartbeat would move"
                " shards; make it shorter"
            )
        return self

    @field_validator("sasl")
    @classmethod
    def _hidden(cls, sasl: SaslSettings, info: ValidationInfo) -> SaslSettings:
        """Without TLS all but SCRAM show the secret itself, and no mechanism hides the events."""
        tls = info.data.get("tls")
        if tls is None:
            return sasl
        if sasl.mechanism != "none" and not (tls.enabled or sasl.without_tls):
            raise ValueError(
                f"has mechanism {sasl.mechanism} without TLS; write enabled = true into"
                " [log.kafka.tls], or without_tls = true here, where nobody listens"
            )
        if sasl.without_tls and tls.enabled:
            raise ValueError("has without_tls, but [log.kafka.tls] is enabled; drop one of them")
        return sasl
