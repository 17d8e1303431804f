/* taps.h - places inside a model that are read while it is at work, and where a gradient may go in: what losses on
 * features ask teacher and student for. What is not asked for costs nothing. */
#ifndef DI_TARGET_TAPS_H
#define DI_TARGET_TAPS_H

#include "target/target.h"

typedef struct di_place { /* what stands there: [tokens of the batch, width] */
    int64_t width;
    int64_t heads;         /* of DK_TAP_Q, K and V: a head is width / heads wide; else 0 */
    int64_t window;        /* of DK_TAP_Q, as the layer's attention has them; */
    double scale, softcap; /* of DK_TAP_Q */
} di_place;
/* Of a model in this process. name ("the teacher") is for the message where there is no such layer. */
int32_t di_place_of_model(const dk_model *model, const dk_tap_spec *tap, const char *name, di_place *out,
                          dk_error *err);
int32_t di_tap_has_layer(dk_tap_kind kind);
const char *di_tap_name(dk_tap_kind kind); /* "output", "final norm", "queries", ... */

typedef struct di_asked { /* of a model; borrowed while it is made ready, and copied */
    const dk_tap_spec *taps;
    int64_t count;
} di_asked;

/* Those that were asked for, by number, of the batch under work. */
typedef struct di_taps {
    void *self;
    int32_t (*values)(void *self, int64_t tap, dk_view *out, dk_error *err);
    int32_t (*gradient)(void *self, int64_t tap, dk_view *out, dk_error *err); /* to add to; NULL = nobody trains it */
    int32_t (*finish)(void *self, dk_error *err); /* all gradients are there; NULL = nothing to do */
} di_taps;

#endif
