/* fewer_ids.c - a model that says what another one says of some of its ids alone: p'(i) = p(i) / sum of p over them,
 * the softmax of its logits there, which is what p is where the next token is known to be one of them. */
#include "teacher/teacher_parts.h"

typedef struct owner { /* what such a teacher lives from */
    dk_host *host;
    dk_model *model;
    di_teacher *from; /* a reference */
} owner;

static void release(void *context)
{
    owner *own = context;
    dk_host *host = own->host;
    dk_model_free(own->model);
    di_teacher_release(own->from);
    dk_free(host, own);
}

static int32_t check_kind(const di_teacher *from, dk_error *err)
{
    if (di_teacher_model(from) && *from->path && !di_teacher_is_cached(from)) return DK_OK;
    return dk_fail(
        err, DK_E_UNSUPPORTED,
        "a vocabulary is trimmed of a model that is read from files: what callbacks, caches, blends and live "
        "students say of other ids cannot be taken away exactly");
}

int32_t di_teacher_of_ids(di_teacher *from, const int64_t *ids, int64_t count, dk_tokenizer *tokenizer,
                          di_teacher **out, dk_error *err)
{
    owner *own = NULL;
    di_teacher *made = NULL;
    int32_t rc;
    DK_TRY(check_kind(from, err));
    DK_TRY(dk_new(from->host, 1, &own, err));
    *own = (owner){.host = from->host};
    DK_TRY(dk_model_of_ids(di_teacher_model(from), ids, count, &own->model, err));
    own->from = di_teacher_retain(from);
    DK_TRY(di_teacher_from_model(from->backend, own->model, tokenizer, own, NULL, release, &made, err));
    own = NULL;
    dk_free(from->host, made->path);
    if (!(made->path = dk_strdup(from->host, from->path))) DK_TRY(dk_fail_nomem(err, strlen(from->path) + 1));
    *out = made;
    made = NULL;
out:
    di_teacher_release(made);
    if (own) release(own);
    return rc;
}
