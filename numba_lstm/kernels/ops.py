"""The few operations on numbers that Python has no sign for, each for a scalar, a SIMD vector, CUDA and plain Python.

Every one is exact or correctly rounded, so that all of them give the same bits everywhere. ``x`` is a float32 or
float64 number, or a vector of them; ``constant`` and ``horner`` take their dtype from ``x``, which keeps a Python
float from turning float32 arithmetic into float64.
"""

# The typing and code generation callbacks have the signatures that numba prescribes.
# ruff: noqa: ANN001
from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from numba_lstm.kernels.simd import Vector, splat

# mantissa bits, exponent bias, integer type, and 1.5 * 2**mantissa: adding it rounds to an integer in the low bits
_LAYOUT = {
    types.float32: (23, 127, ir.IntType(32), 1.5 * 2.0**23),
    types.float64: (52, 1023, ir.IntType(64), 1.5 * 2.0**52),
}


def constant(x: Any, value: float) -> Any:
    """The value as a number of x's kind: the same dtype, the same lanes."""
    return np.full_like(x, value)[()]


def is_single(x: Any) -> bool:
    """True if x is float32 (or a vector of float32); known when compiling."""
    return bool(x.dtype == np.float32)


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once (where the CPU has FMA)."""
    if not is_single(c):
        return a * b + c
    return (np.float64(a) * np.float64(b) + np.float64(c)).astype(np.float32)[()]


def horner(x: Any, coefficients: tuple[float, ...]) -> Any:
    """The polynomial with these coefficients, highest power first, at x, in Horner's order with fma."""
    y = constant(x, coefficients[0])
    for coefficient in coefficients[1:]:
        y = fma(y, x, constant(x, coefficient))
    return y


def select(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b; both are computed, and a NaN in the other one does not leak."""
    return np.where(condition, a, b).astype(np.asarray(a).dtype)[()]


def absolute(x: Any) -> Any:
    """abs(x)"""
    return np.abs(x)


def copysign(x: Any, sign: Any) -> Any:
    """The magnitude of x with the sign of ``sign``."""
    return np.copysign(x, sign)


def sqrt(x: Any) -> Any:
    """The square root, correctly rounded."""
    return np.sqrt(x)


def nearest(x: Any) -> Any:
    """x rounded to an integer, halves to even, for abs(x) < 2**22 (float32) or 2**51 (float64)."""
    return np.rint(x)


def scale(x: Any, n: Any) -> Any:
    """x * 2**n for an integral n of x's kind, abs(n) < 250 (float32) or 2000 (float64); rounded once if denormal."""
    return np.ldexp(x, np.nan_to_num(n).astype(np.int32))


def exponent(x: Any) -> Any:
    """floor(log2(x)) for a positive normal x."""
    return constant(x, 0.0) + (np.frexp(x)[1] - 1).astype(np.asarray(x).dtype)


def _element(x):
    return x.dtype if isinstance(x, Vector) else x


def _number(context, builder, x, value):
    """LLVM code: a Python float as a constant of x's kind."""
    scalar = ir.Constant(context.get_value_type(_element(x)), value)
    return splat(builder, scalar, x.count) if isinstance(x, Vector) else scalar


def _integers(x, value=None):
    """LLVM's integer type with as many bits and lanes as x, or a constant of it."""
    integer = _LAYOUT[_element(x)][2]
    kind = ir.VectorType(integer, x.count) if isinstance(x, Vector) else integer
    if value is None:
        return kind
    return ir.Constant(kind, [value] * x.count if isinstance(x, Vector) else value)


def _call(context, builder, name, x, *args):
    """LLVM code: an LLVM intrinsic on numbers of x's kind (declared by hand: llvmlite cannot name vectors)."""
    kind = context.get_value_type(x)
    suffix = f"f{_element(x).bitwidth}"
    symbol = f"llvm.{name}.v{x.count}{suffix}" if isinstance(x, Vector) else f"llvm.{name}.{suffix}"
    function = builder.module.globals.get(symbol)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind] * len(args)), symbol)
    return builder.call(function, args)


def _same_kind(emit: Any, count: int) -> Any:
    """An intrinsic of ``count`` numbers of one kind that gives one more: ``emit(context, builder, x, *values)``."""

    def typed(typingctx, x, *others):
        codegen = lambda context, builder, sig, args: emit(context, builder, x, *args)  # noqa: E731
        return x(*[x] * count), codegen

    signatures = {
        1: lambda typingctx, a: typed(typingctx, a),
        2: lambda typingctx, a, b: typed(typingctx, a, b),
        3: lambda typingctx, a, b, c: typed(typingctx, a, b, c),
    }
    return intrinsic(signatures[count])


def _emit_scale(context, builder, x, value, n):
    bits, bias, _, magic = _LAYOUT[_element(x)]
    # The integer n stands in the low bits of n + magic: no conversion, so no undefined result for a NaN.
    shifted = builder.bitcast(builder.fadd(n, _number(context, builder, x, magic)), _integers(x))
    origin = builder.bitcast(_number(context, builder, x, magic), _integers(x))
    whole = builder.sub(shifted, origin)
    half = builder.ashr(whole, _integers(x, 1))
    # Two factors that are both normal numbers: 2**n itself need not be one, and a denormal result is rounded once.
    for part in (half, builder.sub(whole, half)):
        power = builder.shl(builder.add(part, _integers(x, bias)), _integers(x, bits))
        value = builder.fmul(value, builder.bitcast(power, context.get_value_type(x)))
    return value


def _emit_exponent(context, builder, x, value):
    bits, bias, _, _ = _LAYOUT[_element(x)]
    field = builder.lshr(builder.bitcast(value, _integers(x)), _integers(x, bits))
    return builder.sitofp(builder.sub(field, _integers(x, bias)), context.get_value_type(x))


def _emit_nearest(context, builder, x, value):
    magic = _number(context, builder, x, _LAYOUT[_element(x)][3])
    return builder.fsub(builder.fadd(value, magic), magic)


def _emit_call(name):
    return lambda context, builder, x, *values: _call(context, builder, name, x, *values)


# fmuladd is one instruction where the CPU has FMA and two elsewhere; llvm.fma would call the C library there.
_fma = _same_kind(_emit_call("fmuladd"), 3)
_absolute = _same_kind(_emit_call("fabs"), 1)
_copysign = _same_kind(_emit_call("copysign"), 2)
_sqrt = _same_kind(_emit_call("sqrt"), 1)
_nearest = _same_kind(_emit_nearest, 1)
_scale = _same_kind(_emit_scale, 2)
_exponent = _same_kind(_emit_exponent, 1)


def _from_float64(context, builder, x, value):
    """LLVM code: a float64 value as a number of x's kind."""
    scalar = context.cast(builder, value, types.float64, _element(x))
    return splat(builder, scalar, x.count) if isinstance(x, Vector) else scalar


@intrinsic  # type: ignore[untyped-decorator]
def _constant(typingctx, x, value):
    codegen = lambda context, builder, sig, args: _from_float64(context, builder, x, args[1])  # noqa: E731
    return x(x, types.float64), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _horner(typingctx, x, coefficients):
    def codegen(context, builder, sig, args):
        terms = [_from_float64(context, builder, x, c) for c in cgutils.unpack_tuple(builder, args[1])]
        y = terms[0]
        for term in terms[1:]:
            y = _call(context, builder, "fmuladd", x, y, args[0], term)
        return y

    return x(x, coefficients), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _select(typingctx, condition, a, b):
    return a(condition, a, a), lambda context, builder, sig, args: builder.select(*args)


overload(constant)(lambda x, value: lambda x, value: _constant(x, value))
overload(fma)(lambda a, b, c: lambda a, b, c: _fma(a, b, c))
overload(horner)(lambda x, coefficients: lambda x, coefficients: _horner(x, coefficients))
overload(select)(lambda condition, a, b: lambda condition, a, b: _select(condition, a, b))
overload(absolute)(lambda x: lambda x: _absolute(x))
overload(copysign)(lambda x, sign: lambda x, sign: _copysign(x, sign))
overload(sqrt)(lambda x: lambda x: _sqrt(x))
overload(nearest)(lambda x: lambda x: _nearest(x))
overload(scale)(lambda x, n: lambda x, n: _scale(x, n))
overload(exponent)(lambda x: lambda x: _exponent(x))
overload(is_single)(lambda x: (lambda x: True) if _element(x) == types.float32 else (lambda x: False))
