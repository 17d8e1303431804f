/* replay.h - texts that the student wrote in earlier steps, to be trained on once more: a ring of the newest ones, out
 * of which some are drawn. What it holds is part of a checkpoint (run/checkpoint_replay.c). */
#ifndef DI_TRAINER_REPLAY_H
#define DI_TRAINER_REPLAY_H

#include "trainer/generated.h"

typedef struct di_kept { /* its place in ids is not the text's, but its slot's */
    di_text text;
    int64_t step; /* that it was written in */
} di_kept;
typedef struct di_replay {
    dk_host *host;
    double share;              /* of the windows that the student writes */
    int64_t age;               /* steps that a text is good for; 0 = all */
    int64_t capacity, longest; /* texts; tokens of one */
    di_kept *items;            /* [capacity] from `begin` on, the oldest first */
    int32_t *ids;              /* [capacity, longest] */
    float *log_probs;          /* the same, of who wrote them; NULL = not kept */
    int32_t keeps_log_probs;
    int64_t begin, count;
    char *names; /* of sources and tags of texts that come from a checkpoint; NULL = of none */
} di_replay;
int32_t di_replay_plan(di_replay *replay, dk_host *host, int64_t longest,
                       dk_error *err); /* share to capacity are set, and keeps_log_probs */
void di_replay_free(di_replay *replay);
/* The newest one; where the ring is full the oldest goes. */
void di_replay_put(di_replay *replay, const di_text *text, const int32_t *ids, const float *log_probs, int64_t step);
void di_replay_add(di_replay *replay, const di_texts *texts, int64_t step);
void di_replay_age(di_replay *replay, int64_t step); /* what is too old for the steps from this one on goes */
const di_kept *di_replay_at(const di_replay *replay, int64_t index, const int32_t **ids, const float **log_probs);
/* Different ones, as many as texts has, in their place; 0 = there are too few. A function of seed and what is held. */
int32_t di_replay_draw(const di_replay *replay, uint64_t seed, di_texts *texts, int32_t *drawn, dk_error *err);

#endif
