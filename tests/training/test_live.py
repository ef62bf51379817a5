"""What a run shows while it goes on."""

import json
import logging
import urllib.request

import numpy as np
import pytest
from support.processes import wait_until
from support.training_files import OFTEN, classification_files

from pydarknet.images.image import load_image
from pydarknet.inference.video.mjpeg_server import MJPEG, Stream
from pydarknet.training import live
from pydarknet.training.live import TALLEST, ChartStream, LiveHook, draw_batch
from pydarknet.training.trainer import Trainer


def state_of(files):
    return json.loads((files.folder / "live/state.json").read_text())


def test_the_folder_of_a_run(files):
    trainer = Trainer(files.data, files.cfg, hooks=[LiveHook()], max_batches=4, **OFTEN)
    statuses = []
    for _ in trainer.run():
        statuses.append(state_of(files)["status"])
    state = state_of(files)
    assert (set(statuses), state["status"], state["iteration"], state["max_batches"]) == ({"running"}, "finished", 4, 4)
    assert state["batch"] is True
    assert load_image(files.folder / "live/batch.jpg").shape == (32, 64, 3)  # two pictures of 32 x 32
    assert state["worst"] and all(each["missed"] <= each["of"] for each in state["worst"])
    for each in state["worst"]:
        load_image(files.folder / "live" / each["file"])


def test_a_run_that_is_stopped_and_one_that_goes_on(files):
    trainer = Trainer(files.data, files.cfg, hooks=[LiveHook()], max_batches=4, **OFTEN)
    for _ in trainer.run():
        trainer.stop()
    assert (state_of(files)["status"], state_of(files)["iteration"]) == ("interrupted", 1)
    for _ in Trainer(files.data, files.cfg, hooks=[LiveHook()], max_batches=4, resume=True, **OFTEN).run():
        pass
    assert (state_of(files)["status"], state_of(files)["iteration"]) == ("finished", 4)


def test_weights_are_those_of_a_run_without_it(files, tmp_path):
    weights = []
    for number, hooks in enumerate(([], [LiveHook()])):
        trainer = Trainer(files.data, files.cfg, hooks=hooks, max_batches=4, backup=tmp_path / str(number), chart=False)
        for _ in trainer.run():
            pass
        weights.append(trainer.checkpointer.last_saved.read_bytes())
    assert weights[0] == weights[1]


def test_a_classifier_shows_classes(tmp_path):
    files = classification_files(tmp_path)
    for _ in Trainer(files.data, files.cfg, hooks=[LiveHook()], max_batches=2, chart=False).run():
        pass
    assert load_image(files.folder / "live/batch.jpg").shape == (16, 32, 3)
    assert state_of(files)["worst"] == []


def test_what_cannot_be_written_is_one_warning(files, caplog, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(live, "write_image", full)
    with caplog.at_level(logging.WARNING):
        records = list(Trainer(files.data, files.cfg, hooks=[LiveHook()], max_batches=4, **OFTEN).run())
    assert len(records) == 4
    assert [each.getMessage() for each in caplog.records if "live" in each.getMessage()] == [
        f"{files.folder / 'live'}: no longer updated: [Errno 28] No space left on device"
    ]


def test_slow_drawing_is_rare_and_the_state_stays_fresh(files, monkeypatch):
    now, drawn, told = [0.0], [], []

    def slow(*_, **__):
        drawn.append(now[0])
        now[0] += 0.1

    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(live, "draw_batch", slow)
    for _ in Trainer(files.data, files.cfg, hooks=[LiveHook()], max_batches=20, chart=False).run():
        told.append(state_of(files)["iteration"])
        now[0] += 2
    assert len(drawn) == 2 and drawn[1] - drawn[0] >= 20
    assert all(iteration - shown < 3 for iteration, shown in enumerate(told, start=1))


def test_a_mini_batch_is_drawn_in_rows():
    images = np.zeros((5, 3, 20, 30), np.float32)
    truth = [np.array([[0, 0.5, 0.5, 0.6, 0.6]], np.float32)] * 4 + [np.zeros((0, 5), np.float32)]
    drawn = draw_batch(images, truth, ["thing"])
    assert drawn.shape == (40, 90, 3)  # three columns, two rows
    assert drawn[:20, :30].any() and not drawn[20:, 30:60].any() and not drawn[20:, 60:].any()


def test_large_pictures_are_drawn_smaller_and_others_not():
    large = np.zeros((1, 3, 600, 608), np.float32)
    assert draw_batch(large, [np.zeros((0, 5), np.float32)], []).shape == (150, 152, 3)
    assert TALLEST >= 150
    assert draw_batch(np.zeros((4, 17), np.float32), [np.zeros(3)] * 4, []) is None


def test_the_chart_is_streamed(files):
    pytest.importorskip("matplotlib", reason="needs pydarknet[plot]")
    with Stream(0, MJPEG) as stream:
        trainer = Trainer(files.data, files.cfg, hooks=[ChartStream(stream)], max_batches=3, save_every=1)
        run = trainer.run()
        next(run)
        with urllib.request.urlopen(stream.url, timeout=20) as reply:
            wait_until(lambda: stream.has_clients)
            for _ in run:
                pass
            stream.close()
            body = reply.read()
    assert body.startswith(b"--mjpegstream\r\nContent-Type: image/jpeg") and b"\xff\xd8\xff" in body
