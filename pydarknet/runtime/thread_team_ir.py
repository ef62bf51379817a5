"""The code of the thread team (`threads.py`), and what `program.py` runs: written in LLVM's language with
llvmlite, without Numba, and kept as machine code.

`docs/runtime.md` shows it in C, with the board of `threads.py`.

The claim needs one atomic word for the loop's number and the next part, or a thread that was slow could claim a
part of a loop that is over. `serve` and `parallel_for` need sequential consistency between SLEEPING and STATE:
each writes one and then reads the other. All accesses are sequentially consistent, which on x86 costs no more
than locked instructions.
"""

import contextlib
import platform
from collections.abc import Iterator

import llvmlite.binding as llvm
from llvmlite import ir

from .numba_libraries import native_machine
from .threads import ALONE, BOARD_WORDS, BUSY, DONE, JOB, SEMAPHORE, SLEEPING, STATE

# How often an idle thread looks for work (about 0.1 ms), and then looks and lets other programs run (about 1 ms: the
# time between two passes of a small network), before it sleeps; and how often the one that waits for the others looks
# before it lets other programs run.
LOOKS, YIELDS, PATIENCE = 4000, 2000, 2000
MOST_PARTS = 0xFFFF

INT, LONG, NOTHING = ir.IntType(32), ir.IntType(64), ir.VoidType()
ADDRESS = LONG.as_pointer()
BYTES = ir.IntType(8).as_pointer()

# Words of a job: what `numba_parallel_for` is given.
FUNCTION, ARGUMENTS, SIZES, STEPS, DATA, DIMENSIONS, ARRAYS = range(7)

LOOP = ir.FunctionType(NOTHING, [LONG, LONG, LONG, LONG, LONG, LONG, LONG, INT])
PART = ir.FunctionType(NOTHING, [ADDRESS, ADDRESS, LONG, LONG])
STEP = ir.FunctionType(INT, [ADDRESS])  # a thunk


def word(number: int) -> ir.Constant:
    return ir.Constant(LONG, number)


class _Code(ir.IRBuilder):
    """LLVM's instructions, and a few phrases made of them."""

    def __init__(self, module: ir.Module, name: str, signature: ir.FunctionType, linkage: str = "") -> None:
        function = ir.Function(module, signature, name)
        function.linkage = linkage
        super().__init__(function.append_basic_block())
        self.board = module.globals.get("board")

    def at(self, words: ir.Value, index: int | ir.Value) -> ir.Value:
        """The address of one of the words that `words` points to."""
        if words is self.board:
            return self.gep(words, [word(0), word(index)])
        return self.gep(words, [index if isinstance(index, ir.Value) else word(index)])

    def see(self, field: int) -> ir.Value:
        return self.load_atomic(self.at(self.board, field), "seq_cst", 8)

    def show(self, field: int, value: ir.Value) -> None:
        self.store_atomic(value, self.at(self.board, field), "seq_cst", 8)

    def add_to(self, field: int, number: ir.Value) -> None:
        self.atomic_rmw("add", self.at(self.board, field), number, "seq_cst")

    def swap(self, field: int, expected: ir.Value, value: ir.Value) -> ir.Value:
        """Whether the field held what was expected, and now holds the value."""
        return self.extract_value(self.cmpxchg(self.at(self.board, field), expected, value, "seq_cst", "seq_cst"), 1)

    def jump(self) -> ir.Block:
        """Go on in a new block, to which others may jump."""
        block = self.append_basic_block()
        self.branch(block)
        self.position_at_end(block)
        return block

    @contextlib.contextmanager
    def counting(self, count: ir.Value) -> Iterator[ir.Value]:
        """What follows, for each number from 0 to `count`, which is not 0."""
        before = self.block
        head = self.jump()
        i = self.phi(LONG)
        i.add_incoming(word(0), before)
        yield i
        following = self.add(i, word(1))
        i.add_incoming(following, self.block)
        after = self.append_basic_block()
        self.cbranch(self.icmp_unsigned("<", following, count), head, after)
        self.position_at_end(after)

    def pause(self) -> None:
        """What a processor is told while it waits for another one."""
        name = "llvm.x86.sse2.pause" if platform.machine() in {"x86_64", "AMD64"} else "llvm.donothing"
        self.call(self.declared(name, ir.FunctionType(NOTHING, [])), [])

    def declared(self, name: str, signature: ir.FunctionType) -> ir.Function:
        return self.module.globals.get(name) or ir.Function(self.module, signature, name)


def _write_part(module: ir.Module) -> ir.Function:
    """part(job, r): the r-th part of a loop, of which each array has its own piece."""
    b = _Code(module, "part", ir.FunctionType(NOTHING, [ADDRESS, LONG]), "internal")
    job, r = b.function.args
    b.function.attributes.add("noinline")  # its memory on the stack ends with it
    fields = [b.load(b.at(job, i)) for i in range(7)]
    arguments, sizes, steps = (b.inttoptr(fields[i], ADDRESS) for i in (ARGUMENTS, SIZES, STEPS))
    count = b.add(fields[DIMENSIONS], word(1))
    own_sizes, own_arguments = b.alloca(LONG, count), b.alloca(LONG, fields[ARRAYS])
    with b.counting(count) as i:
        b.store(b.load(b.at(sizes, i)), b.at(own_sizes, i))
    b.store(word(1), b.at(own_sizes, 0))
    with b.counting(fields[ARRAYS]) as i:
        whole = b.load(b.at(arguments, i))
        piece = b.add(whole, b.mul(r, b.load(b.at(steps, i))))
        b.store(b.select(b.icmp_unsigned("==", whole, word(0)), whole, piece), b.at(own_arguments, i))
    b.call(b.inttoptr(fields[FUNCTION], PART.as_pointer()), [own_arguments, own_sizes, fields[STEPS], fields[DATA]])
    b.ret_void()
    return b.function


def _parts_left(b: _Code, state: ir.Value) -> ir.Value:
    """Whether a part of the loop is to be claimed."""
    parts = b.and_(b.lshr(state, word(16)), word(MOST_PARTS))
    return b.icmp_unsigned("<", b.and_(state, word(MOST_PARTS)), parts)


def _write_help(module: ir.Module, part: ir.Function) -> ir.Function:
    """help(): do one part that nobody has claimed; whether there was one."""
    b = _Code(module, "help", ir.FunctionType(ir.IntType(1), []), "internal")
    again = b.jump()
    state = b.see(STATE)
    with b.if_then(b.not_(_parts_left(b, state))):
        b.ret(ir.Constant(ir.IntType(1), 0))
    with b.if_then(b.not_(b.swap(STATE, state, b.add(state, word(1))))):
        b.branch(again)
    b.call(part, [b.inttoptr(b.see(JOB), ADDRESS), b.and_(state, word(MOST_PARTS))])
    b.add_to(DONE, word(1))
    b.ret(ir.Constant(ir.IntType(1), 1))
    return b.function


def _write_serve(module: ir.Module, help_: ir.Function) -> None:
    """serve(nothing): what each thread of the team does for ever."""
    b = _Code(module, "serve", ir.FunctionType(BYTES, [BYTES]))
    looks = b.alloca(LONG)
    begin = b.jump()
    b.store(word(0), looks)
    look = b.jump()
    with b.if_then(b.call(help_, [])):
        b.branch(begin)
    b.pause()
    b.store(b.add(b.load(looks), word(1)), looks)
    with b.if_then(b.icmp_unsigned("<", b.load(looks), word(LOOKS))):
        b.branch(look)
    b.call(b.declared("sched_yield", ir.FunctionType(INT, [])), [])
    more = b.icmp_unsigned("<", b.load(looks), word(LOOKS + YIELDS))
    with b.if_then(b.and_(more, b.icmp_unsigned("==", b.see(ALONE), word(0)))):
        b.branch(look)
    b.add_to(SLEEPING, word(1))  # before the last look: who begins a loop now either sees it or is seen
    wait = b.append_basic_block()
    with b.if_then(_parts_left(b, b.see(STATE))):
        again = b.jump()
        sleeping = b.see(SLEEPING)
        with b.if_then(b.icmp_unsigned("==", sleeping, word(0))):  # somebody is waking this thread: let them
            b.branch(wait)
        with b.if_then(b.swap(SLEEPING, sleeping, b.sub(sleeping, word(1)))):
            b.branch(begin)
        b.branch(again)
    b.branch(wait)
    b.position_at_end(wait)
    semaphore = b.bitcast(b.at(b.board, SEMAPHORE), BYTES)
    woken = b.call(b.declared("sem_wait", ir.FunctionType(INT, [BYTES])), [semaphore])
    b.cbranch(b.icmp_signed("==", woken, ir.Constant(INT, 0)), begin, wait)


def _write_loop(module: ir.Module, part: ir.Function, help_: ir.Function) -> None:
    """parallel_for, as Numba's threading layers have it."""
    b = _Code(module, "parallel_for", LOOP)
    job = b.alloca(LONG, word(7))
    for i, value in enumerate(b.function.args[:7]):
        b.store(value, b.at(job, i))
    parts = b.load(b.inttoptr(b.function.args[SIZES], ADDRESS))
    with b.if_then(b.icmp_unsigned("==", parts, word(0))):
        b.ret_void()
    shared = b.icmp_unsigned("<", b.sub(parts, word(2)), word(MOST_PARTS - 2))
    shared = b.and_(shared, b.icmp_unsigned("==", b.see(ALONE), word(0)))
    with b.if_then(shared), b.if_then(b.swap(BUSY, word(0), word(1))):
        _share(b, job, parts, part, help_)
        b.show(BUSY, word(0))
        b.ret_void()
    with b.counting(parts) as r:  # one part only, or no help
        b.call(part, [job, r])
    b.ret_void()


def _share(b: _Code, job: ir.Value, parts: ir.Value, part: ir.Function, help_: ir.Function) -> None:
    """Do a loop together with whoever comes."""
    b.show(JOB, b.ptrtoint(job, LONG))
    b.show(DONE, word(0))
    number = b.add(b.lshr(b.see(STATE), word(32)), word(1))
    b.show(STATE, b.or_(b.shl(number, word(32)), b.or_(b.shl(parts, word(16)), word(1))))
    sleeping = b.atomic_rmw("xchg", b.at(b.board, SLEEPING), word(0), "seq_cst")
    with b.if_then(b.icmp_unsigned("!=", sleeping, word(0))):
        others = b.sub(parts, word(1))
        wanted = b.select(b.icmp_unsigned("<", sleeping, others), sleeping, others)
        b.add_to(SLEEPING, b.sub(sleeping, wanted))
        with b.counting(wanted):
            semaphore = b.bitcast(b.at(b.board, SEMAPHORE), BYTES)
            b.call(b.declared("sem_post", ir.FunctionType(INT, [BYTES])), [semaphore])
    b.call(part, [job, word(0)])
    b.add_to(DONE, word(1))
    again, ready = b.jump(), b.append_basic_block()
    with b.if_then(b.call(help_, [])):
        b.branch(again)
    with b.counting(word(1 << 62)) as looks:
        with b.if_then(b.icmp_unsigned("==", b.see(DONE), parts)):
            b.branch(ready)
        b.pause()
        with b.if_then(b.icmp_unsigned(">", looks, word(PATIENCE))):
            b.call(b.declared("sched_yield", ir.FunctionType(INT, [])), [])
    b.branch(ready)
    b.position_at_end(ready)


def _write_run(module: ir.Module) -> None:
    """run(program, count): call what so many pairs of words name, code and its argument, in their order, up to
    the first that does not give 0; how many did."""
    b = _Code(module, "run", ir.FunctionType(LONG, [ADDRESS, LONG]))
    program, count = b.function.args
    with b.counting(count) as i:
        pair = b.at(program, b.mul(i, word(2)))
        code, argument = b.load(pair), b.load(b.at(pair, 1))
        status = b.call(b.inttoptr(code, STEP.as_pointer()), [b.inttoptr(argument, ADDRESS)])
        with b.if_then(b.icmp_signed("!=", status, ir.Constant(INT, 0))):
            b.ret(i)
    b.ret(count)


def write_module() -> ir.Module:
    """The team's code, in LLVM's language."""
    module = ir.Module("team")
    board = ir.GlobalVariable(module, ir.ArrayType(LONG, BOARD_WORDS), "board")
    board.initializer, board.align = ir.Constant(board.value_type, None), 64
    part = _write_part(module)
    help_ = _write_help(module, part)
    _write_serve(module, help_)
    _write_loop(module, part, help_)
    _write_run(module)
    return module


def object_file(module: ir.Module) -> bytes:
    """A module's machine code for this machine."""
    machine, parsed = native_machine(), llvm.parse_assembly(str(module))
    parsed.triple, parsed.data_layout = machine.triple, str(machine.target_data)
    parsed.verify()
    return machine.emit_object(parsed)
