"""The few operations on numbers that Python has no sign for, each for a scalar, a SIMD vector, CUDA and plain Python.

Every one is exact or correctly rounded, so that all of them give the same bits everywhere. ``x`` is a float32 or
float64 number, or a vector of them; ``constant`` and ``horner`` take their dtype from ``x``, which keeps a Python
float from turning float32 arithmetic into float64.

    constant(x, value)        the value as a number of x's kind: the same dtype, the same lanes
    is_single(x)              whether x is float32; known when compiling
    fma(a, b, c)              a * b + c, rounded once (where the CPU has FMA)
                              of words of two bf16 (see simd.py) c + the upper product, then + the lower one, each
                              rounded once; denormal numbers and results count as zero
    horner(x, coefficients)   the polynomial with these coefficients, highest power first, in Horner's order with fma
    select(condition, a, b)   a where the condition holds, else b; a NaN in the other one does not leak
    absolute(x)  copysign(x, sign)  sqrt(x)
    nearest(x)                x rounded to an integer, halves to even, for abs(x) < 2**22 (float64: 2**51)
    scale(x, n)               x * 2**n for an integral n of x's kind, abs(n) < 250 (float64: 2000), rounded once
    exponent(x)               floor(log2(x)) for a positive normal x
"""

# The typing and code generation callbacks have the signatures that numba prescribes; numba and llvmlite are untyped.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"
from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic

from numba_lstm.kernels import plain
from numba_lstm.kernels.simd import Vector, call, splat
from numba_lstm.kernels.target import VECTOR_BITS

# mantissa bits, exponent bias, integer type, and 1.5 * 2**mantissa: adding it rounds to an integer in the low bits
_LAYOUT = {
    types.float32: (23, 127, ir.IntType(32), 1.5 * 2.0**23),
    types.float64: (52, 1023, ir.IntType(64), 1.5 * 2.0**52),
}


def _element(x):
    return x.dtype if isinstance(x, Vector) else x


def _number(context, builder, x, value):
    """LLVM code: a Python float as a constant of x's kind."""
    scalar = ir.Constant(context.get_value_type(_element(x)), value)
    return splat(builder, scalar, x.count) if isinstance(x, Vector) else scalar


def _from_float64(context, builder, x, value):
    """LLVM code: a float64 value as a number of x's kind."""
    scalar = context.cast(builder, value, types.float64, _element(x))
    return splat(builder, scalar, x.count) if isinstance(x, Vector) else scalar


def _integers(x, value=None):
    """LLVM's integer type with as many bits and lanes as x, or a constant of it."""
    integer = _LAYOUT[_element(x)][2]
    kind = ir.VectorType(integer, x.count) if isinstance(x, Vector) else integer
    if value is None:
        return kind
    return ir.Constant(kind, [value] * x.count if isinstance(x, Vector) else value)


def _call(name):
    """A code generator that calls an LLVM intrinsic."""

    def emit(context, builder, x, *values):
        suffix = f"v{x.count}f{_element(x).bitwidth}" if isinstance(x, Vector) else f"f{x.bitwidth}"
        return call(builder, f"llvm.{name}.{suffix}", context.get_value_type(x), *values)

    return emit


def _operation(emit, operands):
    """An operation on numbers of one kind, from ``emit(context, builder, kind, *values)``."""

    def typed(x):
        return x(*[x] * operands), lambda context, builder, sig, args: emit(context, builder, x, *args)

    return intrinsic((lambda typingctx, a: typed(a), lambda typingctx, a, b: typed(a))[operands - 1])


def _scale(context, builder, x, value, n):
    if isinstance(x, Vector) and VECTOR_BITS == 512:
        return _scalef(context, builder, x, value, n)
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


def _scalef(context, builder, x, value, n):
    """The same by the one instruction that AVX-512 has for it."""
    name, chosen = f"llvm.x86.avx512.mask.scalef.p{'s' if x.count == 16 else 'd'}.512", ir.IntType(x.count)
    # All lanes are chosen (-1); 4 means rounding as everywhere else.
    return call(builder, name, value.type, value, n, value, chosen(-1), ir.IntType(32)(4))


def _exponent(context, builder, x, value):
    bits, bias, _, _ = _LAYOUT[_element(x)]
    field = builder.lshr(builder.bitcast(value, _integers(x)), _integers(x, bits))
    return builder.sitofp(builder.sub(field, _integers(x, bias)), context.get_value_type(x))


def _nearest(context, builder, x, value):
    magic = _number(context, builder, x, _LAYOUT[_element(x)][3])
    return builder.fsub(builder.fadd(value, magic), magic)


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c."""
    if _element(a) == types.uint32:
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        return c(a, b, c), lambda context, builder, sig, args: call(builder, name, args[2].type, args[2], *args[:2])
    # fmuladd is one instruction where the CPU has FMA and two elsewhere; llvm.fma would call the C library there.
    return a(a, a, a), lambda context, builder, sig, args: _call("fmuladd")(context, builder, a, *args)


# Not fabs, which CUDA's compiler refuses; the others make the same instruction of both.
absolute = _operation(lambda c, b, x, value: _call("copysign")(c, b, x, value, _number(c, b, x, 0.0)), 1)
copysign = _operation(_call("copysign"), 2)
sqrt = _operation(_call("sqrt"), 1)
nearest = _operation(_nearest, 1)
scale = _operation(_scale, 2)
exponent = _operation(_exponent, 1)


@intrinsic
def constant(typingctx, x, value):
    """The value as a number of x's kind."""
    return x(x, types.float64), lambda context, builder, sig, args: _from_float64(context, builder, x, args[1])


@intrinsic
def horner(typingctx, x, coefficients):
    """The polynomial in x."""

    def codegen(context, builder, sig, args):
        first, *rest = (_from_float64(context, builder, x, c) for c in cgutils.unpack_tuple(builder, args[1]))
        for coefficient in rest:
            first = _call("fmuladd")(context, builder, x, first, args[0], coefficient)
        return first

    return x(x, coefficients), codegen


@intrinsic
def select(typingctx, condition, a, b):
    """a or b."""
    return a(condition, a, a), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def is_single(typingctx, x):
    """Whether x is float32."""
    single = ir.Constant(ir.IntType(1), int(_element(x) == types.float32))
    return types.boolean(x), lambda context, builder, sig, args: single


if config.DISABLE_JIT:
    globals().update({name: getattr(plain, name) for name in plain.__all__})
