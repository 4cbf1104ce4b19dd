"""A vector of floating-point numbers as a numba type: the only way the CPU kernels touch memory.

``memory_at(address, like)`` is a flat array without its bookkeeping: handing it from function to function costs nothing
(numba counts references to arrays at every call), and indexing it is neither checked nor wrapped around.
``load(memory, offset)`` gives ``lanes(memory)`` neighbouring numbers as one value with ``+ - * /`` and ``< <= ==``; a
function written for one number then works on all of them. ``store(memory, offset, vector)`` puts them back,
``broadcast(memory, offset)`` is the vector whose every lane is memory[offset]. Offsets count numbers.

Threads that share memory meet through integers in it: ``load_acquire``, ``store_release`` and ``replace`` are atomic,
and what one thread wrote before the second or third is there for another that has seen it by the first or third.

A CUDA thread computes with single numbers: in ``global_memory(address, like)``, a GPU's, a vector is a number.

Memory of uint16 holds bf16: ``load`` widens it to float32, and ``store`` rounds. Where the CPU multiplies pairs of bf16
(target.BF16_PAIRS), it is also used as memory of uint32: words of two numbers each, for the fma of ops.py.
"""

# The typing and code generation callbacks have the signatures that numba prescribes; numba and llvmlite are untyped.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc, attr-defined"
from __future__ import annotations

import itertools
import operator

from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from numba_lstm.kernels import plain
from numba_lstm.kernels.arguments import fields_of
from numba_lstm.kernels.target import LANES_FLOAT32, LANES_FLOAT64

_TRIPLE = cpu_target.target_context.codegen().magic_tuple()[0]
_PAUSES = {"x86_64": ("llvm.x86.sse2.pause", []), "aarch64": ("llvm.aarch64.hint", [ir.IntType(32)(1)])}
GLOBAL = 1  # CUDA's number for the memory that all threads share


class Vector(types.Type):
    """``count`` numbers of ``dtype``: float32, float64, uint32, or boolean for the result of a comparison."""

    def __init__(self, dtype, count):
        self.dtype, self.count = dtype, count
        super().__init__(name=f"Vector({dtype}, {count})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """An LLVM vector."""

    def __init__(self, dmm, fe_type):
        element = ir.IntType(1) if fe_type.dtype == types.boolean else dmm.lookup(fe_type.dtype).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.count))


def vector_of(memory):
    """The numba type of a vector of the numbers at an address."""
    if memory.addrspace is not None:
        return memory.dtype
    count = LANES_FLOAT64 if memory.dtype == types.float64 else LANES_FLOAT32
    return Vector(types.float32 if memory.dtype == types.uint16 else memory.dtype, count)


def splat(builder, scalar, count):
    """LLVM code: a vector with the scalar in every lane."""
    undefined = ir.Constant(ir.VectorType(scalar.type, count), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count))


def call(builder, name, kind, *values):
    """LLVM code: a function called by its name, one of C or an intrinsic of LLVM; kind: of the result."""
    function_type = ir.FunctionType(kind, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), values)


def _pointer(builder, memory, offset, element):
    """LLVM code: a pointer to the value of LLVM type ``element`` that starts at memory[offset]."""
    return builder.bitcast(builder.gep(memory, [offset]), element.as_pointer())


@intrinsic
def memory_at(typingctx, address, like):
    """The numbers of like's dtype from an address on; the caller keeps them alive."""

    def codegen(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(like).as_pointer())

    return types.CPointer(like)(types.int64, like), codegen


@intrinsic
def global_memory(typingctx, address, like):
    """The same for an address in the memory of a GPU, in CUDA kernels."""

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(like)
        # Through a pointer to global memory, which LLVM then does not confuse with a thread's own.
        return builder.addrspacecast(builder.inttoptr(args[0], kind.as_pointer(GLOBAL)), kind.as_pointer())

    return types.CPointer(like, GLOBAL)(types.int64, like), codegen


@intrinsic
def opened(typingctx, address, dtypes, record):
    """The record at an address, as the tuple of arguments.py: its numbers, and memory in the place of addresses.

    dtypes: a number of each of the three dtypes that tell what memory holds.
    """
    kind = _opened_type(record.instance_class, tuple(dtypes), None)

    def codegen(context, builder, sig, args):
        numbers = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        places = itertools.count()

        def value_of(field):
            if isinstance(field, types.BaseTuple):
                return context.make_tuple(builder, field, [value_of(part) for part in field.types])
            number = builder.load(builder.gep(numbers, [ir.IntType(64)(next(places))]))
            if field == types.boolean:
                return builder.icmp_signed("!=", number, number.type(0))
            return number if field == types.int64 else builder.inttoptr(number, context.get_value_type(field))

        return value_of(kind)

    return kind(address, dtypes, record), codegen


def _opened_type(record, dtypes, inherited):
    """The numba type of an opened record."""
    fields = []
    for kind, content in fields_of(record, inherited):
        if hasattr(kind, "_fields"):
            fields.append(_opened_type(kind, dtypes, content))
        elif content is None:
            fields.append(types.boolean if kind is bool else types.int64)
        else:
            fields.append(types.CPointer(getattr(types, content) if isinstance(content, str) else dtypes[content]))
    return types.BaseTuple.from_types(fields, record)


def add_entry_point(context, library, function, name):
    """Add to a library a C function for Python that calls a compiled ``function`` of an address, without the GIL.

    It is ``PyObject *name(PyObject *self, PyObject *argument)``, and the address is the argument's value, or that of
    self where there is no argument; it returns what it took the address from.
    """
    module, pointer, number = context.create_module(name), ir.IntType(8).as_pointer(), ir.IntType(64)
    entry = ir.Function(module, ir.FunctionType(pointer, [pointer, pointer]), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    bound = builder.icmp_unsigned("==", entry.args[1], ir.Constant(pointer, None))
    taken = builder.select(bound, *entry.args)
    address = call(builder, "PyLong_AsLongLong", number, taken)
    state = call(builder, "PyEval_SaveThread", pointer)
    convention = context.call_conv
    callee = ir.Function(module, convention.get_function_type(types.none, (types.int64,)), function.llvm_func_name)
    convention.call_function(builder, callee, types.none, (types.int64,), [address])
    call(builder, "PyEval_RestoreThread", ir.VoidType(), state)
    call(builder, "Py_IncRef", ir.VoidType(), taken)
    builder.ret(taken)
    library.add_ir_module(module)


@intrinsic
def after(typingctx, memory, offset):
    """The memory from memory[offset] on."""
    return memory(memory, types.intp), lambda context, builder, sig, args: builder.gep(args[0], [args[1]])


@intrinsic
def lanes(typingctx, memory):
    """Numbers in one vector: 16 or 8 float32, bf16 or words, 8 or 4 float64; 1 on a GPU."""
    count = getattr(vector_of(memory), "count", 1)
    return types.intp(memory), lambda context, builder, sig, args: context.get_constant(types.intp, count)


@intrinsic
def viewed(typingctx, memory, like):
    """The same memory as numbers of like's dtype."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(args[0], context.get_value_type(like).as_pointer())

    return types.CPointer(like)(memory, like), codegen


@intrinsic
def load(typingctx, memory, offset):
    """The vector at memory[offset : offset + lanes(memory)]."""
    vector = vector_of(memory)

    def codegen(context, builder, sig, args):
        kind = context.get_value_type(memory.dtype)
        kind = kind if memory.addrspace is not None else ir.VectorType(kind, vector.count)
        value = builder.load(_pointer(builder, args[0], args[1], kind), align=memory.dtype.bitwidth // 8)
        if memory.dtype == types.uint16:
            words = ir.VectorType(ir.IntType(32), vector.count)
            value = builder.shl(builder.zext(value, words), ir.Constant(words, [16] * vector.count))
        return builder.bitcast(value, context.get_value_type(vector))

    return vector(memory, types.intp), codegen


@intrinsic
def store(typingctx, memory, offset, vector):
    """memory[offset : offset + lanes(memory)] = vector; bf16 with BF16_PAIRS only, to nearest, halves to even."""

    def codegen(context, builder, sig, args):
        value = args[2]
        if memory.dtype == types.uint16:
            halves = ir.VectorType(ir.IntType(16), value.type.count)
            value = call(builder, "llvm.x86.avx512bf16.cvtneps2bf16.512", halves, value)
        builder.store(value, _pointer(builder, args[0], args[1], value.type), align=memory.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(memory, types.intp, vector_of(memory)), codegen


@intrinsic
def broadcast(typingctx, memory, offset):
    """The vector whose every lane is memory[offset]."""
    vector = vector_of(memory)

    def codegen(context, builder, sig, args):
        pointer = _pointer(builder, args[0], args[1], context.get_value_type(memory.dtype))
        return splat(builder, builder.load(pointer), vector.count)

    return vector(memory, types.intp), codegen


@intrinsic
def load_acquire(typingctx, memory, offset):
    """memory[offset]"""

    def codegen(context, builder, sig, args):
        return builder.load_atomic(builder.gep(args[0], [args[1]]), "acquire", memory.dtype.bitwidth // 8)

    return memory.dtype(memory, types.intp), codegen


@intrinsic
def store_release(typingctx, memory, offset, number):
    """memory[offset] = number"""

    def codegen(context, builder, sig, args):
        builder.store_atomic(args[2], builder.gep(args[0], [args[1]]), "release", memory.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(memory, types.intp, memory.dtype), codegen


@intrinsic
def replace(typingctx, memory, offset, expected, number):
    """memory[offset] = number if it is the expected one; whether it was."""

    def codegen(context, builder, sig, args):
        pointer = builder.gep(args[0], [args[1]])
        return builder.extract_value(builder.cmpxchg(pointer, args[2], args[3], "acq_rel", "acquire"), 1)

    return types.boolean(memory, types.intp, memory.dtype, memory.dtype), codegen


@intrinsic
def pause(typingctx):
    """Tell the CPU that this thread waits for another one."""
    name, values = _PAUSES.get(_TRIPLE.split("-")[0], ("llvm.donothing", []))

    def codegen(context, builder, sig, args):
        call(builder, name, ir.VoidType(), *values)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def prefetch(typingctx, memory, offset):
    """Tell the CPU that memory[offset] will be read soon; it may lie outside of what is there."""

    def codegen(context, builder, sig, args):
        pointer = _pointer(builder, args[0], args[1], ir.IntType(8))
        call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, *map(ir.IntType(32), (0, 3, 1)))
        return context.get_dummy_value()

    return types.void(memory, types.intp), codegen


def _define(symbol, emit, operands=2, dtype=None):
    """Teach numba an operator on vectors of one type: its LLVM instruction, and its result's dtype if it is another."""

    @type_callable(symbol)
    def typer(context):
        return lambda *args: Vector(dtype or args[0].dtype, args[0].count) if isinstance(args[0], Vector) else None

    lower_builtin(symbol, *[Vector] * operands)(lambda context, builder, sig, args: emit(builder, *args))


_define(operator.add, ir.IRBuilder.fadd)
_define(operator.sub, ir.IRBuilder.fsub)
_define(operator.mul, ir.IRBuilder.fmul)
_define(operator.truediv, ir.IRBuilder.fdiv)
_define(operator.neg, ir.IRBuilder.fneg, operands=1)
for _symbol, _sign in ((operator.lt, "<"), (operator.le, "<="), (operator.eq, "==")):
    _define(_symbol, lambda builder, a, b, sign=_sign: builder.fcmp_ordered(sign, a, b), dtype=types.boolean)

if config.DISABLE_JIT:
    globals().update({name: getattr(plain, name) for name in plain.__all__})
