"""Who knows the secret gets in; strangers who say nothing, garbage or too much neither get in nor delay the others."""

import contextlib
import os
import socket
import threading
import time

import pytest

from utils.system import meeting
from utils.system.meeting import Door, connect_locally, connect_to_any, enter, listeners_towards, local_listener

SECRET = b"of this run"


class Hub:
    """A hub that expects processes 1 and 2, on this machine or as if on several."""

    def __init__(self, kind, job):
        self._job = job
        listeners = [local_listener(job)] if kind == "local" else listeners_towards(["localhost"])
        self.addresses = [listener.getsockname()[:2] for listener in listeners]
        self.guests = {}
        self._connections = []
        self.door = Door(listeners, SECRET, [1, 2], self.guests.__setitem__)

    def connect(self):
        local = isinstance(self.addresses[0], bytes)
        connection = connect_locally(self._job) if local else connect_to_any(self.addresses)
        self._connections.append(connection)
        return connection

    def let_in(self, number, secret=SECRET, timeout_s=5.0):
        return enter(self.connect, secret, number, time.monotonic() + timeout_s, lambda: False)

    def lacks_only(self, numbers, timeout_s=10.0):
        """Whether the door comes to miss these processes; it learns of a process a moment after that one is in."""
        until = time.monotonic() + timeout_s
        while self.door.missing != numbers and time.monotonic() < until:
            time.sleep(0.01)
        return self.door.missing == numbers

    def close(self):
        self.door.close()
        for connection in (*self._connections, *self.guests.values()):
            connection.close()


@pytest.fixture(params=["local", "network"])
def hub(request, tmp_path):
    hub = Hub(request.param, str(tmp_path))
    yield hub
    hub.close()


def send(connection, content, pause_s=0.0):
    """Sends bytes until the other end closes."""
    try:
        for place in range(0, len(content), 4096 if pause_s == 0 else 1):
            connection.sendall(content[place : place + (4096 if pause_s == 0 else 1)])
            time.sleep(pause_s)
    except OSError:
        pass


STRANGERS = {
    "silent": lambda connection: None,
    "garbage": lambda connection: send(connection, os.urandom(4096) + b"\n"),
    "nested": lambda connection: send(connection, b"[" * 200_000 + b"\n"),
    "flood": lambda connection: send(connection, b"x" * 2**23),
    "drip": lambda connection: threading.Thread(
        target=send, args=(connection, b"x" * 30), kwargs={"pause_s": 0.1}, daemon=True
    ).start(),
    "closed": lambda connection: connection.close(),
}


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_before_the_processes_delays_none_of_them(hub, stranger):
    strangers = [hub.connect() for _ in range(5)]
    for connection in strangers:
        STRANGERS[stranger](connection)
    began = time.monotonic()
    guests = [hub.let_in(number) for number in (1, 2)]
    assert hub.door.wait(5)
    assert hub.door.missing == []
    assert time.monotonic() - began < meeting.INTRODUCTION_S / 2
    guests[0].sendall(b"hello")
    assert hub.guests[1].recv(5) == b"hello"


def test_more_strangers_than_fit_keep_no_process_out(hub):
    for _ in range(meeting._MOST_WAITING + 10):
        hub.connect()
    assert hub.let_in(1) is not None
    assert hub.lacks_only([2])


def test_who_lacks_the_secret_or_comes_twice_is_turned_away(hub):
    assert hub.let_in(1, b"of another run", timeout_s=0.3) is None
    assert hub.let_in(1) is not None
    assert hub.lacks_only([2])
    again = hub.let_in(1)  # the hub hears who it is before it turns it away
    assert again is None or again.recv(1) == b""
    assert hub.door.missing == [2]


def test_processes_of_other_users_stay_outside(tmp_path, monkeypatch):
    hub = Hub("local", str(tmp_path))
    monkeypatch.setattr(meeting, "_credentials", lambda connection: (1, os.getuid() + 1, 1))
    assert hub.let_in(1, timeout_s=0.2) is None
    assert hub.door.missing == [1, 2]
    hub.close()


def test_who_is_slow_is_turned_away(hub, monkeypatch):
    monkeypatch.setattr(meeting, "INTRODUCTION_S", 0.3)
    with hub.connect() as stranger:
        stranger.settimeout(5)
        assert len(stranger.recv(64)) == 32
        began = time.monotonic()
        threading.Thread(target=send, args=(stranger, b"x" * 100, 0.05), daemon=True).start()
        with contextlib.suppress(ConnectionResetError):  # the hub closed before it read all
            while stranger.recv(64):
                pass
        assert time.monotonic() - began < 2


def test_behind_the_last_process_the_door_is_closed(hub):
    guests = [hub.let_in(number) for number in (1, 2)]
    assert hub.door.wait(5)
    hub.door.close()
    with pytest.raises(OSError, match="refused"):
        hub.connect()
    assert None not in guests


def test_a_process_does_not_trust_a_hub_without_the_secret(hub):
    connection = hub.connect()
    answers = []

    def imposter(listener):
        found, _ = listener.accept()
        with found:
            found.sendall(bytes(32))
            answers.append(found.recv(1000))
            found.sendall(bytes(32))

    connection.close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=imposter, args=(listener,), daemon=True)
        thread.start()
        address = listener.getsockname()
        until = time.monotonic() + 0.5
        found = enter(lambda: socket.create_connection(address, 0.3), SECRET, 1, until, lambda: len(answers) > 0)
        thread.join(5)
    assert found is None
    assert SECRET not in answers[0]


def test_the_network_listens_on_the_address_of_the_route_only():
    listeners = listeners_towards(["localhost", "no.such.host.invalid"])
    try:
        assert [listener.getsockname()[0] for listener in listeners] in (["127.0.0.1"], ["::1"])
    finally:
        for listener in listeners:
            listener.close()
