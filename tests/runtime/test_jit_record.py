"""What is recorded is what a real pass compiles, and recording computes nothing."""

import subprocess
import sys

import numpy as np
import pytest
from support.networks import net

from pydarknet.model import load_model
from pydarknet.tools.profile import train_once

DETECTOR = (
    net(3, 32, 32) + "[convolutional]\nfilters=14\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[yolo]\nmask=0,1\nanchors=8,8, 4,4\nnum=2\nclasses=2\n"
)
CODE = """
import sys
from pydarknet.runtime.compile_ahead import Work
from pydarknet.cli.compile_worker import find_kernels, missing
for train in (False, True):
    found = find_kernels(Work(sys.argv[1], "pjreddie", 32, 32, 2, "float32", train))
    print(*sorted({kernel.__name__ for kernel, _ in found}))
    print(*(kernel.__name__ for kernel, _ in missing(found)))
"""


@pytest.mark.slow
def test_all_that_is_recorded_has_been_compiled_by_a_real_run(write_cfg):
    cfg = write_cfg(DETECTOR)
    load_model(cfg).detect(np.zeros((32, 32, 3), np.uint8))
    train_once(cfg)
    result = subprocess.run([sys.executable, "-c", CODE, str(cfg)], capture_output=True, text=True, check=True)
    forward, missing_forward, step, missing_step = result.stdout.split("\n")[:4]
    assert {"pack_filters", "unpack_head"} <= set(forward.split())
    assert {"weight_gradient", "sgd_step", "sloped_sums", "channel_moments"} <= set(step.split())
    assert not {"suppress_classes"} & set(missing_step.split())
    assert set(missing_forward.split()) <= {"suppress_classes"}, "only another picture has boxes to suppress"
    assert missing_step == ""
