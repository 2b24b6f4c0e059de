"""The map from pseudonyms to what they stand for: a table whose values only the key opens."""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, select

from gateway.dicom.deidentification import Original, OriginalKind, Pseudonyms
from gateway.errors import KeyUnusable
from gateway.store.database import Database
from gateway.store.pseudonym_key import PseudonymKey, make_key, read_key
from gateway.store.schema import pseudonyms
from gateway.store.statements import batches, insert_into

_NONCE_BYTES: Final = 12


class PseudonymMap:
    """Pseudonyms and their originals, encrypted with AES-GCM (NIST SP 800-38D).

    A row's kind and pseudonym are authenticated with its value: rows that were exchanged, or
    altered, do not open. The key is read when it is needed first.
    """

    def __init__(self, database: Database, key_file: Path) -> None:
        self._database = database
        self._key_file = key_file

    def pseudonyms(self) -> Pseudonyms:
        """Return what makes the pseudonyms of this node.

        Raises:
            KeyUnusable: the key is missing though there are pseudonyms, or it cannot be used.
        """
        return Pseudonyms(self._key.hashing)

    def remember(self, originals: Sequence[Original]) -> None:
        """Keep what pseudonyms stand for, durably and all or none of it.

        What is said of a patient and a study is brought up to date; a UID never changes.

        Raises:
            KeyUnusable: as `pseudonyms`.
            StoreUnavailable: the index took nothing.
        """
        wanted = {(one.kind, one.pseudonym): one for one in originals}
        # In an order that is the same for all: two writers never wait for each other.
        ordered = [wanted[name] for name in sorted(wanted)]
        with self._database.writing() as connection:
            for some in batches(ordered):
                self._enter(connection, some)

    def find(self, kind: OriginalKind, wanted: Collection[str]) -> Mapping[str, Mapping[str, str]]:
        """Return what pseudonyms stand for, those of them that are known and that the key opens.

        Raises:
            KeyUnusable: as `pseudonyms`, or a row was altered.
        """
        found: dict[str, Mapping[str, str]] = {}
        with self._database.reading() as connection:
            for some in batches(sorted(wanted)):
                statement = select(pseudonyms.c.pseudonym, pseudonyms.c.sealed).where(
                    pseudonyms.c.kind == kind,
                    pseudonyms.c.pseudonym.in_(some),
                    pseudonyms.c.key_id == self._key.id,
                )
                for pseudonym, sealed in connection.execute(statement):
                    found[pseudonym] = self._opened(kind, pseudonym, sealed)
        return found

    @cached_property
    def _key(self) -> PseudonymKey:
        key = read_key(self._key_file)
        if key is not None:
            return key
        with self._database.reading() as connection:
            if connection.execute(select(pseudonyms.c.kind).limit(1)).first() is not None:
                raise KeyUnusable(
                    f"the key {self._key_file} is gone, and without it nothing that was "
                    "de-identified finds its way back; restore it from the backup"
                )
        return make_key(self._key_file)

    def _enter(self, connection: Connection, originals: Sequence[Original]) -> None:
        known = _known_uids(connection, originals)
        rows = [
            {
                "kind": one.kind,
                "pseudonym": one.pseudonym,
                "key_id": self._key.id,
                "sealed": self._sealed(one),
            }
            for one in originals
            if one.pseudonym not in known or one.kind is not OriginalKind.UID
        ]
        if rows:
            statement = insert_into(connection, pseudonyms)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["kind", "pseudonym"],
                    set_={"sealed": statement.excluded.sealed, "key_id": self._key.id},
                ),
                rows,
            )

    def _sealed(self, original: Original) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        content = json.dumps(dict(original.values)).encode()
        return nonce + AESGCM(self._key.sealing).encrypt(
            nonce, content, _label(original.kind, original.pseudonym)
        )

    def _opened(self, kind: OriginalKind, pseudonym: str, sealed: bytes) -> Mapping[str, str]:
        nonce, content = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            opened = AESGCM(self._key.sealing).decrypt(nonce, content, _label(kind, pseudonym))
        except InvalidTag as error:
            raise KeyUnusable(
                f"what the {kind} pseudonym {pseudonym} stands for was altered; restore the "
                "index from the backup"
            ) from error
        return {str(name): str(value) for name, value in json.loads(opened).items()}


def _known_uids(connection: Connection, originals: Sequence[Original]) -> frozenset[str]:
    statement = select(pseudonyms.c.pseudonym).where(
        pseudonyms.c.kind == OriginalKind.UID,
        pseudonyms.c.pseudonym.in_([one.pseudonym for one in originals]),
    )
    return frozenset(connection.execute(statement).scalars())


def _label(kind: OriginalKind, pseudonym: str) -> bytes:
    return f"{kind}:{pseudonym}".encode()
