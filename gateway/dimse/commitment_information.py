"""What storage commitment messages carry: Action and Event Information (PS3.4 section J.3)."""

from collections.abc import Iterator, Mapping
from io import BytesIO

from pydicom import config as pydicom_config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as ItemSequence
from pydicom.uid import UID
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.dsutils import decode, encode

from gateway.dicom.elements import PARSE_ERRORS
from gateway.dicom.uids import is_uid
from gateway.dimse.service import PresentationContext, Primitive
from gateway.errors import PeerUnavailable
from gateway.store.commitments import CommitmentResult
from gateway.store.verification import FailureReason, Reference

PUSH_MODEL = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP Class."""
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The one well-known instance of that class (PS3.4 section J.3.5)."""
ALL_COMMITTED, FAILURES_EXIST = 1, 2
"""Event Type IDs (PS3.4 table J.3-2)."""

_REQUEST_COMMITMENT = 1
_NO_SUCH_SOP_INSTANCE = 0x0112
_INVALID_ARGUMENT = 0x0115
_NO_SUCH_SOP_CLASS = 0x0118
_NO_SUCH_ACTION = 0x0123
_UNRECOGNIZED_OPERATION = 0x0211
_RESOURCE_LIMITATION = 0x0213
_MOST_REFERENCES = 100_000
_TRANSACTION_UID = 0x00081195
_REFERENCED_SOP_CLASS_UID = 0x00081150
_REFERENCED_SOP_INSTANCE_UID = 0x00081155


class RequestRefused(Exception):
    """A request that is answered with a failure status (PS3.7 section 10.1.4.1.10)."""

    def __init__(self, status: int, comment: str) -> None:
        self.status = status
        super().__init__(comment)


def read_request(
    request: Primitive, context: PresentationContext
) -> tuple[str, tuple[Reference, ...]]:
    """Return Transaction UID and references of an N-ACTION request (PS3.4 table J.3-1)."""
    if not isinstance(request, N_ACTION):
        raise RequestRefused(_UNRECOGNIZED_OPERATION, "only N-ACTION is served here")
    if str(request.RequestedSOPClassUID) != PUSH_MODEL:
        raise RequestRefused(_NO_SUCH_SOP_CLASS, "not the Push Model SOP Class")
    if str(request.RequestedSOPInstanceUID) != PUSH_MODEL_INSTANCE:
        raise RequestRefused(_NO_SUCH_SOP_INSTANCE, "not the well-known SOP Instance")
    if request.ActionTypeID != _REQUEST_COMMITMENT:
        raise RequestRefused(_NO_SUCH_ACTION, f"no action type {request.ActionTypeID}")
    try:
        information = _decoded(request.ActionInformation, context)
        transaction_uid = str(information.get("TransactionUID", ""))
        references = tuple(_references(information))
    except PARSE_ERRORS as error:
        raise RequestRefused(_INVALID_ARGUMENT, "the information is no data set") from error
    if not is_uid(transaction_uid):
        raise RequestRefused(_INVALID_ARGUMENT, "no Transaction UID (0008,1195)")
    if not references or not all(map(_is_named, references)):
        raise RequestRefused(_INVALID_ARGUMENT, "no instances in (0008,1199), or one unnamed")
    if len(references) > _MOST_REFERENCES:
        raise RequestRefused(_RESOURCE_LIMITATION, f"more than {_MOST_REFERENCES} instances")
    return transaction_uid, references


def event_type(result: CommitmentResult) -> int:
    """Return the Event Type ID of a result."""
    return FAILURES_EXIST if result.failed else ALL_COMMITTED


def event_information(result: CommitmentResult, retrieve_ae_title: str) -> Dataset:
    """Return the Event Information of a result (PS3.4 table J.3-2).

    Every instance of the request is in one of the two sequences, and in one only.
    """
    information = _data_set({_TRANSACTION_UID: result.transaction_uid})
    if result.committed:
        information.RetrieveAETitle = retrieve_ae_title
        items = [_item(one) for one in result.committed]
        information.ReferencedSOPSequence = ItemSequence(items)
    if result.failed:
        items = [_item(one, reason) for one, reason in result.failed]
        information.FailedSOPSequence = ItemSequence(items)
    return information


def _references(information: Dataset) -> Iterator[Reference]:
    for item in information.get("ReferencedSOPSequence") or ():
        yield Reference(
            sop_class_uid=str(item.get("ReferencedSOPClassUID", "")),
            sop_instance_uid=str(item.get("ReferencedSOPInstanceUID", "")),
        )


def _is_named(reference: Reference) -> bool:
    return is_uid(reference.sop_class_uid) and is_uid(reference.sop_instance_uid)


def _item(reference: Reference, reason: FailureReason | None = None) -> Dataset:
    item = _data_set(
        {
            _REFERENCED_SOP_CLASS_UID: reference.sop_class_uid,
            _REFERENCED_SOP_INSTANCE_UID: reference.sop_instance_uid,
        }
    )
    if reason is not None:
        item.FailureReason = int(reason)
    return item


def _data_set(uids: Mapping[int, str]) -> Dataset:
    """Return a data set with UIDs as the peer wrote them, which some do against the rules."""
    data_set = Dataset()
    for tag, uid in uids.items():
        data_set.add(DataElement(tag, "UI", uid, validation_mode=pydicom_config.IGNORE))
    return data_set


def _decoded(information: BytesIO | None, context: PresentationContext) -> Dataset:
    if information is None:
        return Dataset()
    syntax = UID(context.transfer_syntax)
    return decode(information, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)


def encoded(information: Dataset, context: PresentationContext) -> bytes:
    """Encode Event Information in the transfer syntax of a context."""
    syntax = UID(context.transfer_syntax)
    flags = (syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    encoded = encode(information, *flags)
    if encoded is None:
        raise PeerUnavailable("the report cannot be written in the context's transfer syntax")
    return encoded
