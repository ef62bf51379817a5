"""The service over HTTP: answers, refusals, limits."""

import http.client
import json
import socket
import struct
import threading
import time
import zlib

import pytest
from support.processes import wait_until

from pydarknet.server.engine import Engine

pytest.importorskip("starlette", reason="needs pydarknet[serve]")
from pydarknet.server.app import Limits


def form(content, name="my dog.jpg", field="image"):
    """A multipart body and its header."""
    head = f'--xyz\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--xyz--\r\n", {"Content-Type": "multipart/form-data; boundary=xyz"}


def huge_png():
    """A PNG file of a few kilobytes that claims 400 million pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_objects_are_those_of_detect(ask, toys, sample):
    status, _, answer = ask("POST", "/v1/detect?thresh=0.3", sample)
    expected = json.loads(toys.detect(sample, 0.3).to_json())
    assert status == 200
    assert answer["objects"] == expected["objects"] and len(answer["objects"]) == 10
    assert (answer["width"], answer["height"], answer["filename"]) == (640, 480, None)


def test_options_of_a_request(ask, toys, sample):
    for thresh, nms in ((0.01, 0.45), (0.5, 0.1), (0.01, 0)):
        _, _, answer = ask("POST", f"/v1/detect?thresh={thresh}&nms={nms}", sample)
        assert answer["objects"] == json.loads(toys.detect(sample, thresh, nms=nms).to_json())["objects"]
    _, _, by_default = ask("POST", "/v1/detect", sample)
    assert by_default["objects"] == json.loads(toys.detect(sample).to_json())["objects"]


def test_a_form_has_a_file_with_a_name(ask, sample):
    status, _, answer = ask("POST", "/v1/detect?thresh=0.3", *form(sample))
    assert (status, answer["filename"], len(answer["objects"])) == (200, "my dog.jpg", 10)


def test_the_annotated_picture(ask, toys, sample):
    from pydarknet.images.image import decode_image, encode_image

    status, headers, picture = ask("POST", "/v1/detect?annotated=true&thresh=0.3", sample)
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    assert picture == encode_image(toys.detect(sample, 0.3).plot())
    assert decode_image(picture).shape == (480, 640, 3)


def test_a_classifier_answers_with_classes(start, tmp_path, sample):
    import pydarknet

    cfg = tmp_path / "c.cfg"
    cfg.write_text("[net]\nwidth=16\nheight=16\nchannels=3\n[connected]\noutput=4\nactivation=linear\n[softmax]\n")
    (tmp_path / "names").write_text("ant\nbee\ncat\ndog\n")
    model = pydarknet.load(cfg, names=tmp_path / "names")
    ask = start(Engine(model))
    status, _, answer = ask("POST", "/v1/classify?top=2", sample)
    expected = model.classification(sample, 2)
    assert status == 200
    assert [(each["class_id"], each["name"]) for each in answer["classes"]] == [
        (each.class_id, each.name) for each in expected.predictions
    ]
    assert ask("POST", "/v1/detect", sample)[0] == 404
    assert ask("GET", "/v1/model")[2]["task"] == "classify"


def test_the_model_and_the_state(ask, toys):
    status, _, model = ask("GET", "/v1/model")
    assert (status, model["task"], model["input"]) == (200, "detect", {"width": 192, "height": 144, "channels": 3})
    assert model["names"] == toys.names
    assert ask("GET", "/healthz")[0] == 200
    openapi = ask("GET", "/openapi.json")[2]
    assert {"/v1/detect", "/v1/classify", "/v1/model", "/healthz", "/metrics"} <= set(openapi["paths"])
    status, _, refusal = ask("GET", "/nothing")
    assert (status, refusal) == (404, {"error": "Not Found"})
    status, headers, _ = ask("GET", "/v1/detect")
    assert (status, headers["Allow"]) == (405, "POST")


def test_metrics_count_answers(toys, start, sample):
    ask = start(Engine(toys))
    ask("POST", "/v1/detect", sample)
    ask("POST", "/v1/detect", b"no picture")
    for path in ("/a", "/b"):
        ask("GET", path)
    text = ask("GET", "/metrics")[2].decode()
    assert 'pydarknet_requests_total{path="/v1/detect",status="200"} 1\n' in text
    assert 'pydarknet_requests_total{path="/v1/detect",status="400"} 1\n' in text
    assert 'pydarknet_requests_total{path="other",status="404"} 2\n' in text
    assert "pydarknet_request_seconds_count 4\n" in text
    assert "pydarknet_requests_under_way 0\n" in text


@pytest.mark.parametrize(("path", "body", "says"), [
    ("/v1/detect", b"", "empty"),
    ("/v1/detect", b"no picture", "unknown or damaged format"),
    ("/v1/detect", huge_png(), "20000 x 20000 pixels; expected at most 50000000"),
    ("/v1/detect?thresh=2", b"", "thresh='2'"), ("/v1/detect?thresh=nan", b"", "thresh='nan'"),
    ("/v1/detect?nms=-1", b"", "nms='-1': expected a number from 0 to 1"),
    ("/v1/detect?annotated=maybe", b"", "annotated='maybe': expected true or false"),
    ("/v1/detect?treshold=0.3", b"", "'treshold': no such option; expected one of thresh, nms, hier, annotated"),
], ids=["empty", "text", "bomb", "thresh", "nan", "nms", "flag", "unknown"])  # fmt: skip
def test_bad_requests_get_one_line(ask, path, body, says):
    status, _, answer = ask("POST", path, body)
    assert status == 400
    assert says in answer["error"] and "\n" not in answer["error"]


def test_a_damaged_form(ask, sample):
    body, headers = form(sample)
    assert ask("POST", "/v1/detect", b"--abc", headers)[0] == 400
    assert ask("POST", "/v1/detect", body, {"Content-Type": "multipart/form-data"})[0] == 400
    text = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue\r\n--xyz--\r\n'
    assert ask("POST", "/v1/detect", text, headers)[2]["error"].startswith("the form has no file")


def test_a_token_is_asked_for(toys, start, sample):
    ask = start(Engine(toys), token="s3cret")
    for headers in (
        {},
        {"Authorization": "Bearer s3cre"},
        {"Authorization": "s3cret"},
        {"Authorization": "Bearer \xff"},
    ):
        status, answered, _ = ask("POST", "/v1/detect", sample, headers)
        assert (status, answered["WWW-Authenticate"]) == (401, "Bearer")
    right = {"Authorization": "Bearer s3cret"}
    assert ask("POST", "/v1/detect", sample, right)[0] == 200
    assert ask("GET", "/v1/model", None, right)[0] == 200
    assert [ask("GET", path)[0] for path in ("/v1/model", "/metrics", "/healthz", "/")] == [401, 401, 200, 200]


@pytest.mark.parametrize("path", ["/", "/v1/model", "/healthz", "/openapi.json"])
def test_a_name_that_is_not_this_machines_is_refused(ask, path):
    status, _, answer = ask("GET", path, headers={"Host": "evil.example"})
    assert (status, answer) == (403, {"error": "host 'evil.example': expected localhost or the number of an address"})
    assert ask("GET", path, headers={"Host": f"localhost:{ask.port}"})[0] == 200


def test_pages_of_other_sites_compute_nothing(ask, toys, start, sample):
    status, _, answer = ask("POST", "/v1/detect", sample, {"Origin": "https://evil.example"})
    assert status == 403 and "pages of other sites are refused" in answer["error"]
    assert ask("POST", "/v1/detect", sample, {"Origin": f"http://127.0.0.1:{ask.port}"})[0] == 200
    with_token = start(Engine(toys), token="secret")
    front = {"Origin": "https://front.example", "Host": "front.example", "Authorization": "Bearer secret"}
    assert with_token("POST", "/v1/detect", sample, front)[0] == 200


def test_large_bodies_are_refused_before_they_are_read(toys, start, sample):
    ask = start(Engine(toys), limits=Limits(body=100_000, bodies=150_000))
    connection = http.client.HTTPConnection("127.0.0.1", ask.port, timeout=60)
    connection.putrequest("POST", "/v1/detect")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    connection.send(bytes(200_000))  # of a billion
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]) == (413, "the body is longer than 100000 bytes")
    connection.close()
    assert ask("POST", "/v1/detect", sample)[0] == 200


def test_all_bodies_together_have_a_bound(toys, start, sample):
    ask = start(Engine(toys), limits=Limits(body=100_000, bodies=100_000, reading=60))
    under_way = []

    def is_refused():
        """Whether a picture finds no room beside a slow body; a slow body that came too late was itself refused."""
        under_way.append(slow := http.client.HTTPConnection("127.0.0.1", ask.port, timeout=60))
        slow.putrequest("POST", "/v1/detect")
        slow.putheader("Content-Length", "90000")
        slow.endheaders()
        slow.send(bytes(60_000))
        time.sleep(0.1)
        return ask("POST", "/v1/detect", sample)[0] == 503

    wait_until(is_refused)
    for slow in under_way:
        slow.close()
    wait_until(lambda: ask("POST", "/v1/detect", sample)[0] == 200)


def test_a_request_that_does_not_arrive_is_ended(toys, start):
    ask = start(Engine(toys), limits=Limits(reading=0.2))
    with socket.create_connection(("127.0.0.1", ask.port), timeout=30) as slow:
        slow.sendall(b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_more_requests_than_may_wait_are_told_so(toys, start, sample):
    engine, statuses = Engine(toys, capacity=1), []
    ask = start(engine)
    with toys.lock:  # no pass can end meanwhile
        first = threading.Thread(target=lambda: statuses.append(ask("POST", "/v1/detect", sample)[0]))
        first.start()
        wait_until(lambda: engine.under_way == 1)
        status, headers, answer = ask("POST", "/v1/detect", sample)
        assert (status, headers["Retry-After"], answer["error"]) == (429, "1", "1 requests are under way")
    first.join(60)
    assert statuses == [200]


def test_a_client_that_goes_frees_its_place(toys, start, sample):
    engine = Engine(toys, capacity=1)
    ask = start(engine)
    with toys.lock:
        with socket.create_connection(("127.0.0.1", ask.port), timeout=30) as gone:
            gone.sendall(
                b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(sample), sample)
            )
            wait_until(lambda: engine.under_way == 1)
        wait_until(lambda: engine.under_way == 0)
    assert ask("POST", "/v1/detect", sample)[0] == 200


@pytest.mark.parametrize("batch", [1, 3])
def test_many_clients_get_their_own_answers(toys, start, batch):
    import numpy as np

    from pydarknet.images.image import encode_image, load_image

    picture = load_image(toys.path.replace("cfg/toys.cfg", "data/sample.jpg"))
    contents = [encode_image(np.roll(picture, 40 * i, axis=1)) for i in range(8)]
    expected = [json.loads(toys.detect(content, 0.2).to_json())["objects"] for content in contents]
    assert len({json.dumps(each) for each in expected}) == 8
    ask, wrong, refused = start(Engine(toys, batch=batch)), [], []

    def client(first):
        for number in range(first, first + 12):
            status, _, answer = ask("POST", "/v1/detect?thresh=0.2", contents[number % 8])
            (refused if status != 200 else wrong if answer["objects"] != expected[number % 8] else []).append(number)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (wrong, refused) == ([], [])
