"""What a store request is answered: the Store Instances Response Module (PS3.18 annex I)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import GatewayError, StoreFull, Transient

JSON = "application/dicom+json"
XML = "application/dicom+xml"

_OK, _ACCEPTED, _BAD_REQUEST, _CONFLICT = 200, 202, 400, 409
_PROCESSING_FAILURE = 0x0110
_KEYWORDS = {
    "00081150": ("UI", "ReferencedSOPClassUID"),
    "00081155": ("UI", "ReferencedSOPInstanceUID"),
    "00081197": ("US", "FailureReason"),
    "00081198": ("SQ", "FailedSOPSequence"),
    "00081199": ("SQ", "ReferencedSOPSequence"),
    "0008119A": ("SQ", "OtherFailuresSequence"),
}
_CLASS, _INSTANCE, _REASON, _FAILED, _REFERENCED, _OTHER = _KEYWORDS
_XML_NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

Item = dict[str, Any]
"""Values by tag; a list of items is a sequence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one part of a request."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    """Empty where the part does not say what it is."""
    series_instance_uid: str = ""
    images_in_acquisition: int | None = None
    error: GatewayError | None = None
    """Why it was not stored."""

    @property
    def is_named(self) -> bool:
        """Whether the part says what it is."""
        return bool(self.sop_instance_uid)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreResponse:
    """What became of a request, one outcome for each part."""

    outcomes: Sequence[Outcome]
    problem: str = ""
    """Why the request was not read to its end, or nothing."""

    @property
    def stored(self) -> tuple[Outcome, ...]:
        """What outlives a power cut now."""
        return tuple(one for one in self.outcomes if one.error is None)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """What is not stored."""
        return tuple(one for one in self.outcomes if one.error is not None)

    @property
    def status(self) -> int:
        """The HTTP status (PS3.18 table 10.5.3-1).

        Where some are stored and others not, 202 also for a request that broke off: 400 would say
        that nothing was stored. Where nothing was stored since the node cannot at present, 507 or
        503, so that the client tries again.
        """
        if not self.failed and not self.problem:
            return _OK if self.outcomes else _BAD_REQUEST
        if self.stored:
            return _ACCEPTED
        passing = [one.error for one in self.failed if isinstance(one.error, Transient)]
        if passing:
            return next((e for e in passing if isinstance(e, StoreFull)), passing[0]).http_status
        return _BAD_REQUEST if self.problem else _CONFLICT

    def body(self, media_type: str) -> bytes:
        """Return the module in one of the two media types.

        It has no Retrieve URL, since nothing can be retrieved from here over HTTP.
        """
        return _json(self._module()) if media_type == JSON else _xml(self._module())

    def _module(self) -> Item:
        sequences = {
            _FAILED: [_reference(one) | _reason(one) for one in self.failed if one.is_named],
            _REFERENCED: [_reference(one) for one in self.stored],
            _OTHER: [_reason(one) for one in self.failed if not one.is_named],
        }
        return {tag: items for tag, items in sequences.items() if items}


def _reference(one: Outcome) -> Item:
    return {_CLASS: one.sop_class_uid, _INSTANCE: one.sop_instance_uid}


def _reason(one: Outcome) -> Item:
    return {_REASON: _PROCESSING_FAILURE if one.error is None else one.error.dimse_status}


def _json(item: Item) -> bytes:
    """Encode as DICOM JSON (PS3.18 annex F)."""
    return json.dumps(_json_item(item)).encode()


def _json_item(item: Item) -> dict[str, Any]:
    return {
        tag: {
            "vr": _KEYWORDS[tag][0],
            "Value": [_json_item(one) for one in value] if isinstance(value, list) else [value],
        }
        for tag, value in item.items()
    }


def _xml(item: Item) -> bytes:
    """Encode as the Native DICOM Model (PS3.19 section A.1)."""
    head = f'<NativeDicomModel xmlns="{_XML_NAMESPACE}" xml:space="preserve">'
    text = "".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *_xml_item(item)])
    return (text + "</NativeDicomModel>").encode()


def _xml_item(item: Item) -> Iterable[str]:
    for tag, value in item.items():
        vr, keyword = _KEYWORDS[tag]
        yield f'<DicomAttribute tag="{tag}" vr="{vr}" keyword="{keyword}">'
        if isinstance(value, list):
            for number, one in enumerate(value, start=1):
                yield f'<Item number="{number}">'
                yield from _xml_item(one)
                yield "</Item>"
        else:
            yield f'<Value number="1">{value}</Value>'
        yield "</DicomAttribute>"
