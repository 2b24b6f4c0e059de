"""The exception tree: what went wrong, on which object, and what to do about it.

::

    GatewayError
    ├── Transient                  trying again may help
    │   ├── PeerUnavailable        no connection, a timeout, an abort
    │   ├── PeerBusy               the peer answered "out of resources"
    │   ├── StoreFull              less free space than the reserve
    │   ├── StoreUnavailable       the store's files or index took nothing
    │   ├── TooManyAssociations    the node, or one peer, has as many as it may have
    │   └── BundleHostLost         a model's process was closed, or ended while it loaded
    ├── Permanent                  trying again gives the same answer
    │   ├── ConfigurationInvalid   settings, rules or models, with every problem's position
    │   ├── PeerRefused            the peer will not take this object
    │   ├── AccessRefused          there are no credentials, or the cloud does not take them
    │   ├── ModelFailed            the bundle raised an error on this series
    │   ├── KeyUnusable            the key of pseudonyms is gone, or is another one
    │   └── NotFound               no such series, job, node or model
    └── Rejected                   the input itself is refused
        ├── ProtocolViolated       a peer sent what the DICOM upper layer does not know
        ├── RequestMalformed       an HTTP request's body is not what its header says
        ├── DataSetUnreadable      no UID, class, study or series can be read from it
        ├── FrameUnreadable        a frame's checksum is wrong, or no decoder reads it
        ├── ImageSetIncomplete     some instances of an image set could not be read
        ├── InstanceMismatch       the command names another instance than the data set
        │   └── StudyMismatch      the request names another study than the data set
        ├── IdentifierRefused      a query or retrieval does not say what its level needs
        ├── InstancesRefused       for a reason that some instances of a series show
        │   ├── GeometryRefused    the series is no regular grid of slices
        │   ├── InputRefused       the series is not what the model takes
        │   └── DeidentificationRefused  an instance may show or say whose it is
        └── PseudonymUnknown       an object is not of a study that was de-identified here
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


class GatewayError(Exception):
    """Every error the gateway raises on purpose."""

    dimse_status: ClassVar[int] = 0xC000
    """Status of a C-STORE response that this error ends (PS3.4 table B.2-1)."""
    http_status: ClassVar[int] = 500
    """Status of an HTTP response that this error ends."""
    retry_helps: ClassVar[bool] = False
    """Whether the same attempt may succeed later."""


class Transient(GatewayError):
    """A condition that passes by itself; the attempt is repeated with growing pauses."""

    dimse_status = 0xA700
    http_status = 503
    retry_helps = True


class PeerUnavailable(Transient):
    """A peer could not be reached, did not answer in time, or aborted."""


class PeerBusy(Transient):
    """A peer answered that it is out of resources (A7xxH)."""


class StoreFull(Transient):
    """The store has less free space than its reserve."""

    http_status = 507


class StoreUnavailable(Transient):
    """The store's file system or its index did not take what was to be kept."""


class TooManyAssociations(Transient):
    """The node, or one peer, has as many associations open as the settings let it have."""


class BundleHostLost(Transient):
    """A model's process, or one that decodes for it, was closed with its worker.

    Or the model's ended before its bundle was loaded. One that ends on a series is tried again
    in a fresh process, and then is a ModelFailed.
    """


class Permanent(GatewayError):
    """A condition that only a person can change."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file that people edit; prints as ``file:line:column: message``.

    Lines and columns count from 1; 0 means that no position is known.
    """

    path: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


class ConfigurationInvalid(Permanent):
    """Settings, rules or models are wrong; ``problems`` holds all that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class PeerRefused(Permanent):
    """A peer will not take this object: context not accepted, A9xxH, Cxxx, 0122H."""

    http_status = 502


class AccessRefused(Permanent):
    """A cloud service does not let the node in: no credentials, wrong ones, or no right to it."""

    http_status = 502


class ModelFailed(Permanent):
    """A bundle raised an error on a series."""


class KeyUnusable(Permanent):
    """The key of pseudonyms is missing or broken, or is not the one they were made with."""


class NotFound(Permanent):
    """Nothing of that name is known here."""

    http_status = 404


class Rejected(GatewayError):
    """Input that is refused, with the reason."""

    http_status = 409


class ProtocolViolated(Rejected):
    """A peer sent what is no PDU or message, or not where it came (PS3.8 section 9)."""


class RequestMalformed(Rejected):
    """The body of an HTTP request is not what its header says, or ends too early."""

    http_status = 400


class DataSetUnreadable(Rejected):
    """A data set does not parse to an instance UID, a class, a study and a series."""

    dimse_status = 0xC000


class FrameUnreadable(Rejected):
    """A frame is not what its checksum says, or is in no form that the gateway decodes."""


class ImageSetIncomplete(Rejected):
    """Instances of an image set could not be read; ``failures`` says of each which and why."""

    def __init__(self, image_set_id: str, failures: Sequence[str]) -> None:
        self.failures = tuple(failures)
        count = f"{len(failures)} instance{'s' * (len(failures) > 1)}"
        super().__init__(f"image set {image_set_id}: {count} could not be read; {failures[0]}")


class InstanceMismatch(Rejected):
    """The SOP Instance or Class UID of the command differs from the data set's (A9xxH)."""

    dimse_status = 0xA900


class StudyMismatch(InstanceMismatch):
    """An instance is of another study than the one its request names (A9xxH)."""

    dimse_status = 0xA901


class IdentifierRefused(Rejected):
    """A query's or retrieval's identifier does not match its SOP class (A900H)."""

    dimse_status = 0xA900
    http_status = 400


class InstancesRefused(Rejected):
    """A series is refused for a typed reason, which some of its instances show.

    ``reason`` is a member of an enumeration, as text, or empty where the sentence ``detail`` says
    it all; ``instances`` are the SOP Instance UIDs that show it.
    """

    def __init__(self, reason: str, detail: str, instances: Sequence[str] = ()) -> None:
        self.reason = reason
        self.detail = detail
        self.instances = tuple(instances)
        prefix = f"{reason}: " if reason else ""
        super().__init__(f"{prefix}{detail}")


class GeometryRefused(InstancesRefused):
    """A series is no regular grid of slices, by a `gateway.dicom.reasons.GeometryReason`."""


class InputRefused(InstancesRefused):
    """A series is not what the model takes, by a `gateway.dicom.reasons.InputReason` or none."""

    def __init__(self, detail: str, *, reason: str = "", instances: Sequence[str] = ()) -> None:
        super().__init__(reason, detail, instances)


class DeidentificationRefused(InstancesRefused):
    """An instance is not de-identified, since it may show or say whose it is.

    Its reason is a `gateway.dicom.deidentification.DeidentificationReason`.
    """


class PseudonymUnknown(Rejected):
    """An object's patient or study is no pseudonym of this node, or the two do not match."""
