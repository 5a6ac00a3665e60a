"""Which module answers which top-level field."""

from collections.abc import Callable
from functools import partial

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.graphql import Node
from tests.support.wandb_server.operations import (
    artifact_versions,
    artifacts,
    files,
    projects,
    runs,
    viewer,
)


def root(backend: Backend) -> Node:
    """The object that every query and mutation starts from."""
    resolvers: dict[str, Callable[..., Node | None]] = {
        "artifact": artifacts.artifact,
        "clientIDMapping": artifacts.client_id_mapping,
        "commitArtifact": artifact_versions.commit,
        "createArtifact": artifact_versions.create,
        "createArtifactFiles": artifact_versions.create_files,
        "createArtifactManifest": artifact_versions.create_manifest,
        "createRunFiles": files.create,
        "deleteArtifact": artifact_versions.delete,
        "deleteRun": runs.delete,
        "entity": projects.entity,
        "markRunFilesUploaded": files.mark_uploaded,
        "model": projects.project,
        "models": projects.projects,
        "project": projects.project,
        "notifyScriptableRunAlert": runs.alert,
        "stopRun": runs.stop,
        "updateArtifact": artifact_versions.update,
        "updateArtifactManifest": artifact_versions.update_manifest,
        "updateRunState": runs.update_state,
        "upsertBucket": runs.upsert,
        "upsertModel": projects.upsert,
        "useArtifact": artifact_versions.use,
    }
    return {
        "serverInfo": viewer.server_info(backend),
        "viewer": viewer.viewer(),
        **{name: partial(resolve, backend) for name, resolve in resolvers.items()},
    }
