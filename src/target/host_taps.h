/* host_taps.h - places inside a model of the host's own: what it says that it has, and reading them, and giving their
 * gradients back, through its callbacks. */
#ifndef DI_TARGET_HOST_TAPS_H
#define DI_TARGET_HOST_TAPS_H

#include <stdatomic.h>

#include "target/taps.h"

/* A copy of the current layout, checked: [count]. */
int32_t di_host_taps_copy(dk_host *host, const distill_tap *taps, int64_t count, distill_tap **out, dk_error *err);
/* The one that is asked for, by its number in *index (NULL = not wanted); E_UNSUPPORTED names what there is not. */
int32_t di_host_taps_place(const distill_tap *taps, int64_t count, const char *owner, const dk_tap_spec *tap,
                           int64_t *index, di_place *out, dk_error *err);

typedef struct di_host_taps di_host_taps;
typedef struct di_host_taps_spec {
    dk_backend *backend;
    const distill_tap *taps; /* [tap_count] as copied; outlive it */
    int64_t tap_count;
    const di_asked *asked;
    int64_t max_tokens;
    const char *owner; /* "the teacher" */
    void *user;
    atomic_int *busy; /* NULL = read may be called from several threads at once */
    int32_t (*read)(void *user, const distill_batch *batch, int64_t tap, const distill_tensor *values);
    int32_t (*gradient)(void *user, const distill_batch *batch, int64_t tap, const distill_tensor *gradient);
} di_host_taps_spec;
int32_t di_host_taps_create(const di_host_taps_spec *spec, di_host_taps **out, dk_error *err);
void di_host_taps_free(di_host_taps *taps);                              /* NULL is fine */
void di_host_taps_begin(di_host_taps *taps, const distill_batch *batch); /* borrowed until the next one */
const di_taps *di_host_taps_of(const di_host_taps *taps);

#endif
