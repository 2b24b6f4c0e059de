"""The process of one model: loads its bundle once, then labels volumes until the socket closes.

Run by `gateway.inference.host_process` as ``python -m gateway.inference.host FD``, where FD is
one end of a Unix socket pair. Every bundle has a process of its own, because all bundles call
their Python package ``scripts``, and because a bundle may crash, hang, or take all memory.
"""

import logging
import os
import select
import socket
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from gateway.inference.bundle import bundle_digest
from gateway.inference.child import outlive_signals_but_not_the_parent
from gateway.inference.heap import return_freed_memory
from gateway.inference.isolation import be_killed_first, forbid_network
from gateway.inference.labels import label_map_of, likeliest, probabilities_of
from gateway.inference.network import LoadedBundle, Output
from gateway.inference.weights import allow_arrays
from gateway.inference.wire import ConnectionLost, Message, receive, send

_IDLE_SECONDS = 30.0  # after so long, others may have the memory that the last volume took
_TRACEBACK_CHARACTERS = 8000
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory")


class BundleChanged(Exception):
    """The bundle's files are not those that its descriptor names any more."""


def main() -> None:
    """Serve one parent on the socket whose file descriptor is the only argument."""
    # Handlers of MONAI and of bundles write where they like; errors are enough of that.
    logging.disable(logging.WARNING)
    connection = socket.socket(fileno=int(sys.argv[1]))
    outlive_signals_but_not_the_parent(connection)
    be_killed_first()
    forbid_network()
    allow_arrays()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    with suppress(ConnectionLost):
        serve(connection)


def serve(connection: socket.socket) -> None:
    """Load the bundle that the first message names, then answer each volume that comes.

    A bundle that cannot be loaded, and one that runs out of memory, ends the process after it
    was reported; one that fails on a volume is reported, and the next volume is taken. Raises
    ConnectionLost when the parent closes the socket.
    """
    request = receive(connection)
    try:
        hosted = _Hosted.load(request.fields)
    except Exception as error:  # noqa: BLE001 - outermost layer: a bundle is foreign code
        send(connection, _failure(error))
        return
    fields = {"device": str(hosted.bundle.device), "speed": hosted.bundle.speed.as_json()}
    send(connection, Message(kind="ready", fields=fields))
    del request
    while True:
        if not select.select([connection], [], [], _IDLE_SECONDS)[0]:
            return_freed_memory()
        answer = hosted.answer(receive(connection))
        send(connection, answer)
        if answer.kind == "exhausted":
            return


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Hosted:
    """A loaded bundle, and the labels of its probabilities; none where it gives labels."""

    bundle: LoadedBundle
    labels: tuple[int, ...]

    @classmethod
    def load(cls, fields: Mapping[str, Any]) -> Self:
        """Load the bundle, whose digest is that of the request."""
        wanted = dict(fields)
        labels = tuple(wanted.pop("labels"))
        # Between the check of its descriptor and now, somebody may have copied a newer one.
        if bundle_digest(Path(wanted["root"])) != wanted.pop("digest"):
            raise BundleChanged("the bundle's files were changed after they were verified")
        return cls(bundle=LoadedBundle.load(**wanted), labels=labels)

    def answer(self, request: Message) -> Message:
        """Label a volume, or say why not."""
        try:
            output = self.bundle.label(request.arrays, request.fields["affine_ras"])
            return self._labelled(output)
        except Exception as error:  # noqa: BLE001 - outermost layer: a bundle is foreign code
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            return _failure(error)

    def _labelled(self, output: Output) -> Message:
        arrays = [label_map_of(output.array)] if not self.labels else []
        if self.labels:
            probabilities = probabilities_of(output.array, self.labels)
            arrays = [likeliest(probabilities, self.labels), probabilities]
        fields = {
            "timings_ms": dict(output.timings_ms),
            "peak_mb": output.peak_mb,
            "speed": self.bundle.speed.as_json(),
        }
        return Message(kind="labelled", fields=fields, arrays=arrays)


def _failure(error: Exception) -> Message:
    """Describe an error of the bundle; its traceback names code, never data of a patient."""
    text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:]
    first: BaseException = error
    while first.__cause__ is not None:  # MONAI says at each layer that what is below it failed
        first = first.__cause__
    summary = (str(first).splitlines() or [""])[0][:500]
    fields = {"error": f"{type(first).__name__}: {summary}", "traceback": text}
    return Message(kind="exhausted" if _is_out_of_memory(error) else "failed", fields=fields)


def _is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory ran out, of the GPU or of the machine; torch has several ways to say."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    is_said = isinstance(error, RuntimeError) and any(w in str(error) for w in _OUT_OF_MEMORY)
    return is_said or (error.__cause__ is not None and _is_out_of_memory(error.__cause__))


if __name__ == "__main__":
    main()
