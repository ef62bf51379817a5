"""The page of a training run: what is served, what viewers get while the log grows, and the page in a browser."""

import json
import threading
import time
import urllib.request
from itertools import islice
from urllib.error import HTTPError

import pytest
from support.browser import errors, resources, use_scheme, wait

from pydarknet.errors import DataError, OptionError
from pydarknet.server import live
from pydarknet.server.live import LiveServer, changes, find_run


def entry(iteration, **more):
    """A line of train.jsonl."""
    found = {"iteration": iteration, "loss": 20 / iteration, "average": 22 / iteration, "rate": 0.001, "seconds": 0.1}
    return {**found, "images": 16 * iteration, "load_seconds": 0.0, "width": 224, "height": 160, "batch": 16, **more}


def write(folder, entries, mode="w"):
    with (folder / "train.jsonl").open(mode) as stream:
        stream.writelines(json.dumps(each) + "\n" for each in entries)


def write_state(folder, **state):
    (folder / "live").mkdir(exist_ok=True)
    given = {
        "name": "cells",
        "status": "running",
        "max_batches": 100,
        "batch": False,
        "worst": [],
        "time": time.time(),
        **state,
    }
    (folder / "live/state.json").write_text(json.dumps(given))


@pytest.fixture
def run(tmp_path):
    """The folder of a run of 40 iterations."""
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder, [entry(i, **({"map": i / 100} if i % 20 == 0 else {})) for i in range(1, 41)])
    write_state(folder)
    (folder / "cells_last.weights").write_bytes(b"weights" * 100)
    return folder


@pytest.fixture
def serve():
    servers = []

    def start(*arguments, **options):
        servers.append(LiveServer(*arguments, **options))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def get(server, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/{path}", timeout=20) as reply:
        return reply.status, reply.headers["Content-Type"], reply.read()


def status_of(server, path):
    try:
        return get(server, path)[0]
    except HTTPError as error:
        return error.code


def some(events, count):
    """The next `count` events that are not silence."""
    return list(islice(((kind, json.loads(data)) for kind, data in events if kind), count))


def test_a_run_is_found_in_its_folder_or_above(run):
    assert find_run(run) == run
    assert find_run(run.parent) == run
    with pytest.raises(DataError, match=r"no train\.jsonl here"):
        find_run(run / "live")


def test_viewers_get_history_state_and_weights_then_what_is_new(run, monkeypatch):
    monkeypatch.setattr(live, "POLL", 0.01)
    events = changes(run)
    (reset, _), (log, history), (kind, state), (_, weights) = some(events, 4)
    assert (reset, log, kind) == ("reset", "log", "state")
    assert [each["iteration"] for each in history] == list(range(1, 41))
    assert state["max_batches"] == 100
    assert weights == [{"name": "cells_last.weights", "size": 700}]
    with (run / "train.jsonl").open("a") as stream:
        stream.write(json.dumps(entry(41)) + "\n" + json.dumps(entry(42))[:20])  # a line that is being written
        stream.flush()
        ((_, new),) = some(events, 1)
        assert [each["iteration"] for each in new] == [41]
        stream.write(json.dumps(entry(42))[20:] + "\n")
    assert some(events, 1) == [("log", [entry(42)])]
    write_state(run, status="finished")
    assert some(events, 1)[0][1]["status"] == "finished"


def test_a_log_that_is_replaced_or_cut_begins_anew(run, monkeypatch):
    monkeypatch.setattr(live, "POLL", 0.01)
    events = changes(run)
    some(events, 4)
    (run / "train.jsonl").replace(run / "train.old.jsonl")
    assert next(events) == ("", b"")  # nothing is there
    write(run, [entry(1)])
    assert some(events, 2) == [("reset", {}), ("log", [entry(1)])]
    write(run, [])
    assert some(events, 1) == [("reset", {})]


def test_a_long_history_is_thinned_out_but_keeps_measurements(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "POINTS", 50)
    write(tmp_path, [entry(i, **({"map": 0.5} if i in (7, 333) else {})) for i in range(1, 1001)])
    history = some(changes(tmp_path), 2)[1][1]
    iterations = [each["iteration"] for each in history]
    assert len(iterations) <= 53 and iterations[0] == 1 and iterations[-1] == 1000
    assert {7, 333} <= set(iterations)


def test_a_run_without_live_has_a_name(tmp_path):
    write(tmp_path, [entry(1)])
    kinds = dict(some(changes(tmp_path), 4))
    assert (kinds["state"]["name"], kinds["state"]["status"]) == (tmp_path.name, "unknown")


def test_files_of_the_run_and_no_others(run, serve):
    server = serve(run, 0)
    assert get(server, "cells_last.weights") == (200, "application/octet-stream", b"weights" * 100)
    assert get(server, "")[1] == "text/html; charset=utf-8"
    (run / "secret.txt").write_text("secret")
    (run.parent / "other.weights").write_bytes(b"other")
    for path in (
        "secret.txt",
        "../other.weights",
        "%2e%2e/other.weights",
        "live/state.json",
        "live/batch.jpg",
        "none.weights",
    ):
        assert status_of(server, path) == 404, path


@pytest.mark.parametrize("path", ["", "events", "train.jsonl", "cells_last.weights"])
def test_a_name_that_is_not_this_machines_is_refused(run, serve, path):
    asked = urllib.request.Request(f"http://127.0.0.1:{serve(run, 0).port}/{path}", headers={"Host": "evil.example"})
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(asked, timeout=20)
    assert caught.value.code == 403
    assert caught.value.read() == b"host 'evil.example': expected localhost or the number of an address\n"


def test_a_token(run, serve):
    server = serve(run, 0, token="s3cret")
    assert server.url.endswith("/?token=s3cret")
    assert [status_of(server, path) for path in ("", "events", "cells_last.weights", "?token=s3cre")] == [401] * 4
    assert status_of(server, "?token=s3cret") == status_of(server, "cells_last.weights?token=s3cret") == 200


def test_a_taken_port_and_an_empty_address(run, serve):
    server = serve(run, 0)
    with pytest.raises(OptionError, match=f"port {server.port}: cannot listen on 127.0.0.1"):
        serve(run, server.port)
    with pytest.raises(OptionError, match='address ""'):
        serve(run, 0, "")


def test_many_viewers_come_and_go(run, serve):
    server, seen = serve(run, 0), []

    def view():
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/events", timeout=20) as reply:
            while not (line := reply.readline()).startswith(b"data: ["):
                assert line
            seen.append(len(json.loads(line[6:])))

    threads = [threading.Thread(target=view) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [40] * 12


@pytest.mark.slow
def test_the_page_in_a_browser(browser, run, serve, monkeypatch):
    monkeypatch.setattr(live, "POLL", 0.05)
    import numpy as np

    from pydarknet.images.image import write_image

    for name in ("batch", "worst_1"):
        write_image(run / f"live/{name}.jpg", np.full((60, 80, 3), 200, np.uint8))
    write_state(run, batch=True, worst=[{"file": "worst_1.jpg", "name": "a & <b>.jpg", "missed": 3, "of": 5}])
    server = serve(run, 0)

    def text(name):
        return browser.find_element("id", name).text

    browser.get(server.url)
    wait(browser, lambda: text("iteration") == "40 of 100")
    assert (browser.title, text("status"), text("measure")) == ("cells", "running", "40.00 %, 40.00 %")
    assert text("left") == "0:00:06"
    assert "a & <b>.jpg: 3 of 5 missed" in text("worst")
    assert "cells_last.weights" in text("weights")
    wait(
        browser,
        lambda: browser.execute_script("return [...document.images].every(each => each.naturalWidth === 80)"),
    )
    marks = """
        const [r, g, b] = arguments[0], data = $("chart").getContext("2d").getImageData(0, 0, $("chart").width,
            $("chart").height).data;
        let count = 0;
        for (let i = 0; i < data.length; i += 4) count += data[i] === r && data[i + 1] === g && data[i + 2] === b;
        return count;
    """
    blue, red = [37, 99, 235], [220, 38, 38]
    assert browser.execute_script(marks, blue) > 200  # the curve of the loss
    assert browser.execute_script(marks, red) > 50  # that of mAP
    write(run, [entry(i) for i in range(41, 61)], "a")
    wait(browser, lambda: text("iteration") == "60 of 100")
    browser.refresh()
    wait(browser, lambda: text("iteration") == "60 of 100")
    write_state(run, time=time.time() - 120)
    wait(browser, lambda: text("status").startswith("silent for 0:02:0"))
    write_state(run, status="finished")
    wait(browser, lambda: text("status") == "finished")
    browser.set_window_size(360, 800)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    use_scheme(browser, "dark")
    assert browser.execute_script("return getComputedStyle(document.body).color") == "rgb(255, 255, 255)"
    assert all(name.startswith("http://127.0.0.1:") for name in resources(browser))
    assert errors(browser) == []


@pytest.mark.slow
def test_the_keyboard_reaches_every_link(browser, run, serve):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    server, links = serve(run, 0), ["cells_last.weights (0.0 MB)", "train.jsonl"]
    browser.get(server.url)
    wait(browser, lambda: "cells_last" in browser.find_element("id", "weights").text)
    browser.execute_script(
        "document.addEventListener('click', event => { event.preventDefault(); clicked = event.target.innerText; })"
    )
    reached, clicked = [], []
    for _ in range(6):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if browser.execute_script("return document.activeElement.tagName") != "A":
            continue
        reached.append(browser.execute_script("return document.activeElement.innerText"))
        ActionChains(browser).send_keys(Keys.ENTER).perform()
        clicked.append(browser.execute_script("return clicked"))
    assert reached[:2] == clicked[:2] == links
