"""What several tests of training runs start from."""

import pytest
from support.training_files import detection_files

from pydarknet.training import validation


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A detector that is validated every third iteration, from the third on."""
    monkeypatch.setattr(validation, "LEAST_INTERVAL", 3)
    return detection_files(tmp_path)
