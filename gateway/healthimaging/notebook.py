"""Image sets in a notebook or a script: an iterator of data sets, without an event loop."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing

from botocore.exceptions import BotoCoreError
from botocore.session import Session as AwsSession
from pydicom.dataset import Dataset

from gateway.errors import AccessRefused, ImageSetIncomplete
from gateway.healthimaging.data_store import DataStore
from gateway.healthimaging.handover import handed_over
from gateway.healthimaging.instance import Instance, InstanceFailure
from gateway.healthimaging.pixel_data import PixelEncoding
from gateway.healthimaging.reading import read_instances
from gateway.healthimaging.session import Session


def read_image_set(
    datastore_id: str,
    image_set_id: str,
    *,
    region: str | None = None,
    endpoint_url: str = "",
    version: str | None = None,
    pixels: PixelEncoding | str = PixelEncoding.DECODED,
    on_failure: Callable[[InstanceFailure], None] | None = None,
) -> Generator[Dataset, None, None]:
    """Read an image set of AWS HealthImaging as pydicom data sets, in order, one at a time.

    In a notebook::

        import numpy as np
        from gateway.healthimaging import read_image_set

        slices = list(read_image_set(datastore_id, image_set_id, region="us-east-1"))
        volume = np.stack([dataset.pixel_array for dataset in slices])
        slices[0].save_as("first.dcm", enforce_file_format=True)

    Instances come by series and Instance Number, the first within a fraction of a second;
    later ones are fetched meanwhile, and no more of them are held than 32 MB of pixels, so that
    a loop over an image set of any size needs little memory. Credentials are found as the AWS
    SDKs find them. What differs from the files that were imported is in
    ``gateway/healthimaging/README.md``.

    Args:
        datastore_id: the data store.
        image_set_id: the image set, as `search_image_sets` or the console name it.
        region: the data store's region; left out, that of the AWS configuration.
        endpoint_url: a stand-in's address; left out, AWS.
        version: a version of the image set; left out, the latest.
        pixels: ``"decoded"``: frames that HealthImaging transcoded losslessly are native, in
            Explicit VR Little Endian; ``"as-stored"``: they are encapsulated HTJ2K. Frames in
            other transfer syntaxes are always as they are stored.
        on_failure: called for each instance that cannot be read; left out, they are raised
            together at the end, after all the others.

    Returns:
        An iterator; `close` or the end of it closes the connections.

    Raises:
        AccessRefused, NotFound, PeerRefused: a setting or a right is wrong; the message says which.
        PeerBusy, PeerUnavailable: HealthImaging does not answer for now.
        ImageSetIncomplete: instances could not be read, where there is no ``on_failure``.
    """
    data_store = DataStore(
        name="",
        region=region or _configured_region(),
        datastore_id=datastore_id,
        endpoint_url=endpoint_url,
    )
    items = _items(data_store, image_set_id, version, PixelEncoding(pixels))
    return _datasets(items, image_set_id, on_failure)


def _configured_region() -> str:
    try:
        region = AwsSession().get_config_variable("region")
    except BotoCoreError as error:
        raise AccessRefused(f"the AWS configuration cannot be read: {error}") from error
    if not region:
        raise AccessRefused("no region is given: pass region= or set AWS_DEFAULT_REGION")
    return str(region)


async def _items(
    data_store: DataStore, image_set_id: str, version: str | None, pixels: PixelEncoding
) -> AsyncGenerator[Instance | InstanceFailure, None]:
    async with Session(data_store) as session:
        stream = read_instances(session, image_set_id, version=version, pixels=pixels)
        async with aclosing(stream):
            async for item in stream:
                yield item


def _datasets(
    items: AsyncGenerator[Instance | InstanceFailure, None],
    image_set_id: str,
    on_failure: Callable[[InstanceFailure], None] | None,
) -> Generator[Dataset, None, None]:
    failures: list[str] = []
    for item in handed_over(items, size_bytes):
        if isinstance(item, Instance):
            yield item.dataset()
        elif on_failure is not None:
            on_failure(item)
        else:
            failures.append(str(item))
    if failures:
        raise ImageSetIncomplete(image_set_id, failures)


def size_bytes(item: Instance | InstanceFailure) -> int:
    """Return about how much memory an item takes."""
    return item.size_bytes if isinstance(item, Instance) else 0
