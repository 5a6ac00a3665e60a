"""The asset graph is whole, described, and cheap to load."""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from run_assets.contracts.tables import TABLES
from run_assets.definitions import build_definitions
from tests.support.labs import make_lab

SNAPSHOT = Path(__file__).parents[1] / "snapshots" / "asset_graph.txt"
HEAVY = ("altair", "numba", "pandas", "pyarrow", "scipy", "vl_convert", "wandb")


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(make_lab(tmp_path_factory.mktemp("lab"), 0))


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    found = definitions.resolve_all_asset_specs()
    return {spec.key.to_user_string(): spec for spec in found}


def graph_lines(
    definitions: dg.Definitions, specs: dict[str, dg.AssetSpec]
) -> Iterator[str]:
    """Each asset with its kinds, what it reads and its checks."""
    checks = definitions.resolve_asset_graph().asset_check_keys
    for name, spec in sorted(specs.items()):
        is_sweep = name.startswith("sweeps/")
        by = " by sweep" if is_sweep else " by day and project"
        partitioned = by if spec.partitions_def else ""
        yield f"{name} ({', '.join(sorted(spec.kinds))}){partitioned}"
        yield from sorted(
            f"  reads {dep.asset_key.to_user_string()}" for dep in spec.deps
        )
        yield from sorted(
            f"  check {one.name}" for one in checks if one.asset_key == spec.key
        )


def test_the_graph_is_the_one_that_was_reviewed(
    definitions: dg.Definitions, specs: dict[str, dg.AssetSpec]
) -> None:
    drawn = "\n".join(graph_lines(definitions, specs)) + "\n"
    assert drawn == SNAPSHOT.read_text(encoding="utf-8"), (
        f"the graph has changed; if that was meant, put this into {SNAPSHOT}:\n{drawn}"
    )


def test_dagster_finds_no_fault_in_the_definitions(definitions: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_every_asset_says_what_it_is_and_whose(
    specs: dict[str, dg.AssetSpec],
) -> None:
    for name, spec in specs.items():
        assert spec.description, name
        assert spec.description.strip().endswith("."), name
        assert spec.owners == ["team:run-assets"], name
        assert spec.group_name == spec.key.path[0], name
        assert spec.kinds, name


def test_every_table_is_an_asset_of_its_name(specs: dict[str, dg.AssetSpec]) -> None:
    assert {name.replace(".", "/") for name in TABLES} <= set(specs)


def test_every_stored_table_has_a_contract_check(definitions: dg.Definitions) -> None:
    checked = {
        one.asset_key.to_user_string().replace("/", ".")
        for one in definitions.resolve_asset_graph().asset_check_keys
        if one.name == "contract"
    }
    stored = {
        name for name, one in TABLES.items() if one.layout not in ("view", "none")
    }
    assert checked == stored


def test_every_check_says_what_it_checks(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for one in graph.asset_check_keys:
        assert graph.get_check_spec(one).description, one


def test_the_stamp_comes_after_everything_else(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    stamp = dg.AssetKey(["published", "last_refresh"])
    above = graph.get_ancestor_asset_keys(stamp)
    every = {one for one in graph.get_all_asset_keys() if one.path[0] != "sweeps"}
    assert every == {stamp, *above}


def in_job(definitions: dg.Definitions, job: str) -> set[str]:
    """Addresses of the assets that a job builds."""
    layer = definitions.resolve_job_def(job).asset_layer
    return {one.to_user_string() for one in layer.selected_asset_keys}


def refreshed(keys: Iterable[dg.AssetKey]) -> set[dg.AssetKey]:
    """Without those of sweeps and of curves, which nobody asked for here."""
    return {key for key in keys if key.path[0] not in {"sweeps", "curves"}}


def test_the_refresh_and_the_sweep_job_hold_every_asset_and_check(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()
    layers = {
        name: definitions.resolve_job_def(name).asset_layer
        for name in ("refresh", "sweep", "train_curves")
    }
    every = set(graph.get_all_asset_keys())
    assert set(layers["refresh"].selected_asset_keys) == refreshed(every)
    sweeps = {key for key in every if key.path[0] == "sweeps"}
    assert set(layers["sweep"].selected_asset_keys) == sweeps
    checks: list[set[dg.AssetCheckKey]] = [
        set(one.asset_graph.asset_check_keys) for one in layers.values()
    ]
    all_checks = {one for some in checks for one in some}
    unasked = {"curves/features", "curves/dataset"}
    assert {
        one
        for one in set(graph.asset_check_keys) - all_checks
        if one.asset_key.to_user_string() not in unasked
    } == set()
    assert len(all_checks) == sum(map(len, checks))


def test_curves_that_are_configured_are_refreshed_but_not_trained(
    tmp_path: Path,
) -> None:
    lab = make_lab(tmp_path, 0, curves={"metric": "reward"})
    found = build_definitions(lab)
    refreshed = {one for one in in_job(found, "refresh") if one.startswith("curves/")}
    trained = in_job(found, "train_curves")
    assert refreshed == {
        "curves/features",
        "curves/dataset",
        "curves/predictions",
        "curves/outlooks",
    }
    assert "curves/model" in trained
    assert trained & {"curves/features", "raw/runs", "reports/report"} == set()
    assert {"curves/predictions", "curves/outlooks"} <= trained


def test_training_has_a_schedule_where_the_config_gives_it_one(tmp_path: Path) -> None:
    lab = make_lab(tmp_path, 0, curves={"metric": "reward", "cron": "0 4 * * 0"})
    schedule = build_definitions(lab).resolve_schedule_def("training")
    assert schedule.cron_schedule == "0 4 * * 0"
    assert schedule.job_name == "train_curves"


def test_partitions_are_listed_once_until_a_project_is_added(
    specs: dict[str, dg.AssetSpec],
) -> None:
    partitions = specs["raw/runs"].partitions_def
    assert isinstance(partitions, dg.MultiPartitionsDefinition)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("project", ["lab--maze"])
        first = partitions.get_partition_keys(dynamic_partitions_store=instance)
        again = partitions.get_partition_keys(dynamic_partitions_store=instance)
        instance.add_dynamic_partitions("project", ["lab--hall"])
        more = partitions.get_partition_keys(dynamic_partitions_store=instance)
    assert first[0] == "2020-01-01|lab--maze"
    assert again is first
    assert len(more) == 2 * len(first)
    assert set(first) < set(more)


def test_loading_the_definitions_imports_nothing_that_only_some_steps_need() -> None:
    code = (
        "import sys; import run_assets.definitions; "
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
