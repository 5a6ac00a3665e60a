"""A W&B server for each test, and an environment that leads there."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from run_assets.publish import wandb as publisher
from run_assets.publish.content import Publication
from tests.support.publications import make_publication
from tests.support.wandb_server import API_KEY, WandbServer, wandb_server
from tests.support.wandb_server.client import SdkClient, sdk_client


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server of its own for each test, and an environment that leads there."""
    for name in list(os.environ):
        if name.startswith(("WANDB_", "XDG_")) or name == "DISABLE_WANDB":
            monkeypatch.delenv(name)
    monkeypatch.setattr(publisher, "_PAUSE_SECONDS", 0.0)
    with wandb_server(tmp_path / "sdk") as server:
        monkeypatch.setenv("HOME", server.settings["HOME"])
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", API_KEY)
        yield server
        assert not server.requests.unknown


@pytest.fixture
def sdk(server: WandbServer) -> Iterator[SdkClient]:
    with sdk_client(server.environment) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "published" / "wandb"


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    return make_publication(tmp_path)
