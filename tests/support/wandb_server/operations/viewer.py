"""Who is logged in, and what the server can do."""

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.connections import encoded
from tests.support.wandb_server.graphql import Node

ENTITY = "me"
"""The entity of everyone who logs in here."""


def user(username: str = ENTITY) -> Node:
    """A person, as runs and the viewer show one."""
    return {
        "__typename": "User",
        "id": encoded(f"User:{username}"),
        "name": username.title(),
        "username": username,
        "email": f"{username}@example.com",
        "admin": False,
        "photoUrl": None,
    }


def viewer() -> Node:
    """The person whose key was sent."""
    return {
        **user(),
        "entity": ENTITY,
        "flags": '{"code_saving_enabled": true}',
        "teams": {"edges": [{"node": {"name": ENTITY}}]},
        "apiKeys": {"edges": []},
        "deletedAt": None,
    }


def server_info(backend: Backend) -> Node:
    """Versions and features; the SDK chooses its operations by them."""
    features = backend.switches.features
    return {
        "features": [{"name": name, "isEnabled": True} for name in features],
        "cliVersionInfo": {"max_cli_version": "0.99.0", "min_cli_version": "0.10.0"},
        "latestLocalVersionInfo": None,
        "exposesExplicitRunMissingError": None,
    }
