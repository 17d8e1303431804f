/* minhash.h - a text as 128 numbers, of which two texts share as large a part as of their shingles (Broder 1997): each
 * is the least of all shingles' hashes under one of 128 hash functions. kernels/minhash_kernels.c is compiled once per
 * instruction set; the numbers are the same by each. */
#ifndef DI_AUGMENT_CURATE_MINHASH_H
#define DI_AUGMENT_CURATE_MINHASH_H

#include "augment/curate/words.h"

enum { DI_MINHASH_SIZE = 128 };

typedef struct di_shingles { /* n characters or words that stand one behind another; a shorter text is one shingle */
    int32_t characters;      /* 1 = of characters, else of words, where a script without spaces has one per character */
    int32_t n;               /* 1 to 64 */
} di_shingles;
typedef struct di_minhash {
    di_shingles shingles;
    int32_t isa; /* DK_ISA_* of compute.h */
    di_hashes items;
    uint32_t a[DI_MINHASH_SIZE], b[DI_MINHASH_SIZE];
} di_minhash;
void di_minhash_init(di_minhash *minhash, dk_host *host, di_shingles shingles, int32_t isa);
void di_minhash_free(di_minhash *minhash); /* zeroed is fine */
/* *count: shingles, with those that repeat; 0 = the text has no words and is like no other one. */
int32_t di_minhash_text(di_minhash *minhash, const char *text, size_t size, uint32_t signature[DI_MINHASH_SIZE],
                        int64_t *count, dk_error *err);
/* The share of numbers that are equal: unbiased, with a standard error of sqrt(J (1 - J) / 128). */
double di_minhash_jaccard(const uint32_t a[DI_MINHASH_SIZE], const uint32_t b[DI_MINHASH_SIZE]);

/* ---- bands of rows (Indyk & Motwani 1998): texts meet where all rows of a band are equal ---- */
typedef struct di_bands {
    int32_t bands, rows;
} di_bands;
/* The longest rows by which a pair at the threshold meets with probability 0.95 at least: 1 - (1 - J^rows)^bands. */
di_bands di_bands_for(double threshold);
double di_bands_meet(di_bands bands, double jaccard); /* that probability */
uint32_t di_band_hash(di_bands bands, int32_t band, const uint32_t signature[DI_MINHASH_SIZE]);

/* kernels/: signature[k] = least of (low half of x ^ b[k]) * a[k] */
typedef void (*di_minhash_fn)(const uint64_t *x, int64_t count, const uint32_t *a, const uint32_t *b, uint32_t *out);
void di_minhash_rows_portable(const uint64_t *x, int64_t count, const uint32_t *a, const uint32_t *b, uint32_t *out);
void di_minhash_rows_avx2(const uint64_t *x, int64_t count, const uint32_t *a, const uint32_t *b, uint32_t *out);
void di_minhash_rows_avx512(const uint64_t *x, int64_t count, const uint32_t *a, const uint32_t *b, uint32_t *out);

#endif
