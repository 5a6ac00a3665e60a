"""Compilation of many small functions over arrays into one, without their overhead.

An array that is passed from one compiled function to another, or copied from one
variable to another, counts references atomically: half of the run time of a decoder.
So the small functions are inlined by numba, and the copies that inlining leaves behind
are removed before types are inferred.

Source: https://numba.readthedocs.io/en/stable/extending/compiler-passes.html
"""

from collections import Counter
from collections.abc import Callable, Container
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
from numba.core.ir_utils import build_definitions, replace_vars
from numba.core.postproc import PostProcessor
from numba.core.untyped_passes import InlineInlinables

Function = TypeVar("Function", bound=Callable[..., object])


@register_pass(mutates_CFG=False, analysis_only=False)
class UseArgumentsDirectly(FunctionPass):  # type: ignore[misc]  # numba ships no types
    """Read each argument once, and each field of it, however often it was inlined.

    Inlining leaves a copy of every argument of every call. A copy of an array counts
    references, atomically: that would be half of the run time.
    """

    _name = "use_arguments_directly"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Rewrite the function in place."""
        blocks = state.func_ir.blocks
        entry = blocks[min(blocks)]
        times = Counter(one.target.name for one in _assignments(blocks))
        once = {name for name, count in times.items() if count == 1}
        # What is assigned once, in the block that runs once, never changes.
        fixed = {one.target.name: one.target for one in entry.find_insts(ir.Assign)}
        fixed = {name: variable for name, variable in fixed.items() if name in once}
        copies: dict[str, ir.Var] = {}
        fields: dict[tuple[str, str], ir.Var] = {}
        n_known = -1
        while n_known < len(copies):
            n_known = len(copies)
            for one in _assignments(blocks):
                name, value = one.target.name, one.value
                is_field = isinstance(value, ir.Expr) and value.op == "getattr"
                source = value.value if is_field else value
                if not isinstance(source, ir.Var) or name in copies:
                    continue
                source = fixed.get(copies.get(source.name, source).name)
                if source is None or name not in once or name in fixed:
                    continue
                if is_field and (source.name, value.attr) not in fields:
                    field = ir.Var(one.target.scope, f"{name}.field", one.loc)
                    read = ir.Expr.getattr(source, value.attr, one.loc)
                    entry.insert_before_terminator(ir.Assign(read, field, one.loc))
                    fixed[field.name] = fields[source.name, value.attr] = field
                copies[name] = fields[source.name, value.attr] if is_field else source
        for block in blocks.values():
            block.body = [one for one in block.body if not _defines(one, copies)]
        replace_vars(blocks, copies)
        state.func_ir._definitions = build_definitions(blocks)  # noqa: SLF001 - as numba's own passes do
        PostProcessor(state.func_ir).run()
        return True


def _assignments(blocks: dict[int, ir.Block]) -> list[ir.Assign]:
    return [one for block in blocks.values() for one in block.find_insts(ir.Assign)]


def _defines(statement: ir.Stmt, names: Container[str]) -> bool:
    if isinstance(statement, ir.Del):
        return statement.value in names
    return isinstance(statement, ir.Assign) and statement.target.name in names


class FusedCompiler(CompilerBase):  # type: ignore[misc]  # numba ships no types
    """Numba's pipeline, with copies of arguments forgotten after inlining."""

    def define_pipelines(self) -> list[PassManager]:  # noqa: D102 - numba's interface
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(UseArgumentsDirectly, InlineInlinables)
        passes.finalize()
        return [passes]


def inlined(function: Function) -> Function:
    """Mark a function that becomes part of each compiled function that calls it."""
    return njit(inline="always", error_model="numpy")(function)  # type: ignore[no-any-return]  # numba ships no types


def called(function: Function) -> Function:
    """Mark a function that is small, or of numbers only: quicker to compile.

    LLVM inlines it, and drops the counting of references where it sees both ends.
    """
    return njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]  # numba ships no types


def compiled(*sources: str) -> Callable[[Function], Function]:
    """Compile for threads that do without the interpreter's lock, cached if possible.

    Args:
        sources: Files whose functions are inlined. Numba's cache notices changes of
            the file of the function itself only, so they become part of its name.
    """
    digest = sha256(b"".join(Path(source).read_bytes() for source in sources))

    def decorate(function: Function) -> Function:
        function.__qualname__ += f"_{digest.hexdigest()[:12]}"
        options = {
            "nogil": True,
            "error_model": "numpy",
            "pipeline_class": FusedCompiler,
        }
        try:
            return njit(cache=True, **options)(function)  # type: ignore[no-any-return]  # numba ships no types
        except RuntimeError:  # no folder that numba could write its cache to
            return njit(**options)(function)  # type: ignore[no-any-return]  # as above

    return decorate
