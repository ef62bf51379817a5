"""The numbers of backends and targets."""

import cv2

import pydarknet.dnn
from pydarknet.dnn.names import BACKENDS, TARGETS


def test_they_are_the_installed_opencvs():
    names = [name for name in dir(cv2.dnn) if name.startswith(("DNN_BACKEND_", "DNN_TARGET_"))]
    assert len(names) > 10
    assert {name: getattr(pydarknet.dnn, name) for name in names} == {name: getattr(cv2.dnn, name) for name in names}


def test_each_number_has_one_name():
    assert (len(BACKENDS), len(TARGETS)) == (9, 11)
    assert {*BACKENDS.values(), *TARGETS.values()} <= set(pydarknet.dnn.__all__)
