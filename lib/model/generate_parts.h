/* generate_parts.h - the state of texts that are written side by side: generate.c says which of them reads or writes
 * what in a pass, generate_draw.c draws tokens from what a pass says. For lib/model only. */
#ifndef DK_MODEL_GENERATE_PARTS_H
#define DK_MODEL_GENERATE_PARTS_H

#include "model/draw.h"
#include "model/pass_parts.h"

enum { DK_PLACES = 32, DK_PIECE = 256 }; /* texts side by side, whatever the backend promises; rows read in a pass */

typedef struct dk_voice { /* one of the models */
    dk_model *model;
    dk_cache *cache;
    dk_view hidden; /* of the last pass */
    dk_view logits; /* [places, vocab_size] */
} dk_voice;

typedef struct dk_place {       /* where a text is written; text -1 = nobody's */
    int64_t text, prompt, room; /* number, length of its prompt, most tokens to write */
    int64_t read, written;      /* of the prompt; own tokens */
    int32_t *ids;               /* [capacity + 1] prompt and own tokens */
} dk_place;

typedef struct dk_writer {
    const dk_choir *choir;
    dk_backend *backend;
    const dk_generate_args *args;
    const dk_tokens *prompts;
    dk_queue queue;
    dk_voice *voices; /* [choir->count] */
    dk_view *one;     /* [choir->count] a row of each */
    dk_arena arena;
    dk_drawer drawer;
    int64_t places, texts, next; /* texts altogether; the next one to begin */
    dk_place place[DK_PLACES];
    int32_t *top_ids; /* [args->top_count] */
    float *top;
    int32_t *ids;      /* of all places */
    int64_t capacity;  /* most tokens of a text that are read */
    int64_t positions; /* that all models have */
} dk_writer;

/* Row i of the voices' hidden states belongs to which[i], which writes a token there or ends. */
int32_t dk_writer_draw(dk_writer *w, const int64_t *which, int64_t rows, dk_error *err);

#endif
