"""The demo's cloud: the stand-in for AWS HealthImaging in a thread of this process."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ruamel.yaml import YAML

from gateway.errors import PeerUnavailable
from gateway.shipped import shipped
from gateway.store import NodeStore

NAME = "cloud"
"""What the node calls it."""
_SECONDS = 30
_RULE = "10-ct-tissue.yaml"
_SETTINGS = """\
[nodes.{name}]
kind = "healthimaging"
region = "{region}"
datastore_id = "{datastore_id}"
endpoint_url = "{endpoint_url}"
upload = "stow"
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldImageSet:
    """An image set in the data store."""

    image_set_id: str
    modality: str
    instances: int
    version: int


class DemoCloud:
    """Runs the stand-in for the time of a ``with`` block."""

    def __init__(self, folder: Path) -> None:
        # What serves it takes a while to load, and a demo without a cloud does not need it.
        from gateway.testing.healthimaging import CloudStandIn

        self._stand_in = CloudStandIn(folder / "cloud")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._done(self._stand_in.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done(self._stand_in.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def settings(self) -> str:
        """The table of gateway.toml that names the data store."""
        return _SETTINGS.format(
            name=NAME,
            region=self._stand_in.region,
            datastore_id=self._stand_in.data_store_id,
            endpoint_url=self._stand_in.endpoint_url,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """This process's environment, with the keys of the stand-in for those of AWS."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
        return {
            **kept,
            "AWS_ACCESS_KEY_ID": self._stand_in.credentials.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self._stand_in.credentials.secret_access_key,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def image_sets(self, settings_file: Path, store: NodeStore) -> list[HeldImageSet]:
        """Return what is in the data store, as ``gateway healthimaging list`` finds it.

        Raises:
            PeerUnavailable: the command failed.
        """
        command = [sys.executable, "-m", "gateway", "healthimaging", "list", NAME, "--json"]
        done = subprocess.run(
            [*command, "--config", str(settings_file)],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        if done.returncode:
            raise PeerUnavailable(f"the data store cannot be listed: {done.stderr.strip()}")
        return [_held(found, store) for found in json.loads(done.stdout)]

    def _done(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)


def write_rules(folder: Path) -> Path:
    """Write the product's rules, with the data store beside the PACS; return their folder.

    What is segmented is also forwarded there.
    """
    target = folder / "routing_rules"
    shutil.copytree(shipped("routing_rules"), target)
    yaml = YAML()
    rule = yaml.load(target / _RULE)
    for action in rule["then"]:
        action["segment"]["send_to"].append(NAME)
    rule["then"].append({"forward": {"to": [NAME]}})
    yaml.dump(rule, target / _RULE)
    return target


def _held(found: Mapping[str, Any], store: NodeStore) -> HeldImageSet:
    """Return a listed image set; the node knows how many instances it verified in it."""
    known = store.image_sets.of_series(found["series_instance_uid"])
    return HeldImageSet(
        image_set_id=found["image_set_id"],
        modality=found["modality"],
        instances=sum(one.instances for one in known if one.image_set_id == found["image_set_id"]),
        version=found["version"],
    )
