"""Options that several commands share, as fields of a dataclass."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

import typer

from run_assets.cli.session import session

Command = Callable[..., None]


def asking(kind: type[Any]) -> Callable[[Command], Command]:
    """Let a command take the fields of a dataclass as options.

    Args:
        kind: The dataclass; its fields are annotated as Typer's parameters are.

    Returns:
        A decorator of a command whose parameters are the session, an object of the
        dataclass, and its own options.
    """
    hints = get_type_hints(kind, include_extras=True)
    shared = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=one.default,
            annotation=hints[one.name],
        )
        for one in fields(kind)
    ]
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_ONLY, annotation=typer.Context
    )

    def decorate(command: Command) -> Command:
        own = inspect.signature(command).parameters
        rest = [own[name] for name in own if name not in ("given", "question")]

        @functools.wraps(command)
        def asked(context: typer.Context, **options: Any) -> None:
            question = kind(**{one.name: options.pop(one.name) for one in shared})
            command(session(context), question, **options)

        parameters = [context, *shared, *rest]
        asked.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Typer reads it
        asked.__annotations__ = {one.name: one.annotation for one in parameters}
        return asked

    return decorate
