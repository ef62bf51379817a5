"""Which darknet a file belongs to, and what the two do differently."""

import dataclasses

import pytest

from pydarknet.config.dialect import ALEXEYAB, DIALECTS, PJREDDIE, choose_dialect
from pydarknet.config.sections import read_config
from pydarknet.errors import OptionError

PLAIN = "[net]\nwidth=8\nheight=8\nchannels=3\n"

# What only AlexeyAB's darknet reads, one of each kind.
SIGNS = [
    *(f"[{kind}]\n" for kind in sorted(PJREDDIE.foreign_sections)),
    "[convolutional]\nactivation=mish\n", "[convolutional]\nactivation=swish\n", "[convolutional]\nactivation=relu6\n",
    "[convolutional]\ndilation=2\n", "[convolutional]\nantialiasing=1\n", "[conv]\nstride_x=2\n",
    "[convolutional]\nshare_index=0\n", "[maxpool]\nmaxpool_depth=1\n", "[max]\nstride_y=1\n", "[route]\ngroups=2\n",
    "[dropout]\ndropblock=1\n", "[shortcut]\nfrom=-2,-3\n", "[shortcut]\nweights_type=per_channel\n",
    "[yolo]\nscale_x_y=1.05\n", "[yolo]\nnew_coords=1\n", "[yolo]\nnms_kind=greedynms\n", "[yolo]\niou_loss=ciou\n",
    "[crnn]\nhidden=3\noutput=2\n", "[region]\nfocal_loss=1\n", "[convolutional]\nclip=1\n",
    "[avgpool]\ntrain_only_bn=1\n",
]  # fmt: skip

# What both read, and what only pjreddie's does.
NO_SIGNS = [
    "[convolutional]\nfilters=3\nactivation=leaky\ngroups=3\n", "[rnn]\nhidden=5\nlogistic=1\n",
    "[shortcut]\nfrom=-2\n",
    "[yolo]\nmask=0\nmap=x\n", "[deconvolutional]\n", "[l2norm]\n", "[shortcut]\nalpha=2\n", "[gru]\ntanh=1\n",
    "[crnn]\noutput_filters=3\nhidden_filters=3\n", "[route]\nlayers=0,1\n", "[region]\nbackground=1\n",
]  # fmt: skip


def chosen(write_cfg, text, name="auto"):
    return choose_dialect(name, read_config(write_cfg(text)))


@pytest.mark.parametrize("text", SIGNS, ids=[text.replace("\n", " ") for text in SIGNS])
def test_what_only_alexeyab_knows_chooses_its_dialect(write_cfg, text):
    assert chosen(write_cfg, PLAIN + text) is ALEXEYAB


@pytest.mark.parametrize("text", NO_SIGNS, ids=[text.replace("\n", " ") for text in NO_SIGNS])
def test_everything_else_is_pjreddies(write_cfg, text):
    assert chosen(write_cfg, PLAIN + text) is PJREDDIE


@pytest.mark.parametrize("key", ["letter_box=1", "mosaic=1", "sgdr_cycle=5", "optimized_memory=1", "ema_alpha=0.9"])
def test_keys_of_net_are_signs_too(write_cfg, key):
    assert chosen(write_cfg, f"{PLAIN}{key}\n[avgpool]\n") is ALEXEYAB


@pytest.mark.parametrize("key", ["batch=1", "policy=steps", "burn_in=10", "hue=.1", "max_crop=448", "random=1"])
def test_common_keys_of_net_are_no_signs(write_cfg, key):
    assert chosen(write_cfg, f"{PLAIN}{key}\n[avgpool]\n") is PJREDDIE


@pytest.mark.parametrize("name, dialect", [("pjreddie", PJREDDIE), ("alexeyab", ALEXEYAB)])
@pytest.mark.parametrize("text", [SIGNS[0], NO_SIGNS[0]])
def test_a_name_decides_whatever_the_file_says(write_cfg, name, dialect, text):
    assert chosen(write_cfg, PLAIN + text, name) is dialect


def test_another_name_lists_the_known_ones(write_cfg):
    with pytest.raises(OptionError, match="dialect 'darknet': expected auto, pjreddie or alexeyab"):
        chosen(write_cfg, PLAIN + "[avgpool]\n", "darknet")


def test_the_dialects_differ_in_every_choice():
    same = [f.name for f in dataclasses.fields(PJREDDIE) if getattr(PJREDDIE, f.name) == getattr(ALEXEYAB, f.name)]
    assert same == []
    assert set(DIALECTS) == {"pjreddie", "alexeyab"}


@pytest.mark.parametrize("dialect", [PJREDDIE, ALEXEYAB], ids=["pjreddie", "alexeyab"])
def test_aliases_have_the_same_foreign_keys(dialect):
    assert dialect.foreign_keys("conv") == dialect.foreign_keys("convolutional")
    assert dialect.foreign_keys("max") == dialect.foreign_keys("maxpool")
    assert dialect.foreign_keys("network") == dialect.foreign_keys("net")


@pytest.mark.parametrize("kind", ["net", "convolutional", "shortcut", "crnn", "region", "reorg", "gru", "avgpool"])
def test_no_key_is_foreign_to_both(kind):
    assert not PJREDDIE.foreign_keys(kind) & ALEXEYAB.foreign_keys(kind)
