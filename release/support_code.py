"""The functions of Numba and of Python that the machine code of kernels needs, in LLVM's language.

The thread team of `runtime/thread_team_ir.py` replaces Numba's pool. A parallel loop over n numbers is divided into as
many parts as there are threads, at most n. Python's lock is not held while kernels run. A kernel reports an error by
its status; a part of a parallel loop reports one by FAILED.
"""

import llvmlite.binding as llvm

from pydarknet.runtime.shipped import SCHEDULING
from pydarknet.runtime.thread_team_ir import write_module

from .levels import Target
from .object_code import FAILED, oldest_versions, target_machine

# The symbols that Python uses: the number of threads, the failure of a part of a loop, the thread team; and those that
# code compiled on the machine itself calls.
EXPORTED = ("threads", FAILED, "board", "serve", "parallel_for", "run", *SCHEDULING)
C_FUNCTIONS = ("malloc", "free", "sem_wait", "sem_post", "sched_yield")

_TEXT = """
@threads = global i64 1
@failed = global i64 0

define i64 @get_num_threads() {
  %count = load atomic i64, ptr @threads monotonic, align 8
  ret i64 %count
}

; Parts of a loop over the numbers from starts[0] to stops[0], which is one of them.
define i64 @get_sched_size(i64 %most, i64 %dimensions, ptr %starts, ptr %stops) {
  %start = load i64, ptr %starts
  %stop = load i64, ptr %stops
  %distance = sub i64 %stop, %start
  %numbers = add i64 %distance, 1
  %parts = call i64 @llvm.smin.i64(i64 %most, i64 %numbers)
  %some = call i64 @llvm.smax.i64(i64 %parts, i64 1)
  ret i64 %some
}

; The first and the last number of each part.
define ptr @do_scheduling_unsigned(i64 %dimensions, ptr %starts, ptr %stops, i64 %parts, ptr %schedule, i64 %debug) {
  %start = load i64, ptr %starts
  %stop = load i64, ptr %stops
  %distance = sub i64 %stop, %start
  %numbers = add i64 %distance, 1
  br label %each
each:
  %part = phi i64 [ 0, %0 ], [ %next, %each ]
  %next = add i64 %part, 1
  %before = mul i64 %part, %numbers
  %after = mul i64 %next, %numbers
  %from = udiv i64 %before, %parts
  %to = udiv i64 %after, %parts
  %first = add i64 %start, %from
  %behind = add i64 %start, %to
  %last = sub i64 %behind, 1
  %place = mul i64 %part, 2
  %first_at = getelementptr i64, ptr %schedule, i64 %place
  %last_at = getelementptr i64, ptr %first_at, i64 1
  store i64 %first, ptr %first_at
  store i64 %last, ptr %last_at
  %more = icmp ult i64 %next, %parts
  br i1 %more, label %each, label %done
done:
  ret ptr %schedule
}

define ptr @allocate_sched(i64 %words) {
  %bytes = mul i64 %words, 8
  %memory = call ptr @malloc(i64 %bytes)
  ret ptr %memory
}

define void @deallocate_sched(ptr %memory) {
  call void @free(ptr %memory)
  ret void
}

define void @numba_parallel_for(ptr %f, ptr %args, ptr %sizes, ptr %steps, ptr %data, i64 %inner, i64 %arrays, i64 %t) {
  %1 = ptrtoint ptr %f to i64
  %2 = ptrtoint ptr %args to i64
  %3 = ptrtoint ptr %sizes to i64
  %4 = ptrtoint ptr %steps to i64
  %5 = ptrtoint ptr %data to i64
  call void @parallel_for(i64 %1, i64 %2, i64 %3, i64 %4, i64 %5, i64 %inner, i64 %arrays, i32 0)
  ret void
}

; Loops in loops are not divided, whatever the size of parts.
define i64 @get_parallel_chunksize() { ret i64 0 }
define void @set_parallel_chunksize(i64 %size) { ret void }

; Python's lock: nobody holds it here.
define void @numba_gil_ensure(ptr %state) { ret void }
define void @numba_gil_release(ptr %state) { ret void }
define ptr @PyEval_SaveThread() { ret ptr null }
define void @PyEval_RestoreThread(ptr %state) { ret void }

; A part of a loop has gone wrong.
@PyExc_RuntimeError = global i8 0
@PyExc_StopIteration = global i8 0
@PyExc_SystemError = global i8 0
define void @PyErr_Clear() { ret void }
define void @PyErr_SetNone(ptr %kind) {
  store atomic i64 1, ptr @failed monotonic, align 8
  ret void
}
define void @PyErr_SetString(ptr %kind, ptr %text) {
  store atomic i64 1, ptr @failed monotonic, align 8
  ret void
}
define i32 @numba_do_raise(ptr %exception) {
  store atomic i64 1, ptr @failed monotonic, align 8
  ret i32 0
}
define ptr @numba_unpickle(ptr %data, i32 %size, ptr %hash) { ret ptr null }
define ptr @numba_runtime_build_excinfo_struct(ptr %exception, ptr %arguments) { ret ptr null }
define ptr @PyBytes_FromStringAndSize(ptr %data, i64 %size) { ret ptr null }
define ptr @PyUnicode_FromKindAndData(i32 %kind, ptr %data, i64 %size) { ret ptr null }
define i64 @PyObject_Hash(ptr %object) { ret i64 0 }
define ptr @PyTuple_Pack(i64 %size, ...) { ret ptr null }
define i32 @printf(ptr %format, ...) { ret i32 0 }

; Memory of a kernel's own arrays. A block begins with 64 bytes: the count of references, two words that are not used
; here, and where the data begins.
define ptr @NRT_MemInfo_alloc_aligned(i64 %bytes, i32 %align) {
  %alignment = zext i32 %align to i64
  %extra = add i64 %alignment, 64
  %all = add i64 %bytes, %extra
  %block = call ptr @malloc(i64 %all)
  %lacks = icmp eq ptr %block, null
  br i1 %lacks, label %none, label %some
none:
  ret ptr null
some:
  %address = ptrtoint ptr %block to i64
  %behind = add i64 %address, %extra
  %over = urem i64 %behind, %alignment
  %begin = sub i64 %behind, %over
  %data = inttoptr i64 %begin to ptr
  %data_at = getelementptr i8, ptr %block, i64 24
  %size_at = getelementptr i8, ptr %block, i64 32
  store i64 1, ptr %block
  store ptr %data, ptr %data_at
  store i64 %bytes, ptr %size_at
  ret ptr %block
}
define ptr @NRT_MemInfo_alloc(i64 %bytes) {
  %block = call ptr @NRT_MemInfo_alloc_aligned(i64 %bytes, i32 16)
  ret ptr %block
}
define void @NRT_MemInfo_call_dtor(ptr %block) {
  call void @free(ptr %block)
  ret void
}
define ptr @NRT_Allocate(i64 %bytes) {
  %memory = call ptr @malloc(i64 %bytes)
  ret ptr %memory
}
define void @NRT_Free(ptr %memory) {
  call void @free(ptr %memory)
  ret void
}

declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare ptr @malloc(i64)
declare void @free(ptr)
declare void @parallel_for(i64, i64, i64, i64, i64, i64, i64, i32)
"""


def emit_support(target: Target) -> bytes:
    """An object file with these functions and the thread team."""
    machine = target_machine(target)
    module = llvm.parse_assembly(_TEXT + oldest_versions(machine.triple, C_FUNCTIONS))
    team = llvm.parse_assembly(str(write_module()))
    for each in (module, team):
        each.triple, each.data_layout = machine.triple, str(machine.target_data)
    module.link_in(team)
    module.verify()
    return machine.emit_object(module)
