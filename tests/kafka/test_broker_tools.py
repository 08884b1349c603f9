"""`scripts/kafka` where something is missing: it is installed, or a sentence says what to install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kafka.project import ROOT
from tests.waiting import PATIENCE_S

JAVA_11 = "echo 'openjdk version \"11.0.2\"' >&2"
JAVA_17 = "echo 'openjdk version \"17.0.2\"' >&2"
NO_JARS = """echo '[ERROR] Could not resolve org.apache.kafka:kafka_2.13: no route to host'
echo '[ERROR] '
echo '[ERROR] To see the full stack trace of the errors, re-run Maven with the -e switch.'
exit 1"""
APT = """case "$*" in
    *update) : > "$0.updated" ;;
    *openjdk-17*) echo 'E: Unable to locate package' >&2; exit 100 ;;
    *default-jre*) [ -e "$0.updated" ] || exit 100
        printf '#!/bin/sh\\necho openjdk version \\\\"17\\\\" >&2' > "${0%/*}/java"
        /bin/chmod +x "${0%/*}/java" ;;
    *) echo 'E: no space left' >&2; exit 100 ;;
esac"""
"""An apt-get without a list of packages, for which Java 17 is the default one, and which has no Maven."""


def start(folder: Path, programs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`scripts/kafka start` in a clone of its own, with nothing but these programs and without jars."""
    shutil.copytree(ROOT / "scripts" / "broker", folder / "scripts" / "broker")
    path = folder / "bin"
    path.mkdir()
    for name, text in programs.items():
        (path / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (path / name).chmod(0o755)
    bare = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}
    return subprocess.run(
        [sys.executable, "-m", "scripts.broker", "start"],
        cwd=folder,
        env=bare | {"PATH": str(path), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("programs", "told"),
    [
        ({}, "java and mvn are not installed; .* apt-get install openjdk-17-jre-headless maven"),
        ({"java": JAVA_17}, "mvn is not installed; .* apt-get install maven"),
        ({"java": JAVA_11}, ".*/java is not Java 17 or later; install openjdk-17-jre-headless"),
        ({"java": JAVA_17, "mvn": NO_JARS}, "Maven could not bring .*: no route to host"),
    ],
)
def test_what_is_missing(tmp_path: Path, programs: dict[str, str], told: str) -> None:
    """One sentence says what to do, and no broker is half there."""
    ended = start(tmp_path, programs)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch(f"kafka: {told}", ended.stderr.splitlines()[-1]), ended.stderr
    assert not (tmp_path / ".kafka").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install something")
def test_what_root_gets_installed(tmp_path: Path) -> None:
    """The list of packages is asked for once, the second name of Java is tried; Maven can not be had."""
    ended = start(tmp_path, {"apt-get": APT})
    assert ended.returncode == 1
    assert (tmp_path / "bin" / "java").exists()
    lines = ended.stderr.splitlines()
    assert (
        lines[-1] == "kafka: apt-get could not install maven; install it by hand: E: no space left"
    )
    names = ["openjdk-17-jre-headless", "default-jre-headless"]
    assert lines[:4] == [f"kafka: installing {name}" for name in names * 2]
