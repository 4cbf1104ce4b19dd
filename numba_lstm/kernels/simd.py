"""A vector of floating-point numbers as a numba type: the only way the CPU kernels touch memory.

``load(array, offset)`` gives ``lanes(dtype)`` neighbouring elements of a flat array as one value with ``+ - * /`` and
comparisons; a function written for one number then works on all of them. With ``NUMBA_DISABLE_JIT=1`` a vector is
a small NumPy array and the same code runs, slowly, as Python.

Offsets count elements and are never checked, and never wrap around as a negative index would (the test for that
would keep LLVM from vectorising). Source of the idea: notes of the numba manual on ``numba.extending.intrinsic``.
"""

# The typing and code generation callbacks have the signatures that numba prescribes.
# ruff: noqa: ANN001
from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, overload, register_model


def _machine_bits() -> int:
    """The vector width to compile for, from the target numba compiles for (so that it agrees with numba's own cache key)."""
    features = cpu_target.target_context.codegen().magic_tuple()[2]
    return 512 if "+avx512f" in features.split(",") else 256


VECTOR_BITS = _machine_bits()
LANES_FLOAT32 = VECTOR_BITS // 32
LANES_FLOAT64 = VECTOR_BITS // 64


class Vector(types.Type):  # type: ignore[misc]  # numba is untyped
    """``lanes(dtype)`` numbers of ``dtype`` (float32, float64, or boolean for the result of a comparison)."""

    def __init__(self, dtype: types.Type, count: int) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(name=f"Vector({dtype}, {count})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: Vector) -> None:
        element = ir.IntType(1) if fe_type.dtype == types.boolean else dmm.lookup(fe_type.dtype).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.count))


def vector_of(dtype: types.Type) -> Vector:
    """The machine's vector type for a numba float type."""
    return Vector(dtype, LANES_FLOAT32 if dtype == types.float32 else LANES_FLOAT64)


def lanes(array: Any) -> int:
    """Numbers in one vector of the array's element type: 16 or 8 float32, 8 or 4 float64."""
    return LANES_FLOAT32 if array.dtype == np.float32 else LANES_FLOAT64


def load(array: Any, offset: int) -> Any:
    """The vector at array[offset : offset + lanes]."""
    return array[offset : offset + lanes(array)].copy()


def store(array: Any, offset: int, vector: Any) -> None:
    """array[offset : offset + lanes] = vector."""
    array[offset : offset + lanes(array)] = vector


def broadcast(array: Any, offset: int) -> Any:
    """The vector whose every lane is array[offset]."""
    return np.full(lanes(array), array[offset])


def splat(builder: Any, scalar: Any, count: int) -> Any:
    """LLVM code: a vector with the scalar in every lane."""
    undefined = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    everywhere = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(first, undefined, everywhere)


def _address(context, builder, array_type, array, offset, element):
    """LLVM code: a pointer to the value of LLVM type ``element`` that starts at array[offset]."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), element.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def _load(typingctx, array, offset):
    vector = vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        address = _address(context, builder, array, *args, context.get_value_type(vector))
        return builder.load(address, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _store(typingctx, array, offset, vector):
    def codegen(context, builder, sig, args):
        address = _address(context, builder, array, *args[:2], args[2].type)
        builder.store(args[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


@intrinsic  # type: ignore[untyped-decorator]
def _broadcast(typingctx, array, offset):
    vector = vector_of(array.dtype)

    def codegen(context, builder, sig, args):
        address = _address(context, builder, array, *args, context.get_value_type(array.dtype))
        return splat(builder, builder.load(address), vector.count)

    return vector(array, types.intp), codegen


def _binary(emit: Any) -> Any:
    """An intrinsic (vector, vector) -> vector from one instruction of the LLVM builder."""

    @intrinsic  # type: ignore[untyped-decorator]
    def binary(typingctx, a, b):
        return a(a, b), lambda context, builder, sig, args: emit(builder, *args)

    return binary


def _comparison(sign: str) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def compare(typingctx, a, b):
        codegen = lambda context, builder, sig, args: builder.fcmp_ordered(sign, *args)  # noqa: E731
        return Vector(types.boolean, a.count)(a, b), codegen

    return compare


@intrinsic  # type: ignore[untyped-decorator]
def _negative(typingctx, a):
    return a(a), lambda context, builder, sig, args: builder.fneg(*args)


overload(lanes)(lambda array: (lambda array: LANES_FLOAT32) if array.dtype == types.float32 else (lambda array: LANES_FLOAT64))
overload(load)(lambda array, offset: lambda array, offset: _load(array, offset))
overload(store)(lambda array, offset, vector: lambda array, offset, vector: _store(array, offset, vector))
overload(broadcast)(lambda array, offset: lambda array, offset: _broadcast(array, offset))
overload(operator.neg)(lambda a: (lambda a: _negative(a)) if isinstance(a, Vector) else None)


def _register(symbol: Any, instruction: Any) -> None:
    def implementation(a, b):
        return (lambda a, b: instruction(a, b)) if isinstance(a, Vector) and a == b else None

    overload(symbol)(implementation)


for _symbol, _instruction in (
    (operator.add, _binary(ir.IRBuilder.fadd)),
    (operator.sub, _binary(ir.IRBuilder.fsub)),
    (operator.mul, _binary(ir.IRBuilder.fmul)),
    (operator.truediv, _binary(ir.IRBuilder.fdiv)),
    (operator.lt, _comparison("<")),
    (operator.le, _comparison("<=")),
    (operator.eq, _comparison("==")),
):
    _register(_symbol, _instruction)
