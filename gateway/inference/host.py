"""The process of one model: loads its bundle once, then labels volumes until the socket closes.

Run by `gateway.inference.hosts` as ``python -m gateway.inference.host FD``, where FD is one end
of a Unix socket pair. Every bundle has a process of its own, because all bundles call their
Python package ``scripts``, and because a bundle may crash.
"""

import logging
import os
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress

import torch

from gateway.inference.network import LoadedBundle
from gateway.inference.wire import ConnectionLost, Message, receive, send

_PARENT_CHECK_MS = 1000
_TRACEBACK_CHARACTERS = 8000


def main() -> None:
    """Serve one parent on the socket whose file descriptor is the only argument."""
    # Handlers of MONAI and of bundles write where they like; errors are enough of that.
    logging.disable(logging.WARNING)
    connection = socket.socket(fileno=int(sys.argv[1]))
    _outlive_signals_but_not_the_parent(connection)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    with suppress(ConnectionLost):
        serve(connection)


def serve(connection: socket.socket) -> None:
    """Load the bundle that the first message names, then answer each volume that comes.

    A bundle that cannot be loaded ends the process after it was reported; one that fails on a
    volume is reported, and the next volume is taken. Raises ConnectionLost when the parent
    closes the socket.
    """
    request = receive(connection)
    try:
        bundle = LoadedBundle.load(**request.fields)
    except Exception as error:  # noqa: BLE001 - outermost layer: a bundle is foreign code
        send(connection, _failure(error))
        return
    send(connection, Message(kind="ready", fields={"device": str(bundle.device)}))
    del request
    while True:
        send(connection, _answer(bundle, receive(connection)))


def _answer(bundle: LoadedBundle, request: Message) -> Message:
    try:
        labelled = bundle.label(request.arrays[0], request.fields["affine_ras"])
    except Exception as error:  # noqa: BLE001 - outermost layer: a bundle is foreign code
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return _failure(error)
    return Message(
        kind="labelled", fields={"timings_ms": labelled.timings_ms}, arrays=[labelled.label_map]
    )


def _failure(error: Exception) -> Message:
    """Describe an error of the bundle; its traceback names code, never data of a patient."""
    text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:]
    summary = (str(error).splitlines() or [""])[0][:500]
    fields = {"error": f"{type(error).__name__}: {summary}", "traceback": text}
    return Message(kind="failed", fields=fields)


def _outlive_signals_but_not_the_parent(connection: socket.socket) -> None:
    """Leave ending to the parent, which drains first; end at once when the parent is gone.

    A service manager or a terminal signals the whole group of processes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    watch = threading.Thread(
        target=_exit_with_parent, args=(connection.fileno(), os.getppid()), daemon=True
    )
    watch.start()


def _exit_with_parent(connection_fd: int, parent_pid: int) -> None:
    # Not PR_SET_PDEATHSIG: that fires when the thread that started this process ends.
    poll = select.poll()
    poll.register(connection_fd, select.POLLRDHUP)
    while not poll.poll(_PARENT_CHECK_MS) and os.getppid() == parent_pid:
        continue
    os._exit(0)


if __name__ == "__main__":
    main()
