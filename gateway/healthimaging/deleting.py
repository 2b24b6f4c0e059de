"""What is deleted for good: image sets one by one, seen to be gone, and an empty data store."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from gateway.errors import NotFound, PeerBusy, PeerRefused
from gateway.healthimaging.data_store import Plane
from gateway.healthimaging.image_sets import image_set_properties
from gateway.healthimaging.retries import Retries
from gateway.healthimaging.session import Request, Session

PATIENCE = Retries(first_seconds=1.0, longest_seconds=10.0, give_up_seconds=300.0)
"""An account deletes one image set in 4 s (AWS HealthImaging, "Throttling limits")."""
_LOOKS = 30
_LOOK_SECONDS = 0.5
_DELETED = "DELETED"
_CONFLICT = 409


async def delete_image_sets(
    session: Session, image_set_ids: Sequence[str], retries: Retries = PATIENCE
) -> AsyncIterator[str]:
    """Delete image sets, and give the id of each as it is gone.

    Deleting takes the service a moment, which is waited for.

    Raises:
        NotFound: one is not there.
        PeerBusy: one is locked, or still there after a while.
        GatewayError: see `Session.answer`.
    """
    for image_set_id in image_set_ids:
        request = Request(
            url=session.data_store.image_set_url(image_set_id, "deleteImageSet"),
            subject=f"image set {image_set_id}",
        )
        await session.answer(request, retries)
        await _gone(session, image_set_id)
        yield image_set_id


async def delete_data_store(session: Session) -> None:
    """Delete the data store itself, which holds nothing any more.

    Raises:
        PeerRefused: it still holds image sets.
        GatewayError: see `Session.answer`.
    """
    store = session.data_store
    request = Request(
        url=store.url(Plane.CONTROL, "datastore", store.datastore_id),
        subject="deletion of the data store",
        method="DELETE",
        accepted=(200, _CONFLICT),
    )
    answer = await session.answer(request)
    if answer.status == _CONFLICT:
        raise PeerRefused(f"{store} still holds image sets; delete these first")


async def _gone(session: Session, image_set_id: str) -> None:
    for _ in range(_LOOKS):
        try:
            properties = await image_set_properties(session, image_set_id)
        except NotFound:
            return
        if properties.state == _DELETED:
            return
        await asyncio.sleep(_LOOK_SECONDS)
    raise PeerBusy(f"image set {image_set_id} is being deleted for longer than usual; look later")
