"""The tests themselves cannot reach a network."""

from __future__ import annotations

import os
import socket

import pytest
from pytest_socket import SocketConnectBlockedError


def test_a_host_outside_is_blocked() -> None:
    # 192.0.2.1 is reserved for documentation (RFC 5737): unblocked, the connection would time out instead.
    with socket.socket() as client:
        client.settimeout(0.2)
        with pytest.warns(UserWarning, match=r"192\.0\.2\.1"), pytest.raises(SocketConnectBlockedError):
            client.connect(("192.0.2.1", 80))


def test_the_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname(), timeout=5):
        peer, _ = server.accept()
        peer.close()


def test_libraries_and_child_processes_are_told_to_stay_offline() -> None:
    assert os.environ["HF_HUB_OFFLINE"] == "1"
