"""docs/going-to-kafka.md on a broker: what its commands print there is so."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from tests.docs.project import ROOT, Project
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness


def test_the_page_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of the page does what it says, those on Kafka too, from top to bottom."""
    prefix = f"t{uuid.uuid4().hex[:12]}."
    text = (ROOT / "docs/going-to-kafka.md").read_text(encoding="utf-8")
    here = f'bootstrap = "{bootstrap()}"\ntopic_prefix = "{prefix}"'
    text = text.replace('bootstrap = "localhost:9092"', here)
    page = tmp_path / "page.md"
    page.write_text(text.replace("<!-- skip: next -->\n", ""), encoding="utf-8")
    project = Project(tmp_path / "project")
    monkeypatch.chdir(project.directory)
    try:
        for example in project.document(page).examples():
            example.evaluate()
    finally:
        project.close()
        asyncio.run(KafkaHarness(bootstrap()).remove_topics(prefix))
