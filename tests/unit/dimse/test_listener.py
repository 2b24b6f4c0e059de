"""The listening socket: a thread for each connection, and no more of them than there may be."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from gateway.dimse.listener import Listener, host_of, listen, reserve_port, stop_listening
from tests.peers.processes import wait_until


class Held:
    """Serves connections by holding them until it is told to let go."""

    def __init__(self) -> None:
        self.hosts: list[str] = []
        self.let_go = threading.Event()

    def __call__(self, connection: socket.socket, host: str) -> None:
        self.hosts.append(host)
        connection.sendall(b"held")
        self.let_go.wait(20)


@pytest.fixture
def held() -> Iterator[Held]:
    serving = Held()
    yield serving
    serving.let_go.set()


def answer(port: int) -> tuple[socket.socket, bytes]:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    return connection, connection.recv(10)


def test_connections_beyond_the_most_are_closed_at_once_and_none_hangs(held: Held) -> None:
    with reserve_port("127.0.0.1", 0) as holder:
        port = holder.getsockname()[1]
        listener = Listener("127.0.0.1", port, held, 2)
        listener.start()
        first, second = answer(port), answer(port)
        third = answer(port)
        with closing(first[0]), closing(second[0]), closing(third[0]):
            assert [one[1] for one in (first, second, third)] == [b"held", b"held", b""]
            held.let_go.set()
            wait_until(lambda: _is_let_in(port), "there is room again", 10, 0.02)
        listener.stop()


def _is_let_in(port: int) -> bool:
    connection, said = answer(port)
    connection.close()
    return said == b"held"


def test_small_answers_are_not_held_back(held: Held) -> None:
    delays: list[int] = []

    def serve(connection: socket.socket, host: str) -> None:
        delays.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        held(connection, host)

    with reserve_port("127.0.0.1", 0) as holder:
        listener = Listener("127.0.0.1", holder.getsockname()[1], serve, 2)
        listener.start()
        answer(holder.getsockname()[1])[0].close()
        listener.stop()
    assert delays == [1]


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_a_host_has_one_name_whatever_family_the_socket_is_of(address: str, host: str) -> None:
    assert host_of(address) == host


def test_after_stopping_nobody_gets_a_connection_and_its_thread_ends(held: Held) -> None:
    with reserve_port("127.0.0.1", 0) as holder:
        port = holder.getsockname()[1]
        listener = Listener("127.0.0.1", port, held, 2)
        before = threading.active_count()
        listener.start()
        listener.stop()
        wait_until(lambda: threading.active_count() <= before, "the thread ends", 10, 0.02)
        with pytest.raises(ConnectionRefusedError):
            answer(port)


def test_processes_that_share_a_socket_take_connections_in_turn(held: Held) -> None:
    other = Held()
    with reserve_port("127.0.0.1", 0) as holder, ExitStack() as connections:
        listen(holder)
        listeners = [shared_listener(holder, held), shared_listener(holder, other)]
        for listener in listeners:
            listener.start()

        def taken() -> tuple[int, int]:
            connection, said = answer(holder.getsockname()[1])
            connections.enter_context(closing(connection))
            assert said == b"held"
            return len(held.hosts), len(other.hosts)

        before = next(counts for counts in iter(taken, None) if all(counts))  # both wait for one
        for _ in range(6):
            after = taken()
        assert after == (before[0] + 3, before[1] + 3)
        other.let_go.set()
        for listener in listeners:
            listener.stop()


def test_one_that_stops_leaves_a_shared_socket_to_the_others(held: Held) -> None:
    with reserve_port("127.0.0.1", 0) as holder:
        listen(holder)
        first, second = shared_listener(holder, held), shared_listener(holder, held)
        first.start()
        second.start()
        first.stop()
        for _ in range(2):
            connection, said = answer(holder.getsockname()[1])
            connection.close()
            assert said == b"held"
        second.stop()


def test_a_connection_made_while_no_process_accepts_is_served_by_the_next_one(held: Held) -> None:
    with reserve_port("127.0.0.1", 0) as holder:
        listen(holder)
        with socket.create_connection(holder.getsockname(), timeout=10) as early:
            listener = shared_listener(holder, held)
            listener.start()
            assert early.recv(10) == b"held"
        listener.stop()


def test_a_shared_socket_that_listens_no_more_ends_every_accepting_thread(held: Held) -> None:
    with reserve_port("127.0.0.1", 0) as holder:
        listen(holder)
        before = threading.active_count()
        for _ in range(2):
            shared_listener(holder, held).start()
        stop_listening(holder)
        wait_until(lambda: threading.active_count() <= before, "the threads end", 10, 0.02)
        with pytest.raises(ConnectionRefusedError):
            answer(holder.getsockname()[1])


def shared_listener(holder: socket.socket, serve: Held) -> Listener:
    """Listen as a process does that inherits the socket."""
    return Listener("127.0.0.1", holder.getsockname()[1], serve, 8, holder.dup())


def test_stopping_what_never_listened_is_no_error(held: Held) -> None:
    with reserve_port("127.0.0.1", 0) as holder:
        Listener("127.0.0.1", holder.getsockname()[1], held, 2).stop()
