/* draw.h - tokens from what models say of rows: adjusted by what a text has, drawn, and told with their
 * log-probabilities.
 *
 * The order is that of transformers' processors: bias, penalties, the host's own, then temperature, top_k, top_p and
 * min_p. A row's token depends on its text and its number of draw, whatever rows stand beside it. */
#ifndef DK_MODEL_DRAW_H
#define DK_MODEL_DRAW_H

#include "model/model.h"

typedef struct dk_draw { /* a row that gets a token */
    const dk_generate_args *args;
    int64_t text, written; /* of args' functions and of messages; tokens that the text has of its own */
    const int32_t *ids;    /* [count] the text, of which the first `prompt` ids were read */
    int64_t prompt, count;
    uint64_t counter; /* of the stream of samples */
    int32_t id;       /* out */
    double log_prob;  /* out: the model's own, at temperature 1 and before anything was adjusted or left out */
} dk_draw;

typedef struct dk_drawer {
    dk_queue *queue;            /* borrowed, open */
    int64_t rows, width, vocab; /* rows at most; of logits; ids below vocab are drawn */
    dk_view log_probs;          /* [rows, width] */
    dk_view adjusted;           /* the same, where log_probs themselves would be adjusted; else absent */
    dk_view drawn;              /* I32 [rows] */
    double *wide;               /* [width] a row on its way through the host, where the backend's real is F64 */
    float *row;                 /* [width] the row */
    int32_t *order;             /* [width] scratch; all three NULL where nothing asks for rows */
} dk_drawer;

static inline int32_t dk_adjusts(const dk_generate_args *args)
{
    return args->logits || args->bias_count > 0 || (args->repetition_penalty > 0 && args->repetition_penalty != 1) ||
           args->presence_penalty != 0;
}

/* Wrong numbers, ids out of the vocabulary: named. */
int32_t dk_check_generate_args(const dk_model *model, const dk_generate_args *args, dk_error *err);
/* Views for rows, width of the drawer; copies 1 = with adjusted. */
void dk_drawer_plan(dk_drawer *d, dk_arena *arena, int32_t copies);
int32_t dk_drawer_open(dk_drawer *d, dk_host *host, int32_t reads, dk_error *err); /* reads 1 = with row and wide */
void dk_drawer_close(dk_drawer *d, dk_host *host);
/* log_probs are there; logits [count, width] are adjusted in place, or are log_probs. Fills id and log_prob. */
int32_t dk_drawer_draw(dk_drawer *d, dk_view logits, dk_draw *draws, int64_t count, dk_error *err);
/* The likeliest ids of a row of log_probs, ties by id: ids and log_probs [most], *count of them. */
int32_t dk_drawer_top(dk_drawer *d, int64_t row, int64_t most, int32_t *ids, float *log_probs, int64_t *count,
                      dk_error *err);
/* What rows are drawn from, once temperature is above 0: log-probabilities out [count, width], adjusted, at their
 * temperature, -infinity where top_k, top_p and min_p leave an id out. logits are changed. */
int32_t dk_drawer_shape(dk_drawer *d, dk_view logits, const dk_draw *draws, int64_t count, dk_view out, dk_error *err);
/* A row of what dk_drawer_shape gave, drawn from with number `counter`. */
int32_t dk_drawer_pick(dk_drawer *d, dk_view shaped, uint64_t seed, uint64_t counter, int32_t *id, dk_error *err);
double dk_drawer_element(dk_drawer *d, dk_view view, int64_t row, int64_t column);
int32_t dk_drawer_read(dk_drawer *d, dk_view view, int64_t row, dk_error *err); /* into d->row */
/* Leaves out what top_k, top_p and min_p do: z [vocab] becomes -infinity there. order [vocab] is scratch. */
void dk_cut_logits(const dk_generate_args *args, float *z, int64_t vocab, int32_t *order);
int32_t dk_is_stop(const dk_generate_args *args, int32_t id);
/* What a host's function returned other than 0. */
int32_t dk_generate_refused(int32_t code, dk_error *err);

#endif
