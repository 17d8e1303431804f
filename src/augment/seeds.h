/* seeds.h - samples that come in, one after the other: lines of JSONL, or documents of a text; then, for an operator
 * that makes samples of nothing, empty ones by number. Read with a buffer, never as a whole. */
#ifndef DI_AUGMENT_SEEDS_H
#define DI_AUGMENT_SEEDS_H

#include "augment/record.h"
#include "options/options.h"

typedef struct di_seeds di_seeds;
typedef struct di_seed_place { /* where the next one begins */
    int64_t offset, number;    /* in the file, and how many came before it there */
    int64_t made;              /* empty ones that were given */
    int64_t given;             /* samples in all: the file's without its blank lines, and empty ones */
} di_seed_place;
/* path NULL = none. makes: empty ones behind those of the file. options: data.format, data.separator. */
int32_t di_seeds_open(dk_host *host, const char *path, int64_t makes, const di_options *options, di_seeds **out,
                      dk_error *err);
void di_seeds_close(di_seeds *seeds); /* NULL is fine */
/* DK_E_END (no message is made of it) behind the last. */
int32_t di_seeds_next(di_seeds *seeds, di_record **out, dk_error *err);
/* At least `most` records, if there are, and all of the last one's root. *count 0 = the end. */
int32_t di_seeds_chunk(di_seeds *seeds, int64_t most, di_record ***out, int64_t *count, dk_error *err);
di_seed_place di_seeds_tell(const di_seeds *seeds);
int32_t di_seeds_seek(di_seeds *seeds, const di_seed_place *place, dk_error *err);
int64_t di_seeds_makes(const di_seeds *seeds);
int32_t di_seeds_seek_made(di_seeds *seeds, dk_error *err); /* behind the file: the first empty one */

/* Of ids that are made of them (di_record): above that of all samples of the file; kept for the files between steps. */
void di_seeds_set_generation(di_seeds *seeds, int64_t generation);
int64_t di_seeds_generation(const di_seeds *seeds);

typedef struct di_survey {
    int64_t samples;  /* with those that are made */
    uint8_t hash[32]; /* of what they say */
} di_survey;
/* Goes through all once, before anything is asked of a teacher: each is a sample, no id stands twice; their
 * generation is known then. It stands at the beginning. Ids of their own are remembered on disk, in folder, while it
 * lasts. */
int32_t di_seeds_survey(di_seeds *seeds, const char *folder, di_survey *out, dk_error *err);
dk_host *di_seeds_host(const di_seeds *seeds);
const char *di_seeds_path(const di_seeds *seeds); /* "" = no file */

#endif
