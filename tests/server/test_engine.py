"""The engine without HTTP: batches, the end, what raises."""

import asyncio
import json

import pytest

from pydarknet.errors import ImageError
from pydarknet.server.engine import BusyError, Engine, StoppedError


def test_pictures_that_wait_share_a_pass(toys, sample):
    engine = Engine(toys, batch=4)
    alone = [(d.name, d.confidence) for d in toys.detect(sample, 0.3)]

    async def eight():
        return await asyncio.gather(*(engine.detect(sample, engine.options(0.3, 0.45, 0.5)) for _ in range(8)))

    try:
        for answer in asyncio.run(eight()):
            found = json.loads(answer)["objects"]
            assert [each["name"] for each in found] == [name for name, _ in alone]
            assert [each["confidence"] for each in found] == pytest.approx([value for _, value in alone], abs=1e-5)
    finally:
        engine.close()


def test_more_than_the_capacity_is_refused(toys, sample):
    engine = Engine(toys, capacity=2)

    async def three():
        options = engine.options(None, 0.45, 0.5)
        return await asyncio.gather(*(engine.detect(sample, options) for _ in range(3)), return_exceptions=True)

    try:
        results = asyncio.run(three())
        assert sorted(type(each).__name__ for each in results) == ["BusyError", "str", "str"]
        assert any(isinstance(each, BusyError) for each in results)
        assert engine.under_way == 0
    finally:
        engine.close()


def test_what_cannot_be_read_raises_and_the_engine_goes_on(toys, sample):
    engine = Engine(toys, max_pixels=1000)
    options = engine.options(None, 0.45, 0.5)
    try:
        with pytest.raises(ImageError, match="640 x 480 pixels; expected at most 1000"):
            asyncio.run(engine.detect(sample, options))
        with pytest.raises(ImageError):
            asyncio.run(engine.detect(b"abc", options))
        engine.max_pixels = 10**6
        assert json.loads(asyncio.run(engine.detect(sample, options)))["objects"]
    finally:
        engine.close()


def test_after_its_end_it_takes_nothing(toys, sample):
    engine = Engine(toys)
    options = engine.options(None, 0.45, 0.5)
    assert engine.is_alive
    engine.close()
    assert not engine.is_alive
    with pytest.raises(StoppedError):
        asyncio.run(engine.detect(sample, options))
