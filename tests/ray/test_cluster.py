"""The cluster of a command: bad addresses are one line."""

import socket

import pytest

from pydarknet.errors import OptionError
from pydarknet.ray.cluster import cluster

pytest.importorskip("ray")
pytestmark = pytest.mark.cluster


def test_an_address_where_no_cluster_answers_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(OptionError, match=f"--address {address}: no Ray cluster answers: "), cluster(address):
        pass


def test_a_cluster_that_asks_for_a_token_is_said_so(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("Failed to connect") from RuntimeError("RPC error: InvalidAuthToken")

    monkeypatch.setattr("ray.init", refuse)
    with pytest.raises(OptionError, match=r"--address auto: .*it asks for a token; expected RAY"), cluster("auto"):
        pass


def test_an_address_without_a_port_number_is_an_error():
    with pytest.raises(OptionError, match="--address host:port: no Ray cluster answers"), cluster("host:port"):
        pass
