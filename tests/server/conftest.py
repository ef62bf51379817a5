"""A service over the toys, on a free port of this process."""

import http.client
import json
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Client:
    """One connection to a service."""

    def __init__(self, port):
        self.port = port

    def __call__(self, method, path, body=None, headers=None):
        """(status, headers, body); the body is decoded where it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, response.headers, json.loads(content) if is_json else content


@pytest.fixture
def sample():
    """The bytes of the bundled picture."""
    return (ROOT / "data/sample.jpg").read_bytes()


@pytest.fixture(scope="session")
def toys():
    """The detector of the demo."""
    import pydarknet

    return pydarknet.load(ROOT / "cfg/toys.cfg", ROOT / "data/toys.weights", names=ROOT / "data/toys.names")


@contextmanager
def _services():
    uvicorn = pytest.importorskip("uvicorn", reason="needs pydarknet[serve]")
    pytest.importorskip("starlette", reason="needs pydarknet[serve]")
    from pydarknet.server.app import Service
    from pydarknet.utils.http_server import listen

    running = []

    def serve(engine, **options):
        listening, started = listen("127.0.0.1", 0), threading.Event()

        class Server(uvicorn.Server):
            async def startup(self, sockets=None):
                await super().startup(sockets)
                started.set()

        server = Server(uvicorn.Config(Service(engine, **options), log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        running.append((server, thread, engine, listening))
        assert started.wait(60)
        return Client(listening.getsockname()[1])

    yield serve
    for server, thread, engine, listening in running:
        server.should_exit = True
        thread.join(60)
        engine.close()
        listening.close()


@pytest.fixture
def start():
    """A function that serves an engine and gives a client; options are those of `Service`."""
    with _services() as serve:
        yield serve


@pytest.fixture(scope="session")
def ask(toys):
    """A client of the toys' service."""
    from pydarknet.server.engine import Engine

    with _services() as serve:
        yield serve(Engine(toys))
