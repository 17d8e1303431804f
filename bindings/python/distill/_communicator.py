"""The ranks of a job: a Python object that carries bytes between processes, as a distill_communicator."""
import ctypes

from . import _signatures as c
from ._callbacks import destroy, register, trampoline


def _view(address, size):
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


@trampoline(c.distill_communicator_all_to_all_start)
def _on_all_to_all(own, given, out, each, ticket):
    size = own.size * each
    own.all_to_all(_view(given, size), _view(out, size))
    ticket[0] = 0


@trampoline(c.distill_communicator_all_gather_start)
def _on_all_gather(own, given, out, each, ticket):
    own.all_gather(_view(given, each), _view(out, own.size * each))
    ticket[0] = 0


@trampoline(c.distill_communicator_wait)
def _on_wait(own, ticket):
    return c.DISTILL_CB_OK


@trampoline(c.distill_communicator_broadcast)
def _on_broadcast(own, data, size, root):
    own.broadcast(_view(data, size), root)


@trampoline(c.distill_communicator_barrier)
def _on_barrier(own):
    own.barrier()


def table_of(communicator):
    return c.distill_communicator(
        struct_size=ctypes.sizeof(c.distill_communicator), user=register(communicator), destroy=destroy, rank=communicator.rank,
        size=communicator.size, all_to_all_start=_on_all_to_all, all_gather_start=_on_all_gather, wait=_on_wait, broadcast=_on_broadcast,
        barrier=_on_barrier)
