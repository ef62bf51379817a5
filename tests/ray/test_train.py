"""Training on local clusters of several nodes with one processor each: any number of workers, and workers that die,
give the weights of one process."""

import os

import numpy as np
import pytest
from support.processes import wait_until
from support.training_files import classification_files, detection_files

from pydarknet.errors import ConfigError, DataError, OptionError
from pydarknet.training.hooks import Hook
from pydarknet.training.trainer import Trainer

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = pytest.mark.cluster
STORE = 100 << 20
OPTIONS = {"threads": 1, "checks": False, "chart": False}


@pytest.fixture(scope="module")
def nodes():
    """A cluster of four nodes of one processor, which this process has joined."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    small = {"object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    for _ in range(4):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def on_workers(files, workers, **options):
    from pydarknet.ray.train import ClusterTrainer

    return ClusterTrainer(files.data, files.cfg, workers=workers, **{**OPTIONS, **options})


def outcome(trainer):
    """Its losses, the lines of its heads, and all that its last checkpoint holds."""
    records = list(trainer.run())
    lines = [[head.line for head in record.heads] for record in records]
    arrays = {name: array.tobytes() for name, array in trainer.learner.state_dict().items()}
    parameters = [array.tobytes() for layer in trainer.model.layers for array in layer.parameters()]
    return [record.loss for record in records], lines, arrays, parameters


def by_one(files, **options):
    return outcome(Trainer(files.data, files.cfg, **{**OPTIONS, **options}))


class Killer(Hook):
    """Kills the process of a worker before some iterations, or while they run."""

    def __init__(self, trainer, *iterations):
        self.trainer, self.left = trainer, list(iterations)

    def before_step(self, run):
        if self.left and run.iteration + 1 >= self.left[0]:
            self.left.pop(0)
            (worker, *_) = self.trainer.pool.ready
            ray.kill(worker)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_the_same_bits(nodes, tmp_path, workers):
    files = detection_files(tmp_path, random="1", batch=8, subdivisions=4, max_batches=12)
    assert outcome(on_workers(files, workers)) == by_one(files)


def test_workers_that_die_are_replaced(nodes, tmp_path):
    files = detection_files(tmp_path, batch=8, subdivisions=4, max_batches=12)
    trainer = on_workers(files, 2)
    killer = Killer(trainer, 3, 5, 6, 9, 11)
    trainer.hooks.append(killer)
    assert outcome(trainer) == by_one(files)
    assert not killer.left


def test_a_node_that_leaves_and_one_that_joins(nodes, tmp_path):
    files = detection_files(tmp_path, batch=8, subdivisions=4, max_batches=12)
    trainer = on_workers(files, 4)

    class Moving(Hook):
        def before_step(self, run):
            if run.iteration == 4:
                nodes.remove_node(sorted(nodes.worker_nodes, key=id)[0], allow_graceful=False)
            if run.iteration == 8:
                nodes.add_node(num_cpus=1, object_store_memory=STORE)

    trainer.hooks.append(Moving())
    assert outcome(trainer) == by_one(files)
    wait_until(lambda: sum(node["Alive"] for node in ray.nodes()) == 5)  # the run needs not wait for that


def test_classifiers_with_a_validation(nodes, tmp_path):
    files = classification_files(tmp_path)
    files.data.write_text(files.data.read_text() + f"valid={tmp_path}/train.txt\ntop=1\n")
    options = {"measure": True}
    assert outcome(on_workers(files, 2, **options)) == by_one(files, **options)


def test_a_run_is_resumed_by_another_number_of_workers(nodes, tmp_path):
    files = detection_files(tmp_path, batch=8, subdivisions=4, max_batches=12)
    whole = by_one(files)
    first = on_workers(files, 3, backup=tmp_path / "again")
    for record in first.run():
        if record.iteration == 5:
            first.stop()
    losses, _, arrays, parameters = outcome(on_workers(files, 2, backup=tmp_path / "again", resume=True))
    assert (losses, arrays, parameters) == (whole[0][5:], whole[2], whole[3])


def test_the_last_mini_batch_is_loaded_where_a_hook_asks(nodes, tmp_path):
    files = detection_files(tmp_path, max_batches=2)
    one, two = Trainer(files.data, files.cfg, **OPTIONS), on_workers(files, 2)
    for _ in zip(one.run(), two.run(), strict=True):
        (images, truth), (others, labels) = one.last_batch, two.last_batch
        np.testing.assert_array_equal(images, others)
        assert [rows.tolist() for rows in truth] == [rows.tolist() for rows in labels]


def test_errors_of_the_work_are_one_line(nodes, tmp_path):
    files = detection_files(tmp_path)
    for picture in (tmp_path / "data").glob("*.png"):
        picture.write_bytes(b"no picture")
    with pytest.raises(DataError, match="20 pictures in a row cannot be read"):
        list(on_workers(files, 2).run())


def test_what_cannot_be_is_refused(nodes, tmp_path):
    with pytest.raises(OptionError, match="--workers 3: an iteration has 2 mini-batches to divide"):
        on_workers(detection_files(tmp_path / "a"), 3)
    with pytest.raises(OptionError, match="--workers 2: each needs 2 processors; the cluster has 4 on 5 nodes"):
        list(on_workers(detection_files(tmp_path / "b"), 2, threads=2).run())
    with pytest.raises(ConfigError, match="equidistant_point: each mini-batch needs"):
        on_workers(detection_files(tmp_path / "c", equidistant_point=3), 2)
