/* cpu.h - the CPU backend: fp32, by the kernels of the best instruction set; products by our own or by CBLAS.
 *
 * Files: backend_cpu (creation), cpu_scratch (memory for threads that have no name), cpu_sweep
 * (elementwise loops over any views), then the ops by theme. Inner loops live in kernels/, products in product/, shape
 * checks in compute/check.h. */
#ifndef DK_COMPUTE_CPU_H
#define DK_COMPUTE_CPU_H

#include <stdatomic.h>

#include "compute/buffer.h"
#include "compute/check.h"
#include "compute/cpu/kernels.h"
#include "compute/cpu/product/int8/int8.h"
#include "compute/cpu/product/product_choice.h"
#include "compute/cpu/scratch.h"
#include "compute/linear.h"

typedef struct dk_cpu {
    dk_ops ops;
    dk_kernels kernels;
    const dk_product_set *products; /* of linear objects made from now on; NULL = CBLAS */
    int32_t by_name;                /* and nothing may take their place */
    atomic_int told;                /* that something did */
    const dk_int8 *int8;            /* for quantised weights that are multiplied as they are */
    int32_t int8_isa;               /* from which another one is chosen, where the system does not allow that one */
    atomic_int tiles;               /* whether it does; 0 = nobody has asked yet */
    dk_scratch workers;             /* taken inside parallel loops */
    dk_scratch callers;             /* taken by an op before its loop, never inside: the two cannot starve each other */
    pthread_mutex_t cblas;          /* CBLAS is called by one thread at a time */
    pthread_mutex_t packing;        /* around making copies that are kept */
} dk_cpu;

static inline dk_cpu *dk_cpu_of(dk_queue *queue) { return queue->backend->state; }
static inline const dk_kernels *dk_kernels_of(dk_queue *queue) { return &dk_cpu_of(queue)->kernels; }
void dk_cpu_no_memory(dk_queue *queue, const char *op, int64_t bytes);

/* Fails with UNSUPPORTED where this machine or build has not got isa. For tests. */
int32_t dk_backend_cpu_isa(dk_host *host, int32_t isa, dk_backend **out, dk_error *err);

/* ---- sweeps: one function over pieces of views of one shape ---- */
#define DK_SWEEP_VIEWS 5
typedef struct dk_sweep dk_sweep;
/* at[i] = n elements of view i, NULL if it is absent. */
typedef void (*dk_piece_fn)(const dk_sweep *sweep, void *const *at, int64_t n);
struct dk_sweep {
    dk_piece_fn piece;
    const dk_kernels *kernels;
    void *args; /* what the piece function takes it for */
    double a, b;
    dk_dtype dtype[DK_SWEEP_VIEWS];
    dk_rows rows[DK_SWEEP_VIEWS];
    int64_t count, units, pieces, width; /* views; pieces altogether; pieces of a row; elements of a row */
};
dk_sweep dk_sweep_make(dk_queue *queue, dk_piece_fn piece, int64_t count, const dk_view *const *views);
void dk_sweep_run(dk_queue *queue, dk_sweep *sweep);
void dk_sweep_units(const dk_sweep *sweep, int64_t begin, int64_t end);

#define DK_PART 512       /* elements on the stack between a load in one dtype and a store in another */
#define DK_SUM_COLUMNS 32 /* columns that one thread sums over all rows */

/* How many rows one thread takes at a time, where a row costs about `cost` element operations. */
int64_t dk_cpu_grain(int64_t cost);

/* Any dtype of DK_CPU_READS as float. Returns x itself where it is F32, else widens into y; NULL for another dtype,
 * which no check lets through. */
#define DK_CPU_READS (DK_TYPES_FLOAT | DK_TYPES_BLOCKS)
const float *dk_cpu_widen(const dk_kernels *kernels, dk_dtype dtype, const void *x, float *y, int64_t n);
/* Rows [first, first + count) of a matrix of such a dtype as floats without gaps: [count, columns]. */
void dk_cpu_widen_rows(const dk_kernels *kernels, const dk_view *matrix, int64_t first, int64_t count, float *to);
void dk_cpu_narrow(const dk_kernels *kernels, const float *x, dk_dtype dtype, void *y, int64_t n);

/* ---- the ops: each file puts its own into the table ---- */
void dk_cpu_fill_linear(dk_ops *ops);
void dk_cpu_fill_elementwise(dk_ops *ops);
void dk_cpu_fill_rows(dk_ops *ops);
void dk_cpu_fill_route(dk_ops *ops);
void dk_cpu_fill_attention(dk_ops *ops);
void dk_cpu_fill_heads(dk_ops *ops);
void dk_cpu_fill_adjust(dk_ops *ops);
void dk_cpu_fill_sample(dk_ops *ops);
void dk_cpu_fill_optimiser(dk_ops *ops);

#endif
