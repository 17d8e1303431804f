/* origins.c - samples, by where they are from, and their teachers: has each one, does a route name some that are not
 * there, and which one was an error about. */
#include <string.h>

#include "trainer/trainer_state.h"

typedef struct origins {
    const di_teacher *teacher;
    uint8_t *seen; /* [count] names of maps that samples have */
    int64_t count;
} origins;

static int32_t check_origin(void *user, const di_origin *origin, dk_error *err)
{
    const origins *o = user;
    const char *tag = origin->teacher ? origin->teacher : "";
    for (int64_t i = 0; i < o->count; i++) {
        int32_t is_tag;
        const char *name = di_teacher_mapped(o->teacher, i, &is_tag);
        if (!strcmp(name, is_tag ? tag : origin->source)) o->seen[i] = 1;
    }
    return di_teacher_check_origin(o->teacher, origin->source, tag, err);
}

static void tell_unseen(const di_trainer *t, const origins *o)
{
    for (int64_t i = 0; i < o->count; i++) {
        int32_t is_tag;
        const char *name = di_teacher_mapped(o->teacher, i, &is_tag);
        if (!o->seen[i])
            dk_log(t->host, DK_LOG_WARN, "trainer", "teacher.route.map names %s, and no sample has that %s", name,
                   is_tag ? "tag (field teacher)" : "source");
    }
}

int32_t di_origins_check(di_trainer *t, dk_error *err)
{
    origins o = {.teacher = t->teacher};
    int32_t is_tag, rc = DK_OK;
    if (!t->teacher) return DK_OK;
    while (di_teacher_mapped(t->teacher, o.count, &is_tag)) o.count++;
    DK_TRY(dk_new(t->host, o.count, &o.seen, err));
    if (t->objective.uses_teacher) DK_TRY(di_dataset_origins(t->data.train, check_origin, &o, err));
    if (t->data.eval) DK_TRY(di_dataset_origins(t->data.eval, check_origin, &o, err));
    if (t->objective.uses_teacher && !di_dataset_is_stream(t->data.train)) tell_unseen(t, &o);
out:
    dk_free(t->host, o.seen);
    return rc;
}

void di_origins_name(const di_trainer *t, dk_error *err)
{
    const di_batch *batch = t->data.batch;
    const int64_t first = batch->window_first[t->window.micro_index * t->data.micro_batch_size];
    if (di_names_sequence(err, t->window.micro.sequences)) di_batch_name_sample(batch, first + err->position, err);
}
