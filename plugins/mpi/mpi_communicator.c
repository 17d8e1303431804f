/* mpi_communicator.c - MPI as a distill_communicator. The only file that knows MPI; it uses the public header alone. */
#include <limits.h>
#include <mpi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "distill_mpi.h"

enum { REQUESTS = 64 };

typedef struct team {
    MPI_Comm comm;
    MPI_Request requests[REQUESTS];
    int64_t next;
    int32_t own_mpi; /* started here */
} team;

static int32_t fail(distill_error *err, int32_t code, const char *format, ...)
{
    va_list args;
    if (!err) return code;
    err->code = code;
    err->user_code = 0;
    err->position = -1;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return code;
}

/* ---- calls ---- */

/* Longer pieces than an int counts go as rows of a type. */
static int count_of(int64_t bytes, MPI_Datatype *type)
{
    const int64_t row = (int64_t)1 << 20;
    *type = MPI_BYTE;
    if (bytes <= INT_MAX) return (int)bytes;
    if (bytes % row || bytes / row > INT_MAX) return -1;
    if (MPI_Type_contiguous((int)row, MPI_BYTE, type) || MPI_Type_commit(type)) return -1;
    return (int)(bytes / row);
}

static void release(MPI_Datatype *type)
{
    if (*type != MPI_BYTE) MPI_Type_free(type);
}

static int32_t begin(team *t, int64_t *ticket, MPI_Request **request)
{
    *ticket = t->next;
    *request = &t->requests[t->next % REQUESTS];
    if (**request != MPI_REQUEST_NULL) return MPI_ERR_REQUEST;
    t->next++;
    return MPI_SUCCESS;
}

static int32_t all_to_all_start(void *user, const void *in, void *out, int64_t bytes_each, int64_t *ticket)
{
    team *t = user;
    MPI_Request *request;
    MPI_Datatype type;
    const int count = count_of(bytes_each, &type);
    int32_t code = count < 0 ? MPI_ERR_COUNT : begin(t, ticket, &request);
    if (!code) code = MPI_Ialltoall(in, count, type, out, count, type, t->comm, request);
    release(&type);
    return code;
}

static int32_t all_gather_start(void *user, const void *in, void *out, int64_t bytes_each, int64_t *ticket)
{
    team *t = user;
    MPI_Request *request;
    MPI_Datatype type;
    const int count = count_of(bytes_each, &type);
    int32_t code = count < 0 ? MPI_ERR_COUNT : begin(t, ticket, &request);
    if (!code) code = MPI_Iallgather(in, count, type, out, count, type, t->comm, request);
    release(&type);
    return code;
}

/* Asks, and lets others have the processor: MPI's own waiting takes all of one, which computes for somebody here. */
static int32_t wait_request(MPI_Request *request)
{
    struct timespec pause = {0, 20000};
    int done = 0;
    for (int64_t asked = 0;; asked++) {
        const int code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (code || done) return code;
        if (asked > 200) nanosleep(&pause, NULL);
        if (asked == 1000) pause.tv_nsec = 100000;
    }
}

static int32_t wait_ticket(void *user, int64_t ticket)
{
    team *t = user;
    return wait_request(&t->requests[ticket % REQUESTS]);
}

static int32_t broadcast(void *user, void *data, int64_t bytes, int64_t root)
{
    team *t = user;
    MPI_Request request = MPI_REQUEST_NULL;
    for (int64_t at = 0; at < bytes; at += INT_MAX) {
        const int count = bytes - at < INT_MAX ? (int)(bytes - at) : INT_MAX;
        int32_t code = MPI_Ibcast((char *)data + at, count, MPI_BYTE, (int)root, t->comm, &request);
        if (!code) code = wait_request(&request);
        if (code) return code;
    }
    return 0;
}

static int32_t barrier(void *user)
{
    team *t = user;
    MPI_Request request = MPI_REQUEST_NULL;
    const int32_t code = MPI_Ibarrier(t->comm, &request);
    return code ? code : wait_request(&request);
}

static void end_all(void *user, const char *message)
{
    team *t = user;
    if (message && *message) fprintf(stderr, "distill: %s\n", message);
    MPI_Abort(t->comm, 1);
}

static void destroy(void *user)
{
    team *t = user;
    int over = 0;
    MPI_Finalized(&over);
    if (!over) MPI_Comm_free(&t->comm);
    if (!over && t->own_mpi) MPI_Finalize();
    free(t);
}

/* ---- start ---- */

static int32_t check_thread(distill_error *err)
{
    int level = 0, is_main = 0;
    MPI_Query_thread(&level);
    MPI_Is_thread_main(&is_main);
    if (level >= MPI_THREAD_SERIALIZED || (level == MPI_THREAD_FUNNELED && is_main)) return DISTILL_OK;
    return fail(err, DISTILL_E_UNSUPPORTED,
                "MPI grants thread level %d, and calls come from threads, one at a time: start it with MPI_Init_thread "
                "and MPI_THREAD_SERIALIZED, or MPI_THREAD_FUNNELED and all calls from the thread that did",
                level);
}

static int32_t start(team *t, distill_error *err)
{
    int begun = 0, level = 0;
    MPI_Initialized(&begun);
    if (begun) return DISTILL_OK;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level))
        return fail(err, DISTILL_E_IO, "MPI does not start: is the program run by mpirun?");
    t->own_mpi = 1;
    return DISTILL_OK;
}

/* Whoever started so many processes and whoever counts them are two MPIs. */
static int32_t check_launcher(int size, distill_error *err)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    for (size_t i = 0; size == 1 && i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (!text || strtol(text, NULL, 10) < 2) continue;
        MPI_Get_library_version(version, &length);
        version[40] = 0;
        for (char *at = version; *at; at++)
            if (*at == '\n' || *at == ',') *at = 0;
        return fail(err, DISTILL_E_MISMATCH,
                    "%s processes were started and each is alone: libdistill_mpi is built against %s, and the launcher "
                    "is of another MPI; use that one's mpirun, or build libdistill_mpi with the other",
                    text, version);
    }
    return DISTILL_OK;
}

static int32_t join(team *t, const MPI_Comm *comm, distill_communicator *out, distill_error *err)
{
    int rank = 0, size = 1;
    if (MPI_Comm_dup(comm ? *comm : MPI_COMM_WORLD, &t->comm))
        return fail(err, DISTILL_E_INVALID, "mpi_comm is no communicator of the MPI that libdistill_mpi is built with");
    MPI_Comm_set_errhandler(t->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(t->comm, &rank);
    MPI_Comm_size(t->comm, &size);
    out->rank = rank;
    out->size = size;
    return comm ? DISTILL_OK : check_launcher(size, err);
}

int32_t distill_mpi_communicator(void *mpi_comm, distill_communicator *out, distill_error *err)
{
    team *t = calloc(1, sizeof *t);
    int32_t rc;
    if (!out || out->struct_size < sizeof *out) {
        free(t);
        return fail(err, DISTILL_E_INVALID,
                    out ? "out: struct_size is too small (DISTILL_INIT sets it)" : "out is NULL");
    }
    if (!t) return fail(err, DISTILL_E_NOMEM, "out of memory (%zu bytes)", sizeof *t);
    t->comm = MPI_COMM_NULL;
    for (int i = 0; i < REQUESTS; i++) t->requests[i] = MPI_REQUEST_NULL;
    rc = start(t, err);
    if (!rc) rc = check_thread(err);
    if (!rc) rc = join(t, mpi_comm, out, err);
    if (rc) {
        if (t->comm != MPI_COMM_NULL) MPI_Comm_free(&t->comm);
        if (t->own_mpi) MPI_Finalize();
        free(t);
        return rc;
    }
    out->user = t;
    out->destroy = destroy;
    out->all_to_all_start = all_to_all_start;
    out->all_gather_start = all_gather_start;
    out->wait = wait_ticket;
    out->broadcast = broadcast;
    out->barrier = barrier;
    out->abort = end_all;
    if (err) fail(err, DISTILL_OK, "%s", "");
    return DISTILL_OK;
}
