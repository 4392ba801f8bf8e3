"""Fixtures with all formats of the tiny classifier, exported once."""

import pytest

from tests.runtime.artefacts.exports import ALL, Export, export


@pytest.fixture(scope="session")
def exported(data_dir, trained, tmp_path_factory) -> Export:
    """The tiny classifier in every format. Tests must not change it."""
    folder = tmp_path_factory.mktemp("artefacts")
    found = export(folder, f"--model_dir={trained}", f"--data_dir={data_dir}", f"--format={ALL}")
    assert found.status == 0, found.output + found.error
    return found
