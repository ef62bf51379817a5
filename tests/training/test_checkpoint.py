"""Pairs of weights and state: a kill leaves one at any moment, and what is restored goes on bit for bit."""

import json
import zipfile

import numpy as np
import pytest
from support.files import killed_at_rename
from support.networks import net

from pydarknet.errors import OutputError, WeightsError
from pydarknet.training import checkpoint
from pydarknet.training.checkpoint import Progress, newest
from pydarknet.training.learner import Learner
from pydarknet.training.run_folder import MetricsLog

CFG = net(3, 8, 8) + (
    "batch=2\nlearning_rate=0.1\n[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"
    "[dropout]\n[avgpool]\n[softmax]\n"
)
SEQUENCES = "[net]\ninputs=3\nbatch=2\ntime_steps=2\nlearning_rate=0.1\n"
LINEAR = "[connected]\noutput=4\nactivation=linear\n[softmax]\n"
RECURRENT = f"{SEQUENCES}adam=1\n[lstm]\noutput=4\nbatch_normalize=1\n[gru]\noutput=4\n{LINEAR}"
DONTSAVE = CFG.replace("size=3", "size=3\ndontsave=1")


@pytest.fixture
def training(build):
    return Learner(build(CFG, batch=2))


def step(training, number):
    """One mini-batch that follows from its number."""
    batch, size = training.network.batch, training.network.input.outputs
    images = np.random.default_rng(number).random((batch, size), np.float32)
    return training.step(images, [np.eye(4, dtype=np.float32)[number % 4]] * batch)


def progress(iteration):
    return Progress(iteration, 0, 1 / 3, 2 * iteration, 7, {"checkpoints": {"weights": 0, "last": iteration}})


def numbers(training):
    return np.concatenate([r.array.ravel() for layer in training.network.layers for r in layer.named_parameters()])


LATE = "max_batches=2006\nema_alpha=0.9\nweights_reject_freq=2"  # the average begins with the fourth step below


def with_options(of_net="", extra=""):
    return CFG.replace("batch=2", f"batch=2\n{of_net}").replace("size=3", f"size=3\n{extra}")


@pytest.mark.parametrize(("cfg", "dialect", "batch"), [
    (CFG, "pjreddie", 2),
    (with_options(extra="dontload=1"), "pjreddie", 2),
    (DONTSAVE, "pjreddie", 2),
    (with_options("adam=1"), "pjreddie", 2),
    (with_options(f"adam=1\n{LATE}"), "alexeyab", 2),
    (with_options(LATE), "alexeyab", 2),
    *((f"{SEQUENCES}[{kind}]\noutput=4\nhidden=4\nbatch_normalize=1\n{LINEAR}", "pjreddie", 4)
      for kind in ("lstm", "gru", "rnn")),
])  # fmt: skip
def test_a_restored_run_goes_on_bit_for_bit(build, tmp_path, cfg, dialect, batch):
    first = Learner(build(cfg, dialect, batch=batch))
    first.seen = start = 2 * 1001 if "adam" in cfg or "ema" in cfg else 0
    for number in range(3):
        step(first, number)
    checkpoint.save(tmp_path, "net.backup", first, progress(3))
    arrays = {name: array.copy() for name, array in first.state_dict().items()}
    losses = [step(first, number) for number in range(3, 6)]
    assert any(name.startswith("average.") for name in arrays) == ("ema" in cfg)

    found = newest(tmp_path, "net")
    assert (found.iteration, found.progress) == (3, progress(3))
    network = build(cfg, dialect, batch=batch, seed=5)
    checkpoint.load_parameters(found, network)
    second = Learner(network)
    checkpoint.restore(found, second)
    assert second.seen == start + 3 * batch
    assert all(np.array_equal(array, arrays[name]) for name, array in second.state_dict().items())
    assert [step(second, number) for number in range(3, 6)] == losses
    assert np.array_equal(numbers(first), numbers(second))


def test_the_weights_are_an_ordinary_file(training, build, tmp_path):
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    network = build(CFG)
    assert network.load_weights(tmp_path / "net.backup").header.seen == 2
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith((".", "net."))) == [
        "net.backup", "net.backup.state.npz", "net.cfg",
    ]  # fmt: skip


@pytest.mark.parametrize("kill_at", range(6))
def test_a_kill_while_writing_leaves_a_pair(training, build, tmp_path, monkeypatch, kill_at):
    """Renames are the only moments at which something changes on the disk that matters."""
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    before = numbers(training)
    step(training, 1)
    with killed_at_rename(monkeypatch, kill_at):
        checkpoint.save(tmp_path, "net.backup", training, progress(2))
    found = newest(tmp_path, "net")
    network = build(CFG, seed=3, batch=2)
    checkpoint.load_parameters(found, network)
    assert found.iteration == (1 if kill_at < 3 else 2)
    expected = before if found.iteration == 1 else numbers(training)
    assert np.array_equal(numbers(Learner(network)), expected)
    checkpoint.clean(tmp_path, "net")
    assert newest(tmp_path, "net").iteration == found.iteration


def test_a_mismatched_pair_is_refused(training, tmp_path, warnings):
    for iteration, name in ((1, "net_1.weights"), (2, "net.backup")):
        step(training, iteration)
        checkpoint.save(tmp_path, name, training, progress(iteration))
    backup = tmp_path / "net.backup"
    backup.write_bytes(backup.read_bytes()[:-4] + b"\0\0\0\0")
    assert newest(tmp_path, "net").weights.name == "net_1.weights"
    assert warnings() == [f"{backup} is missing, or not the file that net.backup.state.npz belongs to; it is skipped"]
    (tmp_path / "net_1.weights").unlink()
    with pytest.raises(WeightsError, match="no checkpoint of net to resume from"):
        newest(tmp_path, "net")


def test_states_of_other_networks_do_not_count(training, tmp_path):
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    assert newest(tmp_path, "ne") is None
    assert newest(tmp_path / "nowhere", "net") is None
    (tmp_path / "net.backup.state.npz").rename(tmp_path / "net_tiny.backup.state.npz")
    assert newest(tmp_path, "net_tiny") is None


def test_a_damaged_state_is_an_error(tmp_path):
    (tmp_path / "net.backup.state.npz").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(WeightsError, match=r"net\.backup\.state\.npz is not the state of a training run"):
        newest(tmp_path, "net")


def test_another_network_or_batch_is_refused(training, build, tmp_path):
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    found = newest(tmp_path, "net")
    with pytest.raises(WeightsError, match=r"the run had mini-batches 2, .* now gives 4"):
        checkpoint.check_fits(found, build(CFG, batch=4), 1)
    with pytest.raises(WeightsError, match="subdivisions"):
        checkpoint.check_fits(found, training.network, 2)
    other = Learner(build(CFG.replace("filters=4", "filters=5"), batch=2))
    with pytest.raises(WeightsError, match="not the state of a training run of"):
        checkpoint.restore(found, other)


def test_a_full_disk_leaves_the_former_pair(training, tmp_path, monkeypatch):
    step(training, 0)
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    step(training, 1)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pydarknet.utils.files.os.fsync", full)
    with pytest.raises(OutputError, match=r"net\.backup: cannot write: No space left on device$"):
        checkpoint.save(tmp_path, "net.backup", training, progress(2))
    assert newest(tmp_path, "net").iteration == 1
    assert not list(tmp_path.glob(".*"))


def test_the_journal_is_cut_where_the_run_goes_on(tmp_path):
    journal = MetricsLog(tmp_path / "train.jsonl")
    for iteration in range(1, 6):
        journal.append({"iteration": iteration})
    with journal.path.open("a") as stream:
        stream.write('{"iterat')
    journal.start(3, keep=True)
    assert [json.loads(line)["iteration"] for line in journal.path.read_text().splitlines()] == [1, 2, 3]
    journal.start(0, keep=False)
    assert not journal.path.exists()
    assert (tmp_path / "train.old.jsonl").exists()


def rewrite(path, change):
    """Change the arrays of a state file by name, and the content as JSON."""
    with np.load(path) as archive:
        arrays = dict(archive)
    content = json.loads(str(arrays.pop("content")))
    content = change(arrays, content)
    np.savez(path, content=np.array(json.dumps(content)), **arrays)


def saved(build, folder, cfg, dialect="pjreddie", batch=2):
    """A network that has learnt a little, the state beside its weights, and how to set another one up."""
    training = Learner(build(cfg, dialect, batch=batch))
    training.seen = 2 * 1003 if training.ema else 0  # so that the average has begun
    for number in range(2):
        step(training, number)
    checkpoint.save(folder, "net.backup", training, progress(2))
    return training, folder / "net.backup.state.npz", lambda: Learner(build(cfg, dialect, batch=batch, seed=5))


def everything(training):
    """All that a restored state may change, as copies."""
    arrays = {name: array.copy() for name, array in training.state_dict().items()}
    return arrays, training.counters(), numbers(training)


def assert_same(found, expected):
    assert found[0].keys() == expected[0].keys()
    assert all(np.array_equal(array, expected[0][name], equal_nan=True) for name, array in found[0].items())
    assert found[1] == expected[1]
    assert np.array_equal(found[2], expected[2], equal_nan=True)


def test_names_of_arrays_are_those_that_the_documentation_says(build, tmp_path):
    training = Learner(build(with_options(f"adam=1\n{LATE}"), "alexeyab", batch=2))
    training.seen = 2 * 1003
    step(training, 0)
    kinds = ("update.{}", "optimizer.{}.mean", "optimizer.{}.square", "average.{}")
    names = [kind.format(f"layer.0.{name}") for kind in kinds for name in ("biases", "scales", "weights")]
    assert sorted(training.state_dict()) == sorted(names)
    training, state, _ = saved(build, tmp_path, RECURRENT, batch=4)
    others = {name for name in training.state_dict() if name.startswith("layer.")}
    assert others == {
        "layer.0.state.hidden", "layer.0.state.cell", "layer.0.carried.hidden", "layer.0.carried.cell",
        "layer.0.carried.cell_delta", "layer.1.state.hidden", "layer.1.carried.hidden",
    }  # fmt: skip
    assert "update.layer.0.uf.weights" in training.state_dict()
    _, state, _ = saved(build, tmp_path, DONTSAVE)
    with np.load(state) as archive:
        assert "parameter.layer.0.0.biases" in archive.files


@pytest.mark.parametrize(("change", "text"), [
    (lambda a, c: a.update({"optimizer.layer.0.weights.mean": np.zeros(1, np.float32)}),
     r"array optimizer\.layer\.0\.weights\.mean is float32 of shape \(1,\); expected float32 of shape \(4, 3"),
    (lambda a, c: a.pop("update.layer.0.biases"), r"array update\.layer\.0\.biases is missing"),
    (lambda a, c: a.update({"layer.0.carried.batch": np.zeros(2)}), r"array 'layer\.0\.carried\.batch' is unknown"),
    (lambda a, c: a.update({"update.layer.0.biases": np.zeros(4)}), r"is float64 of shape \(4,\); expected fl"),
    (lambda a, c: c["training"].update(seen="3"), r"training\.seen is '3'; expected an integer"),
    (lambda a, c: c["training"]["rejection"].update(largest=float("nan")), r"rejection\.largest is nan; expect"),
    (lambda a, c: c["training"]["random"]["training"]["state"].update(state=float("inf")), r"a state of PCG64"),
    (lambda a, c: c["training"]["random"].pop("training"), r"training\.random\.training is missing"),
])  # fmt: skip
def test_a_state_that_does_not_fit_is_one_line_and_changes_nothing(build, tmp_path, change, text):
    _, state, another = saved(build, tmp_path, with_options("adam=1"))

    def changed(arrays, content):
        change(arrays, content)
        return content

    rewrite(state, changed)
    training = another()
    before = everything(training)
    with pytest.raises(WeightsError, match=text) as caught:
        checkpoint.restore(newest(tmp_path, "net"), training)
    assert str(caught.value).startswith(f"{state}: not the state of a training run of ")
    assert "\n" not in str(caught.value)
    assert_same(everything(training), before)


def test_a_run_of_another_format_says_what_to_do(training, tmp_path):
    checkpoint.save(tmp_path, "net.backup", training, progress(1))
    state = tmp_path / "net.backup.state.npz"
    rewrite(state, lambda arrays, content: content | {"format": 1})
    with pytest.raises(WeightsError) as caught:
        newest(tmp_path, "net")
    assert str(caught.value) == (
        f"{tmp_path}: no checkpoint of net to resume from: {state} has format '1' of another version of pydarknet; "
        f"expected 3. To start a new run from its weights, name them without resume: {tmp_path}/net.backup"
    )


VALUES = [None, True, False, -1, 0, 3, 1 << 63, 10**400, -2.5, 1e308, float("nan"), float("inf"), "", "x", "7", [], [1],
          {}, {"a": 1}, [[[]]]]  # fmt: skip
SHAPES = [(), (0,), (1,), (3, 0), (1, 1, 1, 1, 1), (100003,)]
DTYPES = ["<f4", "<f8", "<f2", ">f4", "<i4", "<c8", "?", "S3", "U2", "<M8[s]", "V5"]


def places(values, path=()):
    """Every place in nested JSON objects."""
    for name, value in values.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from places(value, (*path, name))


def damage_content(rng, content):
    """Remove, add or replace something in a JSON object."""
    if rng.random() < 0.05:
        return VALUES[rng.integers(len(VALUES))]
    *path, last = list(places(content))[rng.integers(len(list(places(content))))]
    at = content
    for name in path:
        at = at[name]
    kind = rng.integers(4)
    if kind == 0:
        del at[last]
    elif kind == 1:
        at[["", "a", "iteration", "training\n", "x" * 999][rng.integers(5)]] = at[last]
    else:
        at[last] = VALUES[rng.integers(len(VALUES))]
    return content


def damage_arrays(rng, arrays):
    """Remove, rename, exchange or replace arrays."""
    names = sorted(arrays)
    name, other = names[rng.integers(len(names))], names[rng.integers(len(names))]
    kind = rng.integers(7)
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[[name + ".", "x" * 300, "average.layer.0.weights", "layer.0.carried.sequences", "state_0_h"][
            rng.integers(5)]] = arrays.pop(name)  # fmt: skip
    elif kind == 2:
        arrays[name], arrays[other] = arrays[other], arrays[name]
    elif kind == 3:
        arrays[name] = np.zeros(SHAPES[rng.integers(len(SHAPES))], np.float32)
    elif kind == 4:
        arrays[name] = np.zeros(arrays[name].shape, DTYPES[rng.integers(len(DTYPES))])
    elif kind == 5:
        arrays[name] = arrays[name].T
    else:
        arrays[name] = np.array([{}, None], dtype=object)


def npy(shape, descr="<f4", data=b""):
    """The bytes of an .npy file with that header, true or not."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def damage_members(rng, path):
    """Write an array of the archive in a way that numpy.savez never does."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    names = list(members)
    name = names[rng.integers(len(names))]
    members[name] = [
        npy((10**12,)), npy((10**15,)), npy((10**30, 0)), npy((-1, -4), data=bytes(16)), npy("(" * 60),
        npy((2,), "|O", b"x"),
        npy((1,), [("a", "<f4")], bytes(4)), b"", b"\x93NUMPY\x09\x09", members[name][:-3], members[name] + b"more",
        bytes(rng.bytes(200)), npy("(2, True, 'x')"), npy((), "<U99999999999"), npy("x" * 90),
    ][rng.integers(15)]  # fmt: skip
    compression = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def damage_bytes(rng, path):
    """Cut the file, or overwrite some of its bytes."""
    data = bytearray(path.read_bytes())
    if rng.random() < 0.3:
        data = data[: rng.integers(len(data))]
    else:
        for at in rng.integers(len(data), size=rng.integers(1, 20)):
            data[at] = rng.integers(256)
        at = rng.integers(max(1, len(data) - 400), len(data))  # the directory of the archive
        data[at] = rng.integers(256)
    path.write_bytes(data)


def damage(rng, path):
    """Damage a state file in one of many ways."""
    kind = rng.integers(8)
    if kind < 3:
        rewrite(path, lambda arrays, content: damage_content(rng, content))
    elif kind < 6:
        rewrite(path, lambda arrays, content: damage_arrays(rng, arrays) or content)
    elif kind == 6:
        damage_members(rng, path)
    else:
        damage_bytes(rng, path)


@pytest.mark.slow
@pytest.mark.parametrize(("cfg", "dialect", "batch"), [
    (with_options(f"adam=1\n{LATE}"), "alexeyab", 2),
    (RECURRENT, "pjreddie", 4),
    (DONTSAVE, "pjreddie", 2),
])  # fmt: skip
def test_a_damaged_state_is_one_line_or_restored_with_all_shapes(build, tmp_path, cfg, dialect, batch):
    """No other exception, no array of another size, and nothing changed where the state is refused."""
    first, state, another = saved(build, tmp_path, cfg, dialect, batch)
    whole, good, training = first.state_dict(), state.read_bytes(), another()
    assert any(name.startswith("average.") for name in whole) == ("ema_alpha" in cfg)
    rng, refused, seen = np.random.default_rng(11), 0, set()
    for number in range(250):
        state.write_bytes(good)
        damage(rng, state)
        before = everything(training)
        try:
            found = newest(tmp_path, "net")
            if found is None:  # of another network
                continue
            checkpoint.load_parameters(found, training.network)
            before = everything(training)
            checkpoint.restore(found, training)
        except WeightsError as error:
            refused += 1
            seen.add(str(error).split(": ")[-1][:20])
            assert "\n" not in str(error) and len(str(error)) < 800, number
            assert "net.backup" in str(error), number
            assert_same(everything(training), before)
        else:
            restored = training.state_dict()
            assert restored.keys() == whole.keys()
            assert all((a.dtype, a.shape) == (whole[name].dtype, whole[name].shape) for name, a in restored.items())
    assert refused > 150
    assert len(seen) > 15, seen
    state.write_bytes(good)
    found = newest(tmp_path, "net")
    checkpoint.load_parameters(found, training.network)
    checkpoint.restore(found, training)
    assert_same(everything(training), everything(first))
