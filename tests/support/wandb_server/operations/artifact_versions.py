"""Artifacts as they are made: created, uploaded, committed, used, edited, deleted."""

from collections.abc import Sequence

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.connections import decoded, encoded
from tests.support.wandb_server.graphql import GraphQLRefusalError, Node
from tests.support.wandb_server.operations.artifacts import (
    artifact_node,
    collection_id,
)
from tests.support.wandb_server.storage import (
    Artifact,
    CollectionKey,
    JsonObject,
    RunKey,
)

MANIFEST_NAME = "wandb_manifest.json"
MANIFEST_ID = "ArtifactManifest:"


def _known(backend: Backend, artifact_id: str) -> Artifact:
    found = backend.store.artifact(artifact_id)
    if found is None:
        message = f"artifact {artifact_id!r} not found"
        raise GraphQLRefusalError(message)
    return found


def create(backend: Backend, given: JsonObject) -> Node:
    """Begin a version; equal content gives the version that already has it."""
    store = backend.store
    entity, project = given["entityName"], given["projectName"]
    key = (entity, project, given["artifactCollectionName"])
    store.add_project(entity, project)
    store.artifact_types.setdefault(key, given["artifactTypeName"])
    versions = store.versions(key)
    if (
        versions
        and versions[-1].digest == given["digest"]
        and given.get("enableDigestDeduplication")
    ):
        version = versions[-1]
    else:
        version = _pending(backend, key, given)
        store.artifacts.append(version)
    _move_aliases(backend, version, [item["alias"] for item in given["aliases"] or ()])
    _map_client_ids(backend, version, given)
    return {"artifact": artifact_node(backend, version)}


def _pending(backend: Backend, key: CollectionKey, given: JsonObject) -> Artifact:
    entity, project, _ = key
    run_project = given.get("runProjectName") or project
    run: RunKey = (entity, run_project, given.get("runName") or "")
    return Artifact(
        id=encoded(f"Artifact:{len(backend.store.artifacts) + 1}"),
        collection=key,
        digest=given["digest"],
        version=backend.store.next_version(key),
        run=run,
        created_at=backend.now(),
        description=given.get("description"),
        metadata=given.get("metadata"),
    )


def _move_aliases(backend: Backend, target: Artifact, aliases: Sequence[str]) -> None:
    """An alias names one version of a collection."""
    for other in backend.store.artifacts:
        if other.collection == target.collection:
            other.aliases = [alias for alias in other.aliases if alias not in aliases]
    target.aliases.extend(aliases)


def _map_client_ids(backend: Backend, version: Artifact, given: JsonObject) -> None:
    mapped = {
        given.get("clientID"): version.id,
        given.get("sequenceClientID"): collection_id(version.collection),
    }
    known = {client: server for client, server in mapped.items() if client}
    backend.store.client_ids.update(known)


def _manifest_upload(backend: Backend, artifact: Artifact, name: str) -> Node:
    url = backend.url("blobs", "manifests", artifact.id)
    file = {
        "id": encoded(f"File:{artifact.id}"),
        "name": name,
        "displayName": name,
        "uploadUrl": url,
        "uploadHeaders": [],
        "directUrl": url,
    }
    manifest_id = encoded(MANIFEST_ID + artifact.id)
    return {"artifactManifest": {"id": manifest_id, "file": file}}


def create_manifest(backend: Backend, given: JsonObject) -> Node:
    """The address to upload a version's manifest to."""
    target = _known(backend, given["artifactID"])
    return _manifest_upload(backend, target, given["name"])


def update_manifest(backend: Backend, given: JsonObject) -> Node:
    """The same for a manifest that exists."""
    artifact_id = decoded(given["artifactManifestID"]).removeprefix(MANIFEST_ID)
    return _manifest_upload(backend, _known(backend, artifact_id), MANIFEST_NAME)


def create_files(backend: Backend, given: JsonObject) -> Node:
    """Addresses to upload a version's files to."""
    nodes = [_file_upload(backend, given) for given in given["artifactFiles"]]
    return {"files": {"edges": [{"node": node} for node in nodes]}}


def _file_upload(backend: Backend, given: JsonObject) -> Node:
    target, name = _known(backend, given["artifactID"]), given["name"]
    target.births[name] = target.id
    path = f"artifacts/{target.id}/{name}"
    return {
        "id": encoded(name),
        "name": name,
        "displayName": name,
        "storagePath": path,
        "uploadUrl": backend.url("blobs", path),
        "uploadHeaders": [],
        "uploadMultipartUrls": None,
        "artifact": artifact_node(backend, target),
    }


def commit(backend: Backend, given: JsonObject) -> Node:
    """Make a version visible; its number is the next one of its collection."""
    target = _known(backend, given["artifactID"])
    if target.state == "PENDING":
        target.version = backend.store.next_version(target.collection)
        target.state = "COMMITTED"
        for path, entry in backend.store.manifest(target).items():
            if "birthArtifactID" in entry:
                target.births.setdefault(path, entry["birthArtifactID"])
    return {"artifact": artifact_node(backend, target)}


def use(backend: Backend, given: JsonObject) -> Node:
    """Note that a run used a version."""
    target = _known(backend, given["artifactID"])
    key = (given["entityName"], given["projectName"], given["runName"])
    if key not in target.used_by:
        target.used_by.append(key)
    return {"artifact": artifact_node(backend, target)}


def update(backend: Backend, given: JsonObject) -> Node:
    """Edit a version's description, metadata and aliases."""
    target = _known(backend, given["artifactID"])
    for name in ("description", "metadata"):
        if given.get(name) is not None:
            setattr(target, name, given[name])
    if given.get("aliases") is not None:
        target.aliases = []
        _move_aliases(backend, target, [item["alias"] for item in given["aliases"]])
    return {"artifact": artifact_node(backend, target)}


def delete(backend: Backend, given: JsonObject) -> Node:
    """Delete a version; those after it keep their numbers."""
    target = _known(backend, given["artifactID"])
    target.state = "DELETED"
    return {"artifact": {"id": target.id}}
