"""The rules in words, as the command line and the documentation show them."""

from collections.abc import Iterator

from run_assets.diagnostics.registry import FAMILIES, SECTIONS, Rule, rules
from run_assets.diagnostics.roles import DEFAULT_ROLES


def explained(one: Rule) -> str:
    """A rule as Markdown: what it finds, how, what misleads it, what to do."""
    head = f"{one.code} {one.name}"
    facts = f"Family {one.family}, severity {one.severity}."
    if one.thresholds:
        limits = ", ".join(
            f"`{name}` {value:g}" for name, value in one.thresholds.items()
        )
        facts += f" Thresholds: {limits}."
    sections = [f"**{name}.** {getattr(one, name.lower())}" for name in SECTIONS]
    return "\n\n".join([f"### {head}", f"{one.summary} {facts}", *sections])


def rules_as_markdown() -> str:
    """Every rule, by family."""
    return "\n\n".join(["## The rules", *_families()])


def _families() -> Iterator[str]:
    for family, meaning in FAMILIES.items():
        mine = [one for one in rules().values() if one.family == family]
        yield f"**{family.capitalize()}**: {meaning}."
        yield from map(explained, mine)


def parts_as_markdown() -> str:
    """Which metrics play which part by default."""
    lines = [
        "## Parts",
        "",
        "| part | metrics | good direction |",
        "| --- | --- | --- |",
    ]
    for name, role in DEFAULT_ROLES.items():
        names = ", ".join(f"`{one}`" for one in role.match)
        lines.append(f"| `{name}` | {names} | {role.direction} |")
    return "\n".join(lines)
