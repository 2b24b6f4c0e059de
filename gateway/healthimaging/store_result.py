"""What the answer to a STOW-RS request says of each instance (PS3.18 table I.3-1)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gateway.healthimaging.outcomes import InstanceOutcome, Outcome, warning

_STORED = "00081199"
_FAILED = "00081198"
_OTHER_FAILURES = "0008119A"
_REFERENCED_SOP_INSTANCE_UID = "00081155"
_SOP_INSTANCE_UID = "00080018"
_FAILURE_REASON = "00081197"
_WARNING_REASON = "00081196"
_REASONS: Mapping[int, str] = {
    0x0110: "processing failure",
    0x0117: "the SOP Instance UID is malformed",
    0x0122: "the SOP class is not supported",
    0x0124: "not authorised",
    0xC000: "the data set cannot be understood",
}
_PASSING = (0x0110, 0x0112, 0x0213)


def is_store_result(document: Any) -> bool:
    """Tell an answer about instances from one about the request, as 409 may be either."""
    sequences = {_STORED, _FAILED, _OTHER_FAILURES}
    return isinstance(document, Mapping) and not sequences.isdisjoint(document)


def store_outcomes(document: Any, sent: Sequence[str]) -> dict[str, InstanceOutcome]:
    """Return what the answer says of the instances that were sent, by SOP Instance UID.

    One that it does not name is missing here: whether it was stored is not known.
    """
    outcomes: dict[str, InstanceOutcome] = {}
    for item in _items(document, _STORED):
        outcomes[_uid(item)] = _stored(item)
    for item in (*_items(document, _FAILED), *_items(document, _OTHER_FAILURES)):
        outcomes[_uid(item)] = _failed(_number(item, _FAILURE_REASON))
    nameless = outcomes.pop("", None)
    if nameless and nameless.outcome is not Outcome.STORED and len(sent) == 1:
        outcomes.setdefault(sent[0], nameless)
    return {uid: outcome for uid, outcome in outcomes.items() if uid in sent}


def _stored(item: Mapping[str, Any]) -> InstanceOutcome:
    code = _number(item, _WARNING_REASON)
    return InstanceOutcome(outcome=Outcome.STORED, detail=warning(code) if code else "")


def _failed(code: int) -> InstanceOutcome:
    is_passing = code in _PASSING or code & 0xFF00 == 0xA700
    kind = code & 0xFF00 if code >= 0xA000 else code
    words = {0xA700: "out of resources", 0xA900: "the data set does not match its SOP class"}
    reason = _REASONS.get(code) or words.get(kind) or _REASONS.get(kind & 0xF000, "refused")
    return InstanceOutcome(
        outcome=Outcome.FAILED if is_passing else Outcome.REFUSED,
        detail=f"{code:04X}H {reason}",
    )


def _uid(item: Mapping[str, Any]) -> str:
    return str(_value(item, _REFERENCED_SOP_INSTANCE_UID) or _value(item, _SOP_INSTANCE_UID) or "")


def _number(item: Mapping[str, Any], tag: str) -> int:
    value = _value(item, tag)
    return int(value) if str(value).isdecimal() else 0


def _value(item: Mapping[str, Any], tag: str) -> Any:
    """Return the first value of an attribute (PS3.18 section F.2)."""
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    return values[0] if isinstance(values, list) and values else None


def _items(document: Any, tag: str) -> Iterator[Mapping[str, Any]]:
    """Give the items of a sequence; its element may be absent, or without a value."""
    element = document.get(tag) if isinstance(document, Mapping) else None
    values = element.get("Value") if isinstance(element, Mapping) else None
    yield from (item for item in values or () if isinstance(item, Mapping))
