"""Work on a cluster whose actors and nodes die: each block once, nothing lost."""

import os
import signal

import pytest

from pydarknet.errors import DataError, OptionError
from pydarknet.ray.spread import Spread, _divided, _Piece

pytestmark = pytest.mark.cluster
BLOCKS = {number: [f"{number}-{name}" for name in range(4)] for number in range(12)}


def working(poison="", wrong=None):
    """Work that gives for each name itself and the number of its process. A class within a function travels whole."""

    class Naming:
        def check(self, name):
            if wrong:
                raise wrong

        def __call__(self, names):
            import logging
            import os
            import time

            if poison in names:
                os._exit(1)
            time.sleep(0.1)
            if "9-0" in names:
                logging.getLogger("pydarknet").warning("nine")
            return [(name, os.getpid()) for name in names]

    return Naming()


def found_by(spread=None, work=None, act=lambda count, pid: None):
    """The names in the results by block. act: called with the number of results so far and the process of the last."""
    found = {}
    for index, results in (spread or Spread()).run(
        work or working(), BLOCKS, lambda name: (f"lost {name}", 0), 1 << 20
    ):
        assert index not in found
        found[index] = [name for name, _ in results]
        act(len(found), results[0][1])
    return found


def test_each_block_comes_once(nodes, warnings):
    processes = set()
    assert found_by(act=lambda count, pid: processes.add(pid)) == BLOCKS
    assert len(processes) == 2
    assert warnings() == ["nine"]


def test_killed_actors_and_nodes_change_nothing(nodes, warnings):
    def act(count, pid):
        if count in (1, 5):
            os.kill(pid, signal.SIGKILL)
        if count == 3:
            nodes.remove_node(nodes.list_all_nodes()[-1], allow_graceful=False)
            nodes.add_node(num_cpus=1, object_store_memory=100 << 20)

    assert found_by(act=act) == BLOCKS
    assert set(warnings()) == {"nine", "a process of the cluster has ended; what it computed is computed again"}


def test_what_ends_every_process_is_given_up_alone(nodes):
    assert found_by(work=working("7-2")) == {**BLOCKS, 7: ["7-0", "7-1", "lost 7-2", "7-3"]}


def test_a_node_that_does_not_see_the_pictures_ends_the_run(nodes):
    with pytest.raises(DataError, match="no such folder"):
        found_by(work=working(wrong=DataError("no such folder")))


def test_more_processors_than_a_node_has_are_refused(nodes):
    with pytest.raises(OptionError, match="--cpus 64: no node has so many; the largest has 1"):
        found_by(Spread(cpus=64))


def test_a_run_that_ends_early_leaves_no_actors(nodes):
    import ray

    run = Spread(actors=1).run(working(), BLOCKS, str, 1 << 20)
    next(run)
    run.close()
    assert found_by() == BLOCKS
    assert ray.is_initialized()


def test_halves_are_divided_until_one_is_alone():
    todo, alone = [_Piece(0, 10, list("abcde"), 3)], []
    while todo:
        halves = list(_divided(todo.pop()))
        for each in halves:
            each.deaths += 1
            (alone if len(each.names) == 1 else todo).append(each)
    assert sorted((each.start, each.names[0], each.deaths) for each in alone) == [
        (10 + place, name, 1) for place, name in enumerate("abcde")
    ]
