"""Fixtures of the whole suite: small networks from cfg text, with seeded parameters."""

import os
import sys
import textwrap
from pathlib import Path

import pytest
from support.browser import MISSING, chromium, errors, use_scheme
from support.networks import randomise

from pydarknet.config.dialect import choose_dialect
from pydarknet.config.sections import read_config
from pydarknet.network.network import Network

# The suite runs in several processes already, and compares what commands print, on machines with an empty cache too.
os.environ.setdefault("PYDARKNET_COMPILE_PROCESSES", "1")
os.environ.setdefault("PYDARKNET_PROGRESS", "0")
if sys.dont_write_bytecode:  # the hundreds of processes that tests start would compile the package anew each time
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(Path(__file__).parents[1] / ".pytest_cache/bytecode")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


@pytest.fixture
def write_cfg(tmp_path):
    """Write a text to a file and return its path; a common margin of the lines is taken away."""

    def write(text, name="net.cfg"):
        path = tmp_path / name
        path.write_bytes(textwrap.dedent(text).encode())
        return path

    return write


@pytest.fixture
def build(write_cfg):
    """Build a network from cfg text; every parameter gets a seeded random value unless `seed` is None."""

    def make(text, dialect="pjreddie", seed=1, **options):
        config = read_config(write_cfg(text))
        network = Network(config, choose_dialect(dialect, config), **options)
        if seed is not None:
            randomise(network, seed)
        return network

    return make


@pytest.fixture
def empty_charts(request, monkeypatch):
    """An empty file in the place of chart.png, which takes a quarter of a second, but in tests of the chart."""
    if "chart" not in request.node.name:
        from pydarknet.training.run_folder import Chart

        monkeypatch.setattr(Chart, "draw", lambda chart: chart.path.write_bytes(b""))


@pytest.fixture(scope="session")
def _chromium():
    pytest.importorskip("selenium", reason="needs selenium")
    if MISSING:
        pytest.skip("needs Chromium and chromedriver")
    with chromium() as driver:
        yield driver


@pytest.fixture
def browser(_chromium):
    """Chromium with a blank page, for which a second is needed only once."""
    _chromium.get("about:blank")
    _chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    _chromium.set_window_size(1200, 900)
    use_scheme(_chromium, "light")
    errors(_chromium)
    return _chromium


@pytest.fixture
def warnings(caplog):
    """The lines that the library has logged so far."""
    return lambda: [record.getMessage() for record in caplog.records if record.name == "pydarknet"]
