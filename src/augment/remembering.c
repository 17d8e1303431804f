#include "augment/remembering.h"

#include "augment/curate/composed.h"
#include "augment/paths.h"

struct di_remembering {
    const di_step *step;
    const di_remembering_kind *kind;
    di_look look;
    dk_strbuf composed; /* the text that is looked at */
    char *path;
    void *index; /* NULL = not open */
};

int32_t di_remembering_create(const di_step *step, const di_remembering_kind *kind, void **state, dk_error *err)
{
    di_remembering *r = NULL;
    int32_t rc = DK_OK;
    if (kind->check) DK_TRY(kind->check(step, err));
    DK_TRY(dk_new(step->host, 1, &r, err));
    r->step = step;
    r->kind = kind;
    di_look_init(&r->look, step, 1);
    dk_strbuf_init(&r->composed, step->host);
    DK_TRY(di_step_path(step, kind->file, &r->path, err));
    *state = r;
    return DK_OK;
out:
    if (r) di_remembering_free(r);
    return rc;
}

static void close_index(di_remembering *r)
{
    if (r->index) r->kind->close(r->index);
    r->index = NULL;
}

void di_remembering_free(void *state)
{
    di_remembering *r = state;
    close_index(r);
    di_look_free(&r->look);
    dk_strbuf_free(&r->composed);
    dk_free(r->step->host, r->path);
    dk_free(r->step->host, r);
}

int32_t di_remembering_apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    di_remembering *r = state;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < count; i++) {
        const char *text, *why = "no_such_field";
        size_t size;
        DK_TRY(di_look_at(&r->look, in[i], &text, &size, err));
        if (text) DK_TRY(di_compose(&r->composed, &text, &size, err));
        if (text) DK_TRY(r->kind->judge(r->index, text, size, in[i], flow, &why, err));
        DK_TRY(di_keep_or_drop(flow, &in[i], why, err));
    }
out:
    return rc;
}

int32_t di_remembering_save(void *state, dk_strbuf *json, dk_error *err)
{
    di_remembering *r = state;
    di_kept_state kept;
    int32_t rc;
    if (!r->index) return dk_strbuf_puts(json, "null"), DK_OK; /* a run that goes on behind it, for good */
    rc = r->kind->flush(r->index, &kept, err);
    if (!rc) dk_strbuf_printf(json, "{\"records\":%lld,\"crc\":%u}", (long long)kept.records, (unsigned)kept.crc);
    return rc;
}

int32_t di_remembering_restore(void *state, const dk_node *saved, dk_error *err)
{
    di_remembering *r = state;
    const dk_node *records = dk_node_get(saved, "records"), *crc = dk_node_get(saved, "crc");
    if (saved && !(records && crc && records->type == DK_NODE_INT && crc->type == DK_NODE_INT))
        return dk_fail(err, DK_E_FORMAT, "%s: what was kept is not said: begin anew with augment.overwrite", r->path);
    const di_kept_state at = {saved ? records->i64 : 0, saved ? (uint32_t)crc->i64 : 0};
    close_index(r);
    return r->kind->open(r->step, r->path, saved ? &at : NULL, &r->index, err);
}

int32_t di_remembering_remove(void *state, dk_error *err)
{
    di_remembering *r = state;
    close_index(r);
    return di_path_remove(r->path, err);
}
