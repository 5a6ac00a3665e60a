"""Artifacts as they are read: versions, aliases, files and lineage."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.connections import connection, encoded
from tests.support.wandb_server.graphql import Node
from tests.support.wandb_server.operations import projects, runs
from tests.support.wandb_server.storage import (
    Artifact,
    CollectionKey,
    JsonObject,
    Run,
)

INFINITE_TTL = -2


def artifact_node(backend: Backend, artifact: Artifact) -> Node:
    """All that can be asked of a version."""
    version = f"v{artifact.version}"
    return {
        "__typename": "Artifact",
        "id": artifact.id,
        "state": artifact.state,
        "digest": artifact.digest,
        "digestAlgorithm": "MANIFEST_MD5",
        "description": artifact.description,
        "metadata": artifact.metadata,
        "versionIndex": artifact.version,
        "commitHash": artifact.id[:8],
        "historyStep": None,
        "createdAt": backend.shown(artifact.created_at),
        "updatedAt": backend.shown(artifact.created_at),
        "ttlDurationSeconds": INFINITE_TTL,
        "ttlIsInherited": True,
        "tags": [],
        **_content_fields(backend, artifact),
        "artifactType": {"name": backend.store.artifact_types[artifact.collection]},
        "artifactSequence": lambda: collection_node(backend, artifact.collection),
        "aliases": lambda **_: [
            _alias(backend, artifact, alias) for alias in artifact.aliases
        ],
        "artifactMembership": lambda **_: membership(
            backend, artifact.collection, version
        ),
        "createdBy": lambda: runs.found(backend, artifact.run),
        "usedBy": partial(_used_by, backend, artifact),
    }


def _content_fields(backend: Backend, artifact: Artifact) -> Node:
    manifest_url = backend.url("blobs", "manifests", artifact.id)
    return {
        "size": lambda: _size_bytes(backend, artifact),
        "fileCount": lambda: len(backend.store.manifest(artifact)),
        "currentManifest": {"file": {"directUrl": manifest_url}},
        "files": partial(_files, backend, artifact),
        "filesByManifestEntries": partial(_files_by_entries, backend, artifact),
    }


def _size_bytes(backend: Backend, artifact: Artifact) -> int:
    entries = backend.store.manifest(artifact).values()
    return sum(entry.get("size", 0) for entry in entries)


def _files(
    backend: Backend,
    artifact: Artifact,
    names: Sequence[str] | None = None,
    after: str | None = None,
    first: int | None = None,
    **_: object,
) -> Node:
    entries = [
        (path, entry)
        for path, entry in backend.store.manifest(artifact).items()
        if not names or path in names
    ]
    return connection(entries, partial(_file, backend, artifact), after, first)


def _files_by_entries(
    backend: Backend, artifact: Artifact, entries: Sequence[JsonObject], **_: object
) -> Node:
    pairs = [(entry["name"], entry) for entry in entries]
    return connection(pairs, partial(_file, backend, artifact), first=len(pairs) + 1)


def _file(backend: Backend, artifact: Artifact, item: tuple[str, JsonObject]) -> Node:
    """A file; its bytes lie where the version that first held them put them."""
    path, entry = item
    birth = artifact.births.get(path, artifact.id)
    url = None if "ref" in entry else backend.url("blobs", "artifacts", birth, path)
    return {
        "__typename": "File",
        "id": encoded(path),
        "name": path,
        "displayName": path,
        "url": url,
        "directUrl": url,
        "sizeBytes": entry.get("size", 0),
        "storagePath": None,
        "mimetype": "",
        "updatedAt": backend.shown(artifact.created_at),
        "digest": entry.get("digest"),
        "md5": entry.get("digest"),
    }


def _alias(backend: Backend, artifact: Artifact, alias: str) -> Node:
    return {
        "__typename": "ArtifactAlias",
        "id": encoded(f"{artifact.id}:{alias}"),
        "alias": alias,
        "artifactCollection": lambda: collection_node(backend, artifact.collection),
    }


def _used_by(
    backend: Backend,
    artifact: Artifact,
    after: str | None = None,
    first: int | None = None,
    **_: object,
) -> Node:
    users = [key for key in artifact.used_by if key in backend.store.runs]
    return connection(
        users,
        lambda key: runs.run_node(backend, backend.store.runs[key]),
        after,
        first,
    )


def collection_node(backend: Backend, key: CollectionKey) -> Node:
    """All versions under one name."""
    entity, project, name = key
    now = backend.shown(backend.now())
    return {
        "__typename": "ArtifactSequence",
        "__interfaces": ("ArtifactCollection", "ArtifactCollectionInfo"),
        "id": collection_id(key),
        "name": name,
        "description": None,
        "createdAt": now,
        "updatedAt": now,
        "state": "READY",
        "digestAlgorithm": "MANIFEST_MD5",
        "project": lambda: projects.project_node(backend, entity, project),
        "defaultArtifactType": {"name": backend.store.artifact_types[key]},
        "tags": {"edges": []},
        "latestArtifact": lambda: _latest(backend, key),
        "artifacts": partial(_versions, backend, key),
        "artifactMembership": lambda alias_name: membership(backend, key, alias_name),
        "aliases": partial(_aliases, backend, key),
    }


def collection_id(key: CollectionKey) -> str:
    """The opaque identifier of a collection."""
    return encoded("ArtifactCollection:" + "/".join(key))


def _latest(backend: Backend, key: CollectionKey) -> Node | None:
    versions = backend.store.versions(key)
    return artifact_node(backend, versions[-1]) if versions else None


def _versions(
    backend: Backend,
    key: CollectionKey,
    after: str | None = None,
    first: int | None = None,
    **_: object,
) -> Node:
    """Newest first."""
    return _artifact_connection(
        backend, backend.store.versions(key)[::-1], after, first
    )


def _artifact_connection(
    backend: Backend,
    artifacts: Sequence[Artifact],
    after: str | None = None,
    first: int | None = None,
    **_: object,
) -> Node:
    return connection(
        artifacts,
        lambda artifact: artifact_node(backend, artifact),
        after,
        first,
        edge=lambda artifact: {"version": f"v{artifact.version}"},
    )


def _aliases(
    backend: Backend,
    key: CollectionKey,
    after: str | None = None,
    first: int | None = None,
    **_: object,
) -> Node:
    pairs = [
        (artifact, alias)
        for artifact in backend.store.versions(key)
        for alias in artifact.aliases
    ]
    return connection(pairs, lambda pair: _alias(backend, *pair), after, first)


def membership(backend: Backend, key: CollectionKey, alias: str) -> Node | None:
    """A version as a member of its collection; None if the alias names none."""
    artifact = backend.store.version(key, alias)
    if artifact is None:
        return None
    return {
        "__typename": "ArtifactCollectionMembership",
        "id": encoded(f"Membership:{artifact.id}"),
        "createdAt": backend.shown(artifact.created_at),
        "versionIndex": artifact.version,
        "aliases": [_alias(backend, artifact, name) for name in artifact.aliases],
        "artifactCollection": lambda: collection_node(backend, key),
        "artifact": lambda: artifact_node(backend, artifact),
        "files": partial(_files, backend, artifact),
    }


def project_fields(backend: Backend, project: tuple[str, str]) -> Node:
    """The fields of a project that lead to its artifacts."""

    def named(name: str) -> tuple[CollectionKey, str]:
        collection, _, alias = name.partition(":")
        return (*project, collection), alias or "latest"

    def version(name: str) -> Node | None:
        artifact = backend.store.version(*named(name))
        return artifact_node(backend, artifact) if artifact else None

    return {
        "artifact": version,
        "artifactCollection": lambda name: _collection(backend, (*project, name)),
        "artifactCollectionMembership": lambda name: membership(backend, *named(name)),
        "artifactType": lambda name: _type(backend, project, name),
        "artifactTypes": partial(_types, backend, project),
    }


def _collection(backend: Backend, key: CollectionKey) -> Node | None:
    is_known = key in backend.store.artifact_types
    return collection_node(backend, key) if is_known else None


def _type(backend: Backend, project: tuple[str, str], name: str) -> Node:
    return {
        "__typename": "ArtifactType",
        "id": encoded(f"ArtifactType:{name}"),
        "name": name,
        "description": None,
        "createdAt": backend.shown(backend.now()),
        "artifactCollection": lambda name: _collection(backend, (*project, name)),
        "artifactCollections": partial(_collections, backend, project, name),
    }


def _types(
    backend: Backend,
    project: tuple[str, str],
    after: str | None = None,
    first: int | None = None,
    **_: object,
) -> Node:
    known = backend.store.artifact_types.items()
    names = sorted({name for key, name in known if key[:2] == project})
    return connection(names, partial(_type, backend, project), after, first)


def _collections(
    backend: Backend,
    project: tuple[str, str],
    type_name: str,
    after: str | None = None,
    first: int | None = None,
    **_: object,
) -> Node:
    known = backend.store.artifact_types.items()
    keys = [key for key, name in known if key[:2] == project and name == type_name]
    return connection(keys, partial(collection_node, backend), after, first)


def run_fields(backend: Backend, run: Run) -> Node:
    """The artifacts that a run logged and used."""

    def logged(**arguments: Any) -> Node:
        found = [
            artifact
            for artifact in backend.store.artifacts
            if artifact.run == run.key and artifact.state == "COMMITTED"
        ]
        return _artifact_connection(backend, found, **arguments)

    def used(**arguments: Any) -> Node:
        artifacts = backend.store.artifacts
        found = [artifact for artifact in artifacts if run.key in artifact.used_by]
        return _artifact_connection(backend, found, **arguments)

    return {"outputArtifacts": logged, "inputArtifacts": used}


def artifact(backend: Backend, identifier: str) -> Node | None:
    """A version by its identifier."""
    found = backend.store.artifact(identifier)
    return artifact_node(backend, found) if found else None


def client_id_mapping(backend: Backend, client_id: str) -> Node | None:
    """The server's identifier for one that the SDK made up."""
    server_id = backend.store.client_ids.get(client_id)
    return {"serverID": server_id} if server_id else None
