/* limits.h - what this machine can do at most: the best rate of each kind of product, from registers alone, and of
 * reading memory and of reading and writing it. Not what our kernels reach: what they can be held against. */
#ifndef DK_COMPUTE_LIMITS_H
#define DK_COMPUTE_LIMITS_H

#include "base/host.h"

enum { DK_LIMIT_FP32, DK_LIMIT_BF16, DK_LIMIT_INT8, DK_LIMIT_KINDS };

typedef struct dk_limit_kernel { /* one instruction that multiplies, by itself */
    const char *name;
    int32_t kind;
    int32_t (*has)(void);
    double (*run)(int64_t turns); /* returns the operations done: a product and a sum are two */
} dk_limit_kernel;

typedef struct dk_limits { /* of all threads of the host together */
    int64_t threads;
    struct {
        const char *by; /* the instruction that was fastest; NULL = the processor has none of this kind */
        double rate;    /* operations/s */
    } product[DK_LIMIT_KINDS];
    double read;   /* bytes/s, from memory that no cache holds */
    double stream; /* bytes/s, of two blocks that are read and a third one that is written, each counted once */
} dk_limits;

/* Takes about two seconds and 1 GiB. Progress is not reported; a cancelled host gives E_CANCELLED. */
int32_t dk_limits_measure(dk_host *host, dk_limits *out, dk_error *err);

/* All that this build knows, `*count` of them. */
const dk_limit_kernel *dk_limit_kernels(int32_t *count);

/* Reads so many bytes, a multiple of 256, once. */
void dk_limit_read(const uint8_t *memory, int64_t bytes);
/* out = a + b, so many bytes each, a multiple of 256; all begin at a cache line. Stores are as any program's: a line is
 * read before it is written. */
void dk_limit_stream(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t bytes);

#endif
