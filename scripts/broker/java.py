"""
What a broker runs on: Java, Kafka's jars, and an archive of their classes that halves each start.

Promises: everything is fetched or made once, into a cache outside the project; what can not be had
ends in `NoBroker`, which says what to install. On Debian and Ubuntu root gets it installed. `node.py`
runs what is found here.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VERSION = "4.1.0"
JAVA = 17
"""The oldest Java that this Kafka runs on."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "event-center"
JVM = (
    "-Xms96m",
    "-Xmx768m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-XX:-UsePerfData",
)
"""A small heap that grows when it has to: one broker serves all tests of a run, and all their topics."""
PACKAGES = {
    "java": ("openjdk-17-jre-headless", "default-jre-headless"),
    "javac": ("openjdk-17-jdk-headless", "default-jdk-headless"),
    "mvn": ("maven",),
    "openssl": ("openssl",),
}
"""What Debian and Ubuntu call a tool; the first that they have."""
BROKER = {
    "org.apache.kafka:kafka_2.13": VERSION,
    "org.apache.logging.log4j:log4j-slf4j-impl": "2.24.3",
}
"""What a broker is made of: artifacts and their versions."""
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>broker</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
{dependencies}
  </dependencies>
</project>
"""
DEPENDENCY = """    <dependency>
      <groupId>{group}</groupId><artifactId>{name}</artifactId>
      <version>{version}</version>
    </dependency>"""


class NoBroker(Exception):
    """A broker cannot be had here; the message says why."""


def tool(name: str, *more: str) -> str:
    """
    The path of a tool; root on Debian or Ubuntu gets it installed.

    Args:
        name: of the tool.
        more: what is needed besides, named with it if it is missing too.
    """
    found = shutil.which(name)
    if found is not None:
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        missing = [name, *(one for one in more if shutil.which(one) is None)]
        packages = " ".join(PACKAGES[one][0] for one in missing)
        verb = "are" if missing[1:] else "is"
        raise NoBroker(
            f"{' and '.join(missing)} {verb} not installed; install what is missing, on Debian or "
            f"Ubuntu with: apt-get install {packages}"
        )
    said = _install(name)
    if shutil.which(name) is None:
        # A new machine has no list of packages, and an old list names what is gone.
        _apt_get("update")
        said = _install(name)
    found = shutil.which(name)
    if found is None:
        raise NoBroker(
            f"apt-get could not install {PACKAGES[name][0]}; install it by hand: {said[-500:]}"
        )
    return found


def _install(name: str) -> str:
    """Install the first of a tool's packages that can be had; returns what was said of the last."""
    said = ""
    for package in PACKAGES[name]:
        print(f"kafka: installing {package}", file=sys.stderr)
        said = _apt_get("install", "-y", "--no-install-recommends", package)
        if shutil.which(name) is not None:
            break
    return said


def _apt_get(*arguments: str) -> str:
    """Run it, and return what it complains of."""
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=60", *arguments]
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(
        command, capture_output=True, text=True, env=quiet, check=False
    ).stderr.strip()


@functools.cache
def java(*more: str) -> str:
    """The path of a Java that is new enough; `more` as for `tool`."""
    found = tool("java", *more)
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    number = re.search(r'version "(\d+)', told)
    if number is None or int(number[1]) < JAVA:
        raise NoBroker(f"{found} is not Java {JAVA} or later; install {PACKAGES['java'][0]}")
    return found


def jars() -> Path:
    """Find the folder with the broker's jars; Maven fills it the first time."""
    named = os.environ.get("KAFKA_JARS")
    if named:
        return Path(named)
    return fetched(f"kafka-{VERSION}", BROKER)


def fetched(name: str, artifacts: Mapping[str, str]) -> Path:
    """
    Find the folder with these artifacts and all that they need; Maven fills it the first time.

    Args:
        name: of the folder in the cache.
        artifacts: `group:name` of each, and its version. Maven compares checksums.
    """
    folder = CACHE / name
    if (folder / "complete").exists():
        return folder
    java("mvn")  # first, because Maven would bring one that may be too old
    maven = tool("mvn")
    print(f"kafka: fetching {name} into {folder}", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pom.xml").write_text(_pom(artifacts))
    command = [maven, "-q", "-B", "-Dstyle.color=never", "--strict-checksums"]
    command += ["-f", str(folder / "pom.xml")]
    command += ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        # Behind the reason, and an empty line, stands how to ask Maven for more words.
        why = done.stdout.partition("[ERROR] \n")[0].strip()
        raise NoBroker(f"Maven could not bring the jars of {name}: {why}")
    (folder / "complete").touch()
    return folder


def _pom(artifacts: Mapping[str, str]) -> str:
    lines = []
    for artifact, version in artifacts.items():
        group, _, name = artifact.partition(":")
        lines.append(DEPENDENCY.format(group=group, name=name, version=version))
    return POM.format(dependencies="\n".join(lines))


def archive() -> Path:
    """Where the archive of classes lies, or would lie, for these jars."""
    told = f"{jars().resolve()} {java()}"
    return CACHE / f"kafka-{VERSION}-{hashlib.sha256(told.encode()).hexdigest()[:12]}.jsa"


def command(logging: Path, *arguments: str, making: Path | None = None) -> list[str]:
    """
    A command line that runs one of Kafka's programs.

    Args:
        logging: its log4j2 configuration.
        arguments: the class, and what it is given.
        making: also write the archive of classes here, when it ends.
    """
    shared = archive()
    options = [*JVM]
    if making is not None:
        options.append(f"-XX:ArchiveClassesAtExit={making}")
    elif shared.exists():
        options.append(f"-XX:SharedArchiveFile={shared}")
    return [
        java(),
        *options,
        f"-Dlog4j2.configurationFile={logging}",
        "-cp",
        f"{jars()}/*",
        *arguments,
    ]
