/* ask.h - what operators that ask a teacher have in common: a prompt for each sample, all answered in one batch, and of
 * each good answer a sample. */
#ifndef DI_AUGMENT_ASK_H
#define DI_AUGMENT_ASK_H

#include "augment/generator.h"

enum { DI_ASKED, DI_PASSED_ON, DI_DROPPED }; /* what becomes of a sample */
typedef struct di_asker {
    const di_step *step;
    di_generator *generator;
    void *state;
    const char *template_hash; /* of what it asks with, for provenance; NULL = none */
    int32_t whole_only;        /* answers that were cut are dropped */
    int32_t keeps_aside;       /* what take drops is kept aside, not lost */
    int32_t passes_on;         /* samples that were asked about go on, before what was made of them */
    /* Appends the prompt. *what arrives DI_ASKED; for the others *why is what is counted. */
    int32_t (*prompt)(void *state, const di_record *record, di_ids *out, int32_t *what, const char **why,
                      dk_error *err);
    /* child is a copy of the sample that was asked about: it becomes what is made of the answer. *why: is dropped. */
    int32_t (*take)(void *state, di_record *child, const di_answer *answer, const char **why, dk_error *err);
    /* memory */
    di_ids ids;
    int64_t *prompts; /* [prompt_capacity] of each record, -1 = not asked */
    int64_t prompt_capacity;
} di_asker;
void di_asker_close(di_asker *asker); /* with its generator; zeroed is fine */
int32_t di_asker_apply(di_asker *asker, di_record **in, int64_t count, di_flow *flow, dk_error *err);
/* The prompt as text, appended; nothing where the sample is not asked about. */
int32_t di_asker_show(di_asker *asker, const di_record *record, dk_strbuf *out, dk_error *err);

#endif
