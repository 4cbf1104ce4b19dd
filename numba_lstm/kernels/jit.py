"""Decorators for compiled functions, and numba's pipeline for them.

numba optimises every function that it compiles and makes machine code of it. Helpers are called from compiled code
alone, so here they stay LLVM IR, which is optimised once, as part of the kernel that calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering

from numba_lstm.kernel_cache.loader import ENTRY
from numba_lstm.kernels.simd import add_entry_point


class _HelperLibrary(JITCodeLibrary):  # type: ignore[misc]  # numba is untyped
    """The LLVM IR of a function, not yet machine code."""

    def finalize(self) -> None:
        """Link what the function calls into it: LLVM takes over a definition only where something refers to it."""
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def _optimize_functions(self, ll_module: Any) -> None:
        pass


class EntryLibrary(_HelperLibrary):
    """The code of a whole kernel, optimised; its one function to call is `loader.ENTRY`."""

    def optimize(self) -> None:
        """Link and optimise it."""
        self._ensure_finalized()
        JITCodeLibrary._optimize_functions(self, self._final_module)
        self._optimize_final_module()

    def object_code(self) -> bytes:
        """Its machine code."""
        return self._codegen._tm.emit_object(self._final_module)  # type: ignore[no-any-return]

    def features(self) -> frozenset[str]:
        """The features of a CPU that the code may use."""
        enabled = self._codegen.magic_tuple()[2].split(",")
        return frozenset(name[1:] for name in enabled if name.startswith("+"))

    def calls(self) -> list[str]:
        """The external functions that it calls."""
        return [function.name for function in self._final_module.functions if function.is_declaration]


@register_pass(mutates_CFG=True, analysis_only=False)
class _HelperLowering(NativeLowering):  # type: ignore[misc]
    """numba's pass of this name, into a `_HelperLibrary`."""

    _name = "numba_lstm_helper_lowering"

    def run_pass(self, state: Any) -> bool:
        context = state.targetctx
        state.library = _HelperLibrary(context.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        # numba knows compiled functions by what Python would call: a builtin function, another one for each. Called, it
        # does nothing: helpers are for compiled code.
        not_for_python = [].clear
        context.insert_user_function(not_for_python, state.cr.fndesc, [state.library])
        state.cr = state.cr._replace(cfunc=not_for_python)
        return True


# Passes for what kernels do not have: closures, comprehensions, array expressions, lists of several types, parfors.
_NOT_NEEDED = {
    "inline_closure_likes",
    "make_function_op_code_to_jit_function",
    "find_literally",
    "literal_unroll",
    "nopython_rewrites",
    "inline_overloads",
    "dump_parfor_diagnostics",
}


class _HelperCompiler(CompilerBase):  # type: ignore[misc]
    """numba's pipeline with that pass."""

    def define_pipelines(self) -> list[Any]:
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [
            (_HelperLowering if one is NativeLowering else one, why)
            for one, why in pipeline.passes
            if one.name() not in _NOT_NEEDED
        ]
        pipeline.finalize()
        return [pipeline]


NJIT_OPTIONS = {
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": _HelperCompiler,
}


def njit_helper(function: Callable[..., Any]) -> Any:
    """Compile a function for the types it is called with, on the CPU or from a CUDA kernel.

    Division follows IEEE 754 rather than raising, which would keep loops from being vectorised, and nothing is
    reassociated or contracted: the order of operations in the source is the order of operations. (forceinline is
    stated explicitly because a function would inherit it from the caller that it was first compiled for.)
    """
    return numba.njit(forceinline=False, **NJIT_OPTIONS)(function)


def njit_inline(function: Callable[..., Any]) -> Any:
    """Like njit_helper, and always made part of its callers, so that what it returns stays in registers."""
    return numba.njit(forceinline=True, **NJIT_OPTIONS)(function)


def njit_kernel(function: Callable[..., Any]) -> Any:
    """A kernel: its arguments are a record's address, ``dtypes``, and what chooses the code; see `compile.entry`."""
    if numba.config.DISABLE_JIT:
        # As silent about overflow and NaN as compiled code.
        return np.errstate(all="ignore")(function)
    return njit_helper(function)


def compile_kernel(kernel: Any, dtypes: Any, variant: Sequence[Any]) -> EntryLibrary:
    """Compile a kernel for these arguments, to be put in the cache and loaded."""
    enter = _make_entry(kernel, dtypes, variant)
    function = numba.njit(types.void(types.int64), **NJIT_OPTIONS)(enter).overloads[(types.int64,)]
    entry = EntryLibrary(function.target_context.codegen(), ENTRY)
    entry.add_linking_library(function.library)
    add_entry_point(function.target_context, entry, function.fndesc, ENTRY)  # type: ignore[no-untyped-call]
    entry.optimize()
    return entry


def callable_by_numba(kernel: Any, dtypes: Any, variant: Sequence[Any]) -> Callable[[int], Any]:
    """Like compile_kernel, with numba's own wrapper: for functions of the user's, which may raise errors."""
    enter = _make_entry(kernel, dtypes, variant)
    dispatcher = numba.njit(error_model="numpy", nogil=True, no_cfunc_wrapper=True)(enter)
    return dispatcher.compile((types.int64,))  # type: ignore[no-any-return]


def _make_entry(kernel: Any, dtypes: Any, variant: Sequence[Any]) -> Any:
    """A function of the address alone. The rest are constants of their own: numba types a tuple of functions anew."""
    scope = {"kernel": kernel, "dtypes": dtypes} | {f"v{i}": value for i, value in enumerate(variant)}
    exec(f"def enter(address): kernel(address, dtypes, {', '.join(list(scope)[2:])})", scope)
    return scope["enter"]


@njit_inline
def smaller(a: int, b: int) -> int:
    """min(a, b) of two numbers; numba compiles min itself anew for every function that calls it."""
    return a if a < b else b


@njit_inline
def larger(a: int, b: int) -> int:
    """max(a, b), see smaller."""
    return a if a > b else b
