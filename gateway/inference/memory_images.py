"""Images that a bundle's own LoadImage and SaveImage read from memory and write to memory.

Both transforms stay where the bundle has them, with every option that it gave them. Only their
reader and their writer are exchanged, so that what the bundle sees, and what it would have
written, is the same as with files.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor, NibabelReader, NibabelWriter
from monai.data.utils import correct_nifti_header_if_necessary
from monai.transforms import Compose, LoadImage, LoadImaged, SaveImage, SaveImaged


class BundleUnsupported(Exception):
    """A bundle needs something that the way in which it is run does not offer."""


def as_nifti(
    array: npt.NDArray[np.float32], affine_ras: Sequence[Sequence[float]]
) -> nibabel.Nifti1Image:
    """Make the image that a NIfTI file of a volume (slices, rows, columns) holds.

    ``affine_ras`` takes (column, row, slice) to RAS mm; a header has it in single precision.
    """
    affine = np.asarray(affine_ras, dtype=np.float32).astype(np.float64)
    return nibabel.Nifti1Image(array.transpose(2, 1, 0), affine)


class MemoryReader(NibabelReader):  # type: ignore[misc]
    """A reader whose files are images in memory, by name; its options are another's."""

    def __init__(self, images: dict[str, nibabel.Nifti1Image], like: Any = None) -> None:
        options = {"channel_dim", "as_closest_canonical", "squeeze_non_spatial_dims"}
        given = {name: getattr(like, name) for name in options if hasattr(like, name)}
        super().__init__(**given)
        self._images = images

    def verify_suffix(self, filename: Any) -> bool:  # noqa: ARG002 - the base class's signature
        """Take every name."""
        return True

    def read(self, data: Any, **options: Any) -> Any:  # noqa: ARG002 - the base class's signature
        """Return the image of a name, or a list of images of several."""
        names = (data,) if isinstance(data, str) else tuple(data)
        self.filenames = names
        images = [correct_nifti_header_if_necessary(self._images[name]) for name in names]
        return images if len(images) > 1 else images[0]


class MemorySaver:
    """What stands in the place of a SaveImage: it keeps what would have been written.

    ``array`` is as in the file: (columns, rows, slices), or with channels as a fourth axis.
    """

    def __init__(self, saver: SaveImage, keys: Sequence[str], output_key: str) -> None:
        self._saver = saver
        self._keys = tuple(keys)
        self._output_key = output_key
        self._calls = 0
        self.array: npt.NDArray[Any] | None = None

    def clear(self) -> None:
        """Forget the last image."""
        self._calls = 0
        self.array = None

    def __call__(self, img: Any, meta_data: Any = None) -> Any:
        """Keep an image of the output key; called for each key in turn."""
        key = self._keys[self._calls % len(self._keys)]
        self._calls += 1
        if key == self._output_key:
            self.array = _written(self._saver, img, meta_data)
        return img


class Upload:
    """Moves images to a device as soon as they are loaded, so that transforms run there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the item with its images on the device."""
        return {
            key: value.to(self._device) if isinstance(value, MetaTensor) else value
            for key, value in item.items()
        }


def read_from_memory(transform: Any, images: dict[str, nibabel.Nifti1Image]) -> None:
    """Let every LoadImage within a transform read ``images``, which may be filled later.

    Raises BundleUnsupported when there is none, or when one has a reader of the bundle's own.
    """
    loaders = [getattr(one, "_loader", one) for one in _flat(transform) if _loads(one)]
    if not loaders:
        raise BundleUnsupported(
            "its preprocessing has no LoadImage; its descriptor must say `host: {path: file}`"
        )
    for loader in loaders:
        foreign = [type(r) for r in loader.readers if not type(r).__module__.startswith("monai.")]
        if foreign:
            raise BundleUnsupported(
                f"its reader {foreign[0].__name__} is its own; "
                "its descriptor must say `host: {path: file}`"
            )
        usual = [reader for reader in loader.readers if isinstance(reader, NibabelReader)]
        loader.readers = [MemoryReader(images, usual[-1] if usual else None)]


def write_to_memory(transform: Any, output_key: str) -> list[MemorySaver]:
    """Replace what writes files in every SaveImage within a transform; return the new savers."""
    savers = []
    for one in _flat(transform):
        if isinstance(one, SaveImaged):
            one.saver = MemorySaver(one.saver, one.keys, output_key)
            savers.append(one.saver)
    return savers


def upload_after_loading(transform: Any, device: torch.device) -> None:
    """Put an `Upload` behind the last transform that loads images."""
    if isinstance(transform, Compose):
        steps = list(transform.transforms)
        last = max(n for n, step in enumerate(steps) if any(map(_loads, _flat(step))))
        transform.transforms = [*steps[: last + 1], Upload(device), *steps[last + 1 :]]


def _flat(transform: Any) -> Iterator[Any]:
    if isinstance(transform, Compose):
        for one in transform.transforms:
            yield from _flat(one)
    else:
        yield transform


def _loads(transform: Any) -> bool:
    return isinstance(transform, LoadImage | LoadImaged)


def _written(saver: SaveImage, image: Any, meta_data: Any) -> npt.NDArray[Any]:
    """Return the array that a SaveImage gives to its file."""
    meta = image.meta if isinstance(image, MetaTensor) else meta_data
    options = dict(saver.data_kwargs)
    if meta and len(tuple(meta.get("spatial_shape", ()))) >= image.ndim:
        options["channel_dim"] = None
    writer = NibabelWriter(**saver.init_kwargs)
    writer.set_data_array(data_array=image, **options)
    if saver.meta_kwargs["resample"]:
        writer.set_metadata(meta_dict=meta, **saver.meta_kwargs)
    dtype = saver.init_kwargs["output_dtype"]
    file = NibabelWriter.create_backend_obj(writer.data_obj, affine=None, dtype=dtype)
    return np.asanyarray(file.dataobj)
