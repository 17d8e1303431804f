/* near.h - texts that were seen before, as they are or nearly. What is remembered lies on disk beside what is written.
 *
 * The same text: 16 bytes of SHA-256 of it, kept in 16 bytes a sample, and 11 to 22 of the table while it runs.
 * Nearly the same: MinHash and bands, kept in 512 bytes a sample (the signature), and 11 to 22 for each band while it
 * runs (18 bands at 0.8: 198 to 396). A pair that meets in a band is near where the Jaccard similarity that the two
 * signatures estimate reaches the threshold. Only samples that are kept are remembered. */
#ifndef DI_AUGMENT_CURATE_NEAR_H
#define DI_AUGMENT_CURATE_NEAR_H

#include "augment/curate/kept_log.h"
#include "augment/curate/minhash.h"

/* ---- the same ---- */
typedef struct di_same_rules { /* what makes no difference */
    int32_t spaces;            /* how many there are in a row, and those at the ends */
    int32_t letter_case;
} di_same_rules;
typedef struct di_same di_same;
/* path: of the file of what is kept; at: where an earlier one stopped, NULL = begin anew. */
int32_t di_same_open(dk_host *host, const char *path, di_same_rules rules, const di_kept_state *at, di_same **out,
                     dk_error *err);
void di_same_close(di_same *same); /* NULL is fine */
/* *before = the number of the kept text that is the same, or -1: then it is kept from now on. */
int32_t di_same_add(di_same *same, const char *text, size_t size, int64_t *before, dk_error *err);
int32_t di_same_flush(di_same *same, di_kept_state *state, dk_error *err);

/* ---- nearly the same ---- */
typedef struct di_near di_near;
typedef struct di_near_found {
    int64_t before;  /* number of the kept text that is nearest, the first of several; -1 = none is near */
    double jaccard;  /* of it, estimated */
    int32_t crowded; /* more texts met it in some band than are looked at: DI_NEAR_MOST of each, the first ones */
} di_near_found;
enum { DI_NEAR_MOST = 64 };
/* threshold in (0, 1] */
int32_t di_near_open(dk_host *host, const char *path, double threshold, di_shingles shingles, int32_t isa,
                     const di_kept_state *at, di_near **out, dk_error *err);
void di_near_close(di_near *near); /* NULL is fine */
/* Kept from now on where found->before is -1; a text without words is never near and not kept. */
int32_t di_near_add(di_near *near, const char *text, size_t size, di_near_found *found, dk_error *err);
int32_t di_near_flush(di_near *near, di_kept_state *state, dk_error *err);

#endif
