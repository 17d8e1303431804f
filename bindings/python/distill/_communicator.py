"""The ranks of a job: a Python object that carries bytes between processes, as a distill_communicator."""
import ctypes
import os

from . import _signatures as c
from ._callbacks import destroy, register, trampoline
from ._errors import raise_error
from ._lib import lib


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


def mpi_communicator(comm=None, plugin=None):
    """The ranks of an MPI job, for Env.set_communicator. comm: a communicator of mpi4py; None = all ranks, and MPI is started where nobody
    has. plugin: the path of libdistill_mpi.so; None = beside libdistill, or where the system looks."""
    name = "libdistill_mpi.so"
    beside = os.path.join(os.path.dirname(os.path.realpath(lib._name)), name)
    try:
        library = ctypes.CDLL(plugin or (beside if os.path.exists(beside) else name), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ImportError("%s; build libdistill where MPI is found (Debian: openmpi-bin and libopenmpi-dev)" % error) from None
    function = library.distill_mpi_communicator
    function.restype = ctypes.c_int32
    function.argtypes = [ctypes.c_void_p, ctypes.POINTER(c.distill_communicator), ctypes.POINTER(c.distill_error)]
    table = c.distill_communicator(struct_size=ctypes.sizeof(c.distill_communicator))
    address, err = None, c.distill_error()
    if comm is not None:
        from mpi4py import MPI
        address = MPI._addressof(comm)
    if function(address, table, err) != c.DISTILL_OK:
        raise_error(err)
    return table
