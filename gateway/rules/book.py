"""The rules in force: read again when their folder changes, kept when the change is broken."""

from collections.abc import Collection
from pathlib import Path

import structlog

from gateway.errors import ConfigurationInvalid
from gateway.rules.ruleset import RuleSet, load_rules, rule_files

Fingerprint = tuple[tuple[str, int, int, int], ...] | None
"""Name, inode, size and modification time (ns) of each file; None for an unreadable folder."""

_log = structlog.get_logger(__name__)


class RuleBook:
    """Gives the last good set of rules of a folder.

    A set changes as a whole: `current` gives either the set before an edit or the one after it.
    Not safe to call from several threads at once.

    Raises:
        ConfigurationInvalid: on construction, when the rules are broken from the start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: Collection[str] | None = None,
        models: Collection[str] | None = None,
    ) -> None:
        self._folder = folder
        self._nodes = nodes
        self._models = models
        self._seen = _fingerprint(folder)
        self._rules = self._load()

    def current(self) -> RuleSet:
        """The set in force, after reading the folder again if it has changed."""
        now = _fingerprint(self._folder)
        if now != self._seen:
            self._seen = now
            self._reload()
        return self._rules

    def _reload(self) -> None:
        try:
            self._rules = self._load()
        except ConfigurationInvalid as error:
            _log.error(
                "rules_reload_failed",
                problems=[str(problem) for problem in error.problems],
                digest_in_force=self._rules.digest,
            )

    def _load(self) -> RuleSet:
        rules = load_rules(self._folder, nodes=self._nodes, models=self._models)
        _log.info("rules_loaded", digest=rules.digest, rules=len(rules.rules))
        return rules


def _fingerprint(folder: Path) -> Fingerprint:
    try:
        stats = [(path.name, path.stat()) for path in rule_files(folder)]
    except OSError:
        return None
    return tuple((name, one.st_ino, one.st_size, one.st_mtime_ns) for name, one in stats)
