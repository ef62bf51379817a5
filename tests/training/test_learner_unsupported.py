"""Options that training does not follow are named once, with their place."""

import re

import pytest
from support.networks import net

from pydarknet.training.learner import Learner

CONV = "[convolutional]\nfilters=3\nactivation=linear\n"
END = "[avgpool]\n[softmax]\n"


@pytest.mark.parametrize(("of_net", "layer", "line"), [
    ("track=1", "", r"net.cfg:2: \[net\] track=1 is not supported in training: pictures are drawn one by one"),
    ("", f"{CONV}coordconv=1\n", r"net.cfg:\d+: \[convolutional\] coordconv=1 is not supported"),
    ("", "[crop]\ncrop_height=8\ncrop_width=8\nangle=7\nexposure=1\n", r"\[crop\] angle=7 is not supported"),
    ("", "[maxpool]\nsize=2\nmaxpool_zero_nonmax=1\n", r"\[maxpool\] maxpool_zero_nonmax=1 is not supported"),
])  # fmt: skip
def test_unsupported_options_is_named(build, caplog, of_net, layer, line):
    text = net(3, 8, 8).replace("[net]", f"[net]\n{of_net}") + layer + CONV + END
    Learner(build(text, "alexeyab"))
    (message,) = [r.getMessage() for r in caplog.records if "not supported" in r.getMessage()]
    assert re.search(line, message)


def test_a_section_without_lessons(build, warnings):
    text = net(3, 8, 8) + CONV + "[contrastive]\n" + END
    Learner(build(text, "alexeyab"))
    assert "[contrastive] is not supported in training: embeddings are not trained" in warnings()[-1]


@pytest.mark.parametrize("of_net", ["track=0", "flip=1\nloss_scale=128\noptimized_memory=1"])
def test_nothing_is_said_where_nothing_is_asked(build, warnings, of_net):
    Learner(build(net(3, 8, 8).replace("[net]", f"[net]\n{of_net}") + CONV + END, "alexeyab"))
    assert not warnings()


def test_keys_of_the_other_dialect_are_told_of_as_such_only(build, warnings):
    Learner(build(net(3, 8, 8) + CONV + "coordconv=1\n" + END, "pjreddie"))
    (line,) = warnings()
    assert "belongs to the other dialect" in line
