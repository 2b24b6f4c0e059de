"""What a bundle's process cannot do, tried in a process of its own."""

import subprocess
import sys

GUARDED = "from gateway.inference.isolation import *\nimport socket\nforbid_network()\n"

ATTEMPTS = (
    "socket.create_connection(('127.0.0.1', 9))",
    "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'x', ('::1', 9))",
    "socket.socket().bind(('127.0.0.1', 0))",
    "socket.getaddrinfo('localhost', 80)",
    "__import__('urllib.request').request.urlopen('http://127.0.0.1:9/')",
)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", GUARDED + code], capture_output=True, text=True)


def test_every_way_into_a_network_is_refused_and_processes_of_the_machine_may_talk() -> None:
    done = run(
        f"for attempt in {ATTEMPTS!r}:\n"
        "    try:\n"
        "        eval(attempt)\n"
        "    except OSError as error:\n"
        "        print('a bundle must not use the network' in str(error))\n"
        "a, b = socket.socketpair(); a.sendall(b'x'); print(b.recv(1) == b'x')"
    )
    assert done.stdout.split() == ["True"] * (len(ATTEMPTS) + 1), done.stderr


def test_the_kernel_ends_a_bundles_process_before_others() -> None:
    done = run("be_killed_first(); print(open('/proc/self/oom_score_adj').read())")
    assert int(done.stdout) >= 600


def test_libraries_that_download_are_told_to_be_offline() -> None:
    assert run("print(offline_environment()['HF_HUB_OFFLINE'])").stdout == "1\n"
