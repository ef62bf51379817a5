"""One network used by many threads and processes, copied, and interrupted in the middle of a pass: always right."""

import asyncio
import copy
import math
import multiprocessing
import pickle
import random
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from support.networks import net, randomise
from support.tensors import values

import pydarknet
from pydarknet.errors import DarknetError, ShapeError
from pydarknet.runtime.threads import numba_runs_kernels

CONV = "[convolutional]\nfilters=16\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
POOL = "[maxpool]\nsize=2\nstride=2\n"
DETECTOR = (
    net(3, 64, 64) + CONV + POOL + CONV + POOL + "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n"
    "[yolo]\nmask=0,1\nanchors=16,8, 8,16\nnum=2\nclasses=2\n"
)
CLASSIFIER = f"{net(3, 32, 32)}{CONV}{POOL}[convolutional]\nfilters=7\nsize=1\n[avgpool]\n[softmax]\n"
RECURRENT = "[net]\ninputs=12\n[rnn]\noutput=12\nhidden=9\n[lstm]\noutput=5\n[softmax]\n"
CHAIN = (  # an inverted bottleneck, Winograd's algorithm, and a layer that is made of layers
    net(16, 24, 24) + CONV.replace("size=3", "size=1") + CONV.replace("batch", "groups=16\nbatch")
    + CONV.replace("size=3", "size=1") + CONV.replace("filters=16", "filters=64") * 2
    + "[crnn]\noutput=16\nhidden=16\nsize=3\npad=1\n"
)  # fmt: skip
LEARNER = net(3, 8, 8) + CONV + "[dropout]\n[connected]\noutput=4\nactivation=linear\n[softmax]\n"


@pytest.fixture
def load(write_cfg):
    """A model of a cfg text, with random parameters."""

    def make(text, **options):
        model = pydarknet.load(write_cfg(text), **options)
        randomise(model)
        return model

    return make


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (40 + 8 * i, 70 - 9 * i, 3), np.uint8) for i in range(4)]


def in_threads(work, count, threads=4):
    """work(i) for i below count, by as many threads, all started together; the results in order."""
    barrier = threading.Barrier(threads)

    def some(thread):
        barrier.wait(60)
        return [(i, work(i)) for i in range(thread, count, threads)]

    with ThreadPoolExecutor(threads) as pool:
        found = dict(item for part in pool.map(some, range(threads)) for item in part)
    return [found[i] for i in range(count)]


@pytest.mark.parametrize("kind", [pytest.param("detect", marks=pytest.mark.slow), "classify"])
def test_a_hundred_calls_from_each_of_four_threads_are_right(load, pictures, kind):
    model = load(DETECTOR if kind == "detect" else CLASSIFIER)
    call = (lambda p: model.detect(p, thresh=0.1)) if kind == "detect" else model.classify
    expected = [call(picture) for picture in pictures]
    assert len({str(each) for each in expected}) == 4
    found = in_threads(lambda i: call(pictures[i % 4]), 400)
    assert sum(each != expected[i % 4] for i, each in enumerate(found)) == 0


@pytest.mark.slow
def test_four_threads_take_no_longer_than_one(load, pictures):
    """The fastest of many measurements in turns counts, as what else the machine does only adds time.

    A pass of this network takes a third of a millisecond, in which Python's own lock goes from thread to thread: that
    costs up to a tenth. Hence the bound. `benchmarks/threads.py` measures exactly.
    """
    model, best = load(DETECTOR), {1: math.inf, 4: math.inf}

    def is_within_the_bound():
        for threads in [1, 4] * 12:
            start = time.perf_counter()
            in_threads(lambda i: model.detect(pictures[i % 4]), 60, threads)
            best[threads] = min(best[threads], time.perf_counter() - start)
        return best[4] < 1.2 * best[1]

    assert any(is_within_the_bound() for _ in range(4)), best


def test_all_methods_of_one_network_at_the_same_time(load):
    """Outputs, all outputs, other sizes and batches, a precision, changed parameters that are the same: all at once."""
    model = load(CLASSIFIER)
    inputs = [values(1, 3, 32, 32), values(2, 3, 32, 32), values(1, 3, 20, 24), values(1, 3, 32, 32, seed=1)]
    expected = [(model.forward(x), model.layer_outputs(x)) for x in inputs]

    def work(i):
        if i % 17 == 0:
            model.parameters_changed()
        if i % 13 == 0:
            model.resize(32 + 8 * (i % 3), 32)
        if i % 11 == 0:
            model.precision = "float32"
        return (model.forward, model.layer_outputs)[i // 4 % 2](inputs[i % 4])

    for i, found in enumerate(in_threads(work, 160)):
        wanted = expected[i % 4][i // 4 % 2]
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True)), i


def test_several_networks_in_several_threads(load, pictures):
    detector, classifier = load(DETECTOR), load(CLASSIFIER)
    calls = [lambda p: detector.detect(p, thresh=0.1), classifier.classify]
    expected = [[call(picture) for picture in pictures] for call in calls]
    found = in_threads(lambda i: calls[i % 2](pictures[i // 2 % 4]), 80)
    assert all(each == expected[i % 2][i // 2 % 4] for i, each in enumerate(found))


@pytest.mark.parametrize("text", [DETECTOR, CLASSIFIER, RECURRENT, CHAIN])
def test_copies_at_the_same_time_are_right(load, text):
    """Each in a thread of its own; layers of one must not write to another's scratch memory."""
    model = load(text)
    x = values(1, *model.input_shape) if text != RECURRENT else values(1, 12)
    models = [model, *(copy.deepcopy(model) for _ in range(3))]
    expected = [[output.tobytes() for output in copy.deepcopy(model).forward(x)]] * 4

    def work(i):
        models[i].reset_state()
        return [output.tobytes() for output in models[i].forward(x)]

    for _ in range(40):
        assert in_threads(work, 4) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="Numba's pool computes one pass at a time")
def test_passes_of_two_networks_overlap_but_not_those_of_one(load):
    model = load(CLASSIFIER)
    twin, x = copy.deepcopy(model), values(1, 3, 32, 32)
    expected = model.forward(x)[0]
    twin.forward(x)
    meeting = threading.Barrier(2)

    def met(network):
        """Whether a pass of this network met another one in its middle."""
        found = []

        def meet():
            try:
                found.append(meeting.wait(0.5) >= 0)
            except threading.BrokenBarrierError:
                found.append(False)

        plan = network.plan
        network.plan = replace(plan, calls=[*plan.calls[:1], meet, *plan.calls[1:]])
        assert np.array_equal(network.forward(x)[0], expected)
        network.plan = plan
        return found == [True]

    if numba_runs_kernels():  # after it has compiled something in this process
        pytest.skip("Numba's pool computes one pass at a time")
    assert in_threads(lambda i: met((model, twin)[i]), 2, threads=2) == [True, True]
    meeting.reset()
    with ThreadPoolExecutor(2) as pool:
        assert True not in pool.map(lambda _: met(model), range(2))


def test_asyncio(load, pictures):
    model = load(DETECTOR)
    expected = [model.detect(picture, thresh=0.1) for picture in pictures]

    async def all_at_once():
        calls = [asyncio.to_thread(model.detect, pictures[i % 4], 0.1) for i in range(20)]
        return await asyncio.gather(*calls)

    assert asyncio.run(all_at_once()) == [expected[i % 4] for i in range(20)]


def test_a_size_that_does_not_fit_disturbs_nobody(load):
    model = load(net(4, 8, 8) + "[reorg]\nstride=2\n" + CONV)
    good, bad = values(1, 4, 8, 8), values(1, 4, 7, 7)
    expected = model.forward(good)[0]

    def work(i):
        if i % 3 == 0:
            with pytest.raises(ShapeError):
                model.forward(bad)
        return model.forward(good)[0]

    assert all(np.array_equal(found, expected) for found in in_threads(work, 60))


def test_passes_of_a_recurrent_network_come_one_after_another(load):
    """Whatever threads they come from, equal inputs give the outputs of as many passes in a row."""
    model, x = load(RECURRENT), values(1, 12)
    expected = sorted(model.forward(x)[0].tobytes() for _ in range(40))
    model.reset_state()
    assert sorted(in_threads(lambda _: model.forward(x)[0].tobytes(), 40)) == expected


# --- training beside inference ---


def taught(load, between=lambda model: None):
    """The losses and parameters of six steps, with something between them."""
    model, rng = load(LEARNER.replace("[net]\n", "[net]\nbatch=4\nsubdivisions=2\nlearning_rate=0.1\n"), train=True), []
    truth = [np.eye(4, dtype=np.float32)[i % 4] for i in range(2)]
    for step in range(6):
        rng.append(model.train_step(values(2, 3, 8, 8, seed=step), truth))
        between(model)
    return rng, [parameter.array.copy() for layer in model.layers for parameter in layer.named_parameters()]


@pytest.mark.parametrize("between", [
    lambda model: model.forward(values(2, 3, 8, 8)),
    lambda model: model.layer_outputs(values(1, 3, 8, 8)),
    lambda model: (model.forward(values(1, 3, 8, 8)), model.parameters_changed()),
    lambda model: in_threads(lambda _: model.forward(values(1, 3, 8, 8)), 4),
    copy.deepcopy,
])  # fmt: skip
def test_passes_between_training_steps_change_nothing(load, between):
    losses, parameters = taught(load)
    found, after = taught(load, between)
    assert found == losses
    assert all(np.array_equal(a, b) for a, b in zip(after, parameters, strict=True))


def test_passes_between_training_steps_are_right(load):
    """A pass of the model that learns gives what a copy of its parameters gives."""

    def check(model):
        x = values(2, 3, 8, 8)
        other = load(LEARNER)
        for layer, twin in zip(model.layers, other.layers, strict=True):
            for parameter, copied in zip(layer.named_parameters(), twin.named_parameters(), strict=True):
                copied.array[:] = parameter.array
        other.parameters_changed()
        assert np.allclose(model.forward(x)[0], other.forward(x)[0], atol=1e-5)

    taught(load, check)


def test_trainings_and_passes_of_several_networks_at_the_same_time(load, pictures):
    made: list[pydarknet.Model] = []
    losses, parameters = taught(lambda *text, **options: made.append(load(*text, **options)) or copy.deepcopy(made[0]))
    model = load(DETECTOR)
    expected = [model.detect(picture, thresh=0.1) for picture in pictures]

    def work(i):
        return (
            taught(lambda *_, **__: copy.deepcopy(made[0]))
            if i % 2
            else [model.detect(picture, thresh=0.1) for picture in pictures * 5]
        )

    for i, found in enumerate(in_threads(work, 8)):
        if i % 2:
            assert found[0] == losses
            assert all(np.array_equal(a, b) for a, b in zip(found[1], parameters, strict=True))
        else:
            assert found == expected * 5


# --- copies and processes ---


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("text", [DETECTOR, CLASSIFIER, RECURRENT])
@pytest.mark.parametrize("used", [False, True])
def test_a_copy_gives_the_same_and_shares_nothing(load, copied, text, used, warnings):
    model = load(text + "frobnicate=1\n")
    model.resize(48, 32) if model.resizable and text != RECURRENT else None
    x = values(1, *model.input_shape)
    if used:
        model.forward(x)
    before = warnings()
    twin = copied(model)
    assert warnings() == before, "the warnings have been given"
    assert (twin.input_shape, twin.names, repr(twin)) == (model.input_shape, model.names, repr(model))
    expected = model.forward(x)
    assert all(np.array_equal(a, b) for a, b in zip(twin.forward(x), expected, strict=True))
    model.reset_state()
    first = model.forward(x)
    randomise(twin, seed=9)
    twin.forward(x)
    model.reset_state()
    assert all(np.array_equal(a, b) for a, b in zip(model.forward(x), first, strict=True))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_goes_on_learning_where_the_original_was(load, copied):
    text = LEARNER.replace("[net]\n", "[net]\nbatch=4\nsubdivisions=2\nadam=1\n").replace("[dropout]\n", "")
    model = load(text, train=True)
    truth = [np.eye(4, dtype=np.float32)[i] for i in range(2)]
    for step in range(3):
        model.train_step(values(2, 3, 8, 8, seed=step), truth)
    twin = copied(model)
    losses = [[each.train_step(values(2, 3, 8, 8, seed=9 + i), truth) for i in range(4)] for each in (model, twin)]
    assert losses[0] == losses[1]


def _detect(model, picture, found):
    try:
        found.put(repr(model.detect(picture, thresh=0.1)))
    except DarknetError as error:
        found.put(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("busy", [False, True])
def test_a_spawned_process_detects_too(load, pictures, busy):
    """Also one that is started while another thread computes.

    `tests/runtime/test_forking.py` forks, in processes of their own: a forked child that is killed can keep a lock of
    Numba's that its parent needs.
    """
    model = load(DETECTOR)
    expected, done = repr(model.detect(pictures[0], thresh=0.1)), threading.Event()
    thread = threading.Thread(target=lambda: [model.detect(pictures[1]) for _ in iter(done.is_set, True)])
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    if busy:
        thread.start()
    try:
        processes = [context.Process(target=_detect, args=(model, pictures[0], found)) for _ in range(2)]
        for process in processes:
            process.start()
        assert {found.get(timeout=100) for _ in processes} == {expected}
    finally:
        done.set()
        for process in processes:
            process.join(10)
            process.kill()
    assert repr(model.detect(pictures[0], thresh=0.1)) == expected


# --- Ctrl-C ---


def interrupted(network, run, after):
    """Whether KeyboardInterrupt reached `run` in the middle: raised by the so-manieth call of a step."""
    plan, count = network.plan, 0

    def strike(layer, forward):
        def forward_or_not():
            nonlocal count
            count += 1
            if count == after:
                raise KeyboardInterrupt
            forward()

        return forward_or_not

    calls = [strike(layer, layer.forward) for layer in plan.steps]
    network.plan = type(plan)(**{**vars(plan), "calls": calls})
    try:
        run()
    except KeyboardInterrupt:
        return True
    finally:
        network.plan = plan
    return False


@pytest.mark.parametrize("text", [DETECTOR, CLASSIFIER, RECURRENT])
def test_a_pass_after_an_interrupted_one_is_right(load, text):
    model, undisturbed = load(text), load(text)
    x = values(1, *model.input_shape) if text != RECURRENT else values(1, 12)
    for after in range(1, 4):
        expected = undisturbed.forward(x)
        model.prepare(x.shape)
        assert interrupted(model, lambda: model.forward(x), after)
        assert all(np.array_equal(a, b) for a, b in zip(model.forward(x), expected, strict=True))


@pytest.mark.parametrize("text", [DETECTOR, RECURRENT])
def test_a_pass_after_an_interrupted_set_up_is_right(load, text, monkeypatch):
    model, undisturbed = load(text), load(text)
    x = values(2, *model.input_shape) if text != RECURRENT else values(2, 12)
    expected = undisturbed.forward(x)
    layer = model.layers[-1]

    def interrupt(*_):
        raise KeyboardInterrupt

    for method in ("reshape", "setup", "set_precision"):
        with monkeypatch.context() as patch:
            patch.setattr(type(layer), method, interrupt)
            with pytest.raises(KeyboardInterrupt):
                model.forward(x)
    assert all(np.array_equal(a, b) for a, b in zip(model.forward(x), expected, strict=True))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")
@pytest.mark.parametrize("text", [DETECTOR, RECURRENT])
def test_interrupts_at_any_moment(load, text):
    """A signal handler that raises as Ctrl-C does, at other moments of a pass, or of its preparations, each time."""
    model, rng, armed, hits = load(text), random.Random(1), False, 0
    x = values(1, *model.input_shape) if text != RECURRENT else values(1, 12)
    expected = model.forward(x)

    def strike(*_):
        if armed:
            raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, strike)
    try:
        for _ in range(150):
            if rng.random() < 0.5:
                model.parameters_changed()
            model.reset_state()
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, 4e-3))
            try:
                armed = True
                model.forward(x)
                armed = False
            except KeyboardInterrupt:
                armed = False
                hits += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            model.reset_state()
            assert all(np.array_equal(a, b) for a, b in zip(model.forward(x), expected, strict=True))
    finally:
        signal.signal(signal.SIGALRM, former)
    assert hits > 5
