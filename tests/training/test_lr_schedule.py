"""Learning-rate policies against their formulas, written out."""

import math

import pytest

from pydarknet.config.sections import read_config
from pydarknet.errors import ConfigError
from pydarknet.training.lr_schedule import POLICIES, LearningRateSchedule


@pytest.fixture
def schedule(write_cfg):
    """The schedule of a [net] with these options."""

    def make(options):
        return LearningRateSchedule.from_section(
            read_config(write_cfg(f"[net]\nlearning_rate=0.5\n{options}\n[dropout]\n")).net
        )

    return make


@pytest.mark.parametrize("options, update, factor", [
    ("", 7, 1),
    ("policy=constant\nburn_in=10\npower=2", 5, 0.25),
    ("policy=step\nstep=3\nscale=0.1", 7, 0.01),
    ("policy=steps\nsteps=2,5,9\nscales=0.5,0.5,0.1", 5, 0.25),
    ("policy=exp\ngamma=0.9", 3, 0.9**3),
    ("policy=poly\nmax_batches=100\npower=3", 20, 0.8**3),
    ("policy=sigmoid\ngamma=0.5\nstep=10", 6, 1 / (1 + math.exp(-2))),
])  # fmt: skip
def test_a_policy_is_its_formula(schedule, options, update, factor):
    assert schedule(options).at(update) == pytest.approx(0.5 * factor, rel=1e-12)


def test_every_policy_has_its_formula_above(schedule):
    tested = {"constant", "step", "steps", "exp", "poly", "random", "sigmoid", "sgdr"}
    assert set(POLICIES) == tested


@pytest.mark.parametrize(("options", "expected"), [
    ("policy=sigmoid\ngamma=1", 0),
    ("policy=exp\ngamma=2", math.inf),
    ("policy=step\nscale=10", math.inf),
    ("policy=poly\nmax_batches=5\npower=2.5", math.nan),
])  # fmt: skip
def test_a_formula_that_overflows_is_no_traceback(schedule, options, expected):
    assert schedule(options).at(5000) == pytest.approx(expected, nan_ok=True)


def test_restarts_grow_and_begin_at_the_full_rate(schedule):
    at = schedule("policy=sgdr\nsgdr_cycle=10\nsgdr_mult=2\nlearning_rate_min=0.1").at
    assert at(5) == pytest.approx(0.3)
    assert at(10) == pytest.approx(0.1)
    assert at(11) == pytest.approx(0.1 + 0.2 * (1 + math.cos(math.pi / 20)))
    assert at(30) == pytest.approx(0.1)


def test_random_rates_are_the_same_for_the_same_update(schedule):
    random = schedule("policy=random\npower=1")
    assert random.at(3) == random.at(3) != random.at(4)
    assert all(0 <= random.at(update) <= 0.5 for update in range(50))


def test_an_unknown_policy_is_constant_with_a_warning(schedule, warnings):
    assert schedule("policy=stpes").at(9) == 0.5
    assert "Couldn't find policy stpes" in warnings()[-1]


@pytest.mark.parametrize("options", ["", "steps=1,2\nscales=0.1", "steps=1"])
def test_steps_need_as_many_scales(schedule, options):
    with pytest.raises(ConfigError, match="STEPS policy must have steps and scales"):
        schedule(f"policy=steps\n{options}")
