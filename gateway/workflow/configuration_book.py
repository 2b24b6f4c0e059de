"""The rules and models in force: read again when files change, kept when a change is broken."""

import threading
from collections.abc import Iterable
from pathlib import Path

import structlog

from gateway.errors import ConfigurationInvalid
from gateway.inference import BundleDigests, Model, bundle_files, descriptor_files
from gateway.inference.verification import loading_problems
from gateway.rules import RuleSet, rule_files
from gateway.settings import NodeSettings, Settings
from gateway.workflow.validation import Configuration, validated

_FileState = tuple[str, int, int, int]
"""Path, inode, size and modification time (ns) of a file."""

_log = structlog.get_logger(__name__)


class ConfigurationBook:
    """Gives the last good rules and models, which change together, since rules name models.

    A change of their files is taken over as a whole or not at all: where anything in it is wrong,
    what was in force stays so. A model that a rule begins to run, or that changed, must load
    first, which takes seconds. Safe to use from several threads.

    Raises:
        ConfigurationInvalid: on construction, when rules or models are broken from the start.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._guard = threading.Lock()
        self._seen = _fingerprint(settings.node)
        self._digests = BundleDigests()
        self._configuration = validated(settings, self._digests.of)
        self._note_loaded()

    def current(self) -> Configuration:
        """What is in force, after the files were read again if they have changed."""
        with self._guard:
            now = _fingerprint(self._settings.node)
            if now != self._seen:
                self._seen = now
                self._reload()
            return self._configuration

    def rules(self) -> RuleSet:
        """The rules in force."""
        return self.current().rules

    def model(self, name: str) -> Model:
        """The model of a name that is in force; raises NotFound where there is none."""
        return self.current().model(name)

    def _reload(self) -> None:
        try:
            self._configuration = self._proven(validated(self._settings, self._digests.of))
        except ConfigurationInvalid as error:
            _log.error(
                "configuration_reload_failed",
                problems=[str(problem) for problem in error.problems],
                digest_in_force=self._configuration.rules.digest,
            )
        else:
            self._note_loaded()

    def _proven(self, configuration: Configuration) -> Configuration:
        """Return a configuration after what it newly runs has been loaded once, on the CPU."""
        running = self._configuration.models_in_use
        added = [model for model in configuration.models_in_use if model not in running]
        problems = loading_problems(added, self._settings.node.models_dir)
        if problems:
            raise ConfigurationInvalid(problems)
        return configuration

    def _note_loaded(self) -> None:
        rules, models = self._configuration.rules, self._configuration.models
        _log.info(
            "configuration_loaded",
            digest=rules.digest,
            rules=len(rules.rules),
            models=[model.name for model in models],
        )


def _fingerprint(node: NodeSettings) -> tuple[_FileState, ...] | None:
    """Return what changes when a rule, a descriptor or a bundle does; None for no folder."""
    try:
        return tuple(_state(path) for path in _files(node))
    except OSError:
        return None


def _files(node: NodeSettings) -> Iterable[Path]:
    yield from rule_files(node.rules_dir)
    for descriptor in descriptor_files(node.models_dir):
        yield descriptor
        yield from sorted(bundle_files(descriptor.with_suffix("")))


def _state(path: Path) -> _FileState:
    status = path.stat()
    return str(path), status.st_ino, status.st_size, status.st_mtime_ns
