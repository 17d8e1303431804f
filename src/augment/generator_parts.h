/* generator_parts.h - a generator from inside. Private to src/augment. */
#ifndef DI_AUGMENT_GENERATOR_PARTS_H
#define DI_AUGMENT_GENERATOR_PARTS_H

#include "augment/generator.h"
#include "augment/rank_calls.h"

struct di_generator {
    const di_step *step;
    int64_t samples, most, keep, context; /* context 0 = not known */
    double temperature, top_p;
    int64_t top_k;
    int32_t batched; /* the teacher draws each text as it is told: all at once */
    /* the batch */
    di_ids ids;
    int64_t *offsets; /* [capacity + 1] */
    uint64_t *draws;  /* [capacity * samples] */
    int64_t count, capacity;
    int32_t ran;
    di_answer *answers; /* [answer_capacity] */
    int64_t answer_capacity;
    /* while it runs */
    int64_t first; /* prompt that sequence 0 of the call is of */
    int64_t tokens;
    int32_t failed; /* DK_E_NOMEM, or what the pulse said */
    dk_error problem;
    int64_t number; /* among rank_calls */
};

/* ---- generator_ask.c ---- */
/* Room for so many prompts with so many ids behind those that are there. */
int32_t di_generator_room(di_generator *generator, int64_t prompts, int64_t ids, dk_error *err);
int32_t di_generator_open_answers(di_generator *generator, dk_error *err);
int32_t di_generator_widen(di_generator *generator, di_answer *answer, int64_t count); /* NOMEM, or OK */
/* Prompts [first, last) are answered in this process. */
int32_t di_generator_ask(di_generator *generator, int64_t first, int64_t last, dk_error *err);

/* ---- generator_ranks.c ---- */
int32_t di_generator_ask_ranks(di_generator *generator, dk_error *err);
int32_t di_generator_answer_part(void *self, const dk_strbuf *question, dk_strbuf *answer, dk_error *err);

#endif
