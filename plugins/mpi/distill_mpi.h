/* distill_mpi.h - the ranks of an MPI job, for distill_env_set_communicator. Of libdistill_mpi, a library of its own:
 * the core never links MPI.  distill_communicator table; if (distill_mpi_communicator(NULL, &table, &err) ||
 * distill_env_set_communicator(env, &table, &err)) ... */
#ifndef DISTILL_MPI_H
#define DISTILL_MPI_H

#include <distill.h>

#ifdef __cplusplus
extern "C" {
#endif

/* mpi_comm: of an MPI_Comm (in Python MPI._addressof(comm)), which is duplicated; NULL = MPI_COMM_WORLD. Starts MPI
 * where nobody has, and ends it then with the table. MPI calls come from the threads that call the library, one at a
 * time: MPI_THREAD_SERIALIZED, or MPI_THREAD_FUNNELED where that is the thread that started MPI alone; less is
 * refused. */
DISTILL_API int32_t distill_mpi_communicator(void *mpi_comm, distill_communicator *out, distill_error *err);

#ifdef __cplusplus
}
#endif
#endif
