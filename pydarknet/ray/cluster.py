"""The Ray cluster that a command runs on: one that exists, or one of this machine's processors."""

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from ..errors import OptionError, needed_package

PATIENCE = 5.0  # seconds to wait for a cluster
TOKEN = "it asks for a token; expected RAY_AUTH_MODE=token, and the token in RAY_AUTH_TOKEN or ~/.ray/auth_token"
LEAST_STORE = 80 << 20  # bytes; Ray takes no smaller object store


@contextlib.contextmanager
def cluster(address: str | None = None, store: int = LEAST_STORE) -> Iterator[Any]:
    """The package ray, while this process belongs to the cluster at `address`; it leaves the cluster at the end.

    address: HOST:PORT, or auto for the cluster of this machine; None: what $RAY_ADDRESS names, else a new cluster
    of this machine's processors, whose object store takes at most `store` bytes. Within a program that has called
    `ray.init` itself, its cluster is used. What its processes print is in Ray's logs, and signals are handled as
    before. Raises OptionError without Ray, and where no cluster answers.
    """
    with needed_package("this needs the package ray", "'pydarknet[ray]'"):
        import ray
    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    own = {"include_dashboard": False, "object_store_memory": max(store, LEAST_STORE)} if address == "local" else {}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        host, found, port = address.rpartition(":")
        if found and "/" not in host:
            socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()  # Ray itself waits for minutes
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except (OSError, RuntimeError, ValueError) as error:
        reason = TOKEN if "AuthToken" in str(error.__cause__) else str(error).splitlines()[0]
        raise OptionError(f"--address {address}: no Ray cluster answers: {reason}") from None
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's would end the program at once
        yield ray
    finally:
        ray.shutdown()
