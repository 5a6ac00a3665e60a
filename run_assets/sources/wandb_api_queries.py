"""The GraphQL documents that are sent to W&B.

W&B publishes no schema. Every field and argument here is one that the SDK 0.31 asks
for itself; a test holds them against the SDK's own documents.
"""

RUN_FIELDS = """
    name displayName state tags group jobType commit sweepName createdAt heartbeatAt
    notes historyLineCount config summaryMetrics
    user { username }
"""

RUNS = f"""
query Runs(
    $project: String!, $entity: String!, $cursor: String, $perPage: Int = 50,
    $order: String, $filters: JSONString
) {{
    project(name: $project, entityName: $entity) {{
        runCount(filters: $filters)
        runs(filters: $filters, after: $cursor, first: $perPage, order: $order) {{
            edges {{ node {{ {RUN_FIELDS} }} }}
            pageInfo {{ endCursor hasNextPage }}
        }}
    }}
}}
"""
"""A page of a project's runs, each with all that shows whether it has changed."""

ARTIFACT_FIELDS = """
    totalCount
    pageInfo { endCursor hasNextPage }
    edges { node {
        artifactType { name }
        artifactSequence { name }
        versionIndex digest size createdAt
        aliases { alias artifactCollection { name } }
        files(first: $files) { edges { node { name sizeBytes } } }
    } }
"""

RUN_DETAIL = f"""
query RunDetail(
    $entity: String!, $project: String!, $run: String!, $minStep: Int64!,
    $maxStep: Int64!, $pageSize: Int!, $withRows: Boolean!, $events: Int!,
    $artifacts: Int!, $files: Int!
) {{
    project(name: $project, entityName: $entity) {{
        run(name: $run) {{
            historyLineCount historyKeys eventsLineCount
            parquetHistory(liveKeys: ["_step"]) {{ parquetUrls }}
            history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize)
                @include(if: $withRows)
            events(samples: $events)
            files(names: ["wandb-metadata.json"], first: 1) {{
                edges {{ node {{ name directUrl }} }}
            }}
            outputArtifacts(first: $artifacts) {{ {ARTIFACT_FIELDS} }}
            inputArtifacts(first: $artifacts) {{ {ARTIFACT_FIELDS} }}
        }}
    }}
}}
"""
"""All of a run but long histories, in one request."""

HISTORY_PAGE = """
query HistoryPage(
    $entity: String!, $project: String!, $run: String!, $minStep: Int64!,
    $maxStep: Int64!, $pageSize: Int!
) {
    project(name: $project, entityName: $entity) {
        run(name: $run) {
            history(minStep: $minStep, maxStep: $maxStep, samples: $pageSize)
        }
    }
}
"""
"""Rows of a window of steps: ``minStep <= step < maxStep``."""

WHOLE_HISTORY = """
query RunFullHistory(
    $entity: String!, $project: String!, $run: String!, $samples: Int!
) {
    project(name: $project, entityName: $entity) {
        run(name: $run) { historyLineCount history(samples: $samples) }
    }
}
"""
"""Every row, where as many are asked for as there are."""

EVENTS = """
query RunEvents($entity: String!, $project: String!, $run: String!, $events: Int!) {
    project(name: $project, entityName: $entity) {
        run(name: $run) { eventsLineCount events(samples: $events) }
    }
}
"""

EXPORTS = """
query RunParquetHistory($entity: String!, $project: String!, $run: String!) {
    project(name: $project, entityName: $entity) {
        run(name: $run) { parquetHistory(liveKeys: ["_step"]) { parquetUrls } }
    }
}
"""
"""Fresh addresses of the exports: the signed ones expire."""

OUTPUT_ARTIFACTS = f"""
query RunOutputArtifacts(
    $entity: String!, $project: String!, $run: String!, $cursor: String,
    $artifacts: Int!, $files: Int!
) {{
    project(name: $project, entityName: $entity) {{
        run(name: $run) {{
            found: outputArtifacts(after: $cursor, first: $artifacts) {{
                {ARTIFACT_FIELDS}
            }}
        }}
    }}
}}
"""

INPUT_ARTIFACTS = OUTPUT_ARTIFACTS.replace("outputArtifacts", "inputArtifacts").replace(
    "RunOutputArtifacts", "RunInputArtifacts"
)

KEYS = """
query RunHistoryKeys($entity: String!, $project: String!, $run: String!) {
    project(name: $project, entityName: $entity) {
        run(name: $run) { historyLineCount historyKeys }
    }
}
"""
"""What a run logged, without what it logged."""

RUN_FILE = """
query RunFiles(
    $entity: String!, $project: String!, $run: String!, $names: [String] = []
) {
    project(name: $project, entityName: $entity) {
        run(name: $run) {
            files(names: $names, first: 1) { edges { node { name url directUrl } } }
        }
    }
}
"""
"""Where a file of a run can be had."""


def existence_query(count: int) -> str:
    """Whether runs exist: ``$r0``, ``$r1`` … in one request, null where one does not.

    >>> "r1: run(name: $r1) { name }" in existence_query(2)
    True
    """
    names = [f"r{number}" for number in range(count)]
    declared = ", ".join(f"${name}: String!" for name in names)
    asked = " ".join(f"{name}: run(name: ${name}) {{ name }}" for name in names)
    return (
        f"query RunsByName($project: String!, $entity: String!, {declared}) "
        f"{{ project(name: $project, entityName: $entity) {{ {asked} }} }}"
    )
