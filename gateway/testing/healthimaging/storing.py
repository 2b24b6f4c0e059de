"""The store transaction of the DICOMweb plane (STOW-RS, PS3.18 section 10.5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from gateway.dicomweb.media_type import MediaType
from gateway.dicomweb.multipart import Body, Multipart, Parts, SinglePart, require_boundary
from gateway.errors import RequestMalformed
from gateway.testing.healthimaging.acceptance import DICOM_JSON
from gateway.testing.healthimaging.account import Account
from gateway.testing.healthimaging.admission import Admission
from gateway.testing.healthimaging.answers import path_identifier
from gateway.testing.healthimaging.data_stores import DataStore
from gateway.testing.healthimaging.errors import ValidationError
from gateway.testing.healthimaging.faults import FaultKind
from gateway.testing.healthimaging.instances import StoredInstance, instance_path
from gateway.testing.healthimaging.operation import Operation

_DICOM = "application/dicom"
_MULTIPART = "multipart/related"
_PROCESSING_FAILURE = 0x0110
_CANNOT_UNDERSTAND = 0xC000
_OTHER_STUDY = 0xA901


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    """What became of one part; without ``instance`` it was no DICOM file."""

    instance: StoredInstance | None = None
    reason: int | None = None
    """Why it is not stored."""


class StorePlane:
    """Answers StoreDICOM and StoreDICOMStudy."""

    def __init__(self, account: Account, admission: Admission) -> None:
        self._account = account
        self._admission = admission

    @property
    def operations(self) -> Sequence[Operation]:
        """What it answers."""
        root = "/datastore/{datastoreId}/studies"
        return (
            Operation("StoreDICOM", "POST", root, self._store, is_streamed=True),
            Operation(
                "StoreDICOMStudy", "POST", f"{root}/{{study}}", self._store, is_streamed=True
            ),
        )

    async def _store(self, request: web.Request) -> web.Response:
        store = self._account.active_data_store(path_identifier(request, "datastoreId"))
        study = request.match_info.get("study")
        outcomes = await self._received(request, store, study)
        if not outcomes:
            raise ValidationError("the request holds no instance")
        stored = [one.instance for one in outcomes if one.instance and one.reason is None]
        store.add(stored, self._account.now())
        root = f"{request.scheme}://{request.host}/datastore/{store.identifier}/studies"
        return web.json_response(
            _module(outcomes, root),
            status=self._status(len(stored), len(outcomes)),
            content_type=DICOM_JSON,
        )

    async def _received(
        self, request: web.Request, store: DataStore, study: str | None
    ) -> list[_Outcome]:
        """Read the body to its end, and take each part apart when it is whole.

        Nothing is in the data store before the whole body is the one that was signed.
        """
        parts = _WholeParts()
        body = _body(request)(parts)
        outcomes: list[_Outcome] = []
        longest = self._account.behaviour.bytes_per_store_request
        try:
            async for content in self._admission.stream(request, longest):
                body.feed(content)
                outcomes += [await self._read(store, one, study) for one in parts.taken()]
            body.finish()
        except RequestMalformed as error:
            raise ValidationError(str(error)) from error
        outcomes += [await self._read(store, one, study) for one in parts.taken()]
        return outcomes

    async def _read(self, store: DataStore, content: bytes, study: str | None) -> _Outcome:
        try:
            instance = await self._account.read(store, content)
        except ValidationError:
            return _Outcome(reason=_CANNOT_UNDERSTAND)
        if study not in (None, instance.study_instance_uid):
            return _Outcome(instance=instance, reason=_OTHER_STUDY)
        targets = (instance.sop_instance_uid,)
        operation = "StoreDICOM" if study is None else "StoreDICOMStudy"
        if self._account.faults.take(operation, targets, [FaultKind.NOT_STORED]):
            return _Outcome(instance=instance, reason=_PROCESSING_FAILURE)
        return _Outcome(instance=instance)

    def _status(self, stored: int, parts: int) -> int:
        if stored == parts:
            return 200
        is_partial = stored and not self._account.behaviour.answers_partial_store_with_409
        return 202 if is_partial else 409


class _WholeParts:
    """Gathers the parts of a body; `taken` gives those that are whole."""

    def __init__(self) -> None:
        self._current = bytearray()
        self._whole: list[bytes] = []

    def begin(self) -> None:
        """Take it that a part begins."""
        self._current = bytearray()

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the part."""
        self._current += fragment

    def end(self) -> None:
        """Take it that the part is whole."""
        self._whole.append(bytes(self._current))
        self._current = bytearray()

    def taken(self) -> list[bytes]:
        """Return the parts that became whole since the last call."""
        whole, self._whole = self._whole, []
        return whole


def _body(request: web.Request) -> Callable[[Parts], Body]:
    kind = MediaType.parse(request.headers.get("Content-Type", ""))
    if kind is not None and kind.name == _DICOM:
        return SinglePart
    if kind is None or kind.name != _MULTIPART or kind.parameters.get("type") != _DICOM:
        raise ValidationError(f'Content-Type must be {_DICOM} or {_MULTIPART}; type="{_DICOM}"')
    boundary = kind.parameters.get("boundary", "")
    try:
        require_boundary(boundary)
    except RequestMalformed as error:
        raise ValidationError(str(error)) from error
    return partial(Multipart, boundary)


def _module(outcomes: Sequence[_Outcome], root: str) -> dict[str, Any]:
    """Return the Store Instances Response Module in JSON (PS3.18 annex I)."""
    stored = [one.instance for one in outcomes if one.instance and one.reason is None]
    failed = [_failed(one) for one in outcomes if one.reason is not None]
    module: dict[str, Any] = {}
    if stored:
        study = f"{root}/{stored[0].study_instance_uid}"
        module["00081190"] = {"vr": "UR", "Value": [study]}
        module["00081199"] = {"vr": "SQ", "Value": [_stored(one, root) for one in stored]}
    if failed:
        module["00081198"] = {"vr": "SQ", "Value": failed}
    return module


def _reference(instance: StoredInstance) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [instance.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [instance.sop_instance_uid]},
    }


def _stored(instance: StoredInstance, root: str) -> dict[str, Any]:
    url = f"{root}/{instance_path(instance)}"
    item = _reference(instance) | {"00081190": {"vr": "UR", "Value": [url]}}
    if instance.warnings:
        item["00081196"] = {"vr": "US", "Value": [one.code for one in instance.warnings]}
    return item


def _failed(outcome: _Outcome) -> dict[str, Any]:
    named = {} if outcome.instance is None else _reference(outcome.instance)
    return named | {"00081197": {"vr": "US", "Value": [outcome.reason]}}
