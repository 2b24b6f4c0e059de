"""Outgoing instances that tests of sending share."""

import io

from gateway.healthimaging.outgoing import Outgoing


def outgoing(number: int, content: bytes = b"part 10", *, series: str = "2.25.2") -> Outgoing:
    """Return an instance with this content, which need not be DICOM."""
    uid = f"{series}.{number}"
    return Outgoing(
        sop_instance_uid=uid,
        series_instance_uid=series,
        study_instance_uid="2.25.1",
        size_bytes=len(content),
        open=lambda: io.BytesIO(content),
        kept_uid=uid,
    )
