/* expand_continue.c - expand: continue. A text, or its first tokens, goes on as the teacher writes it. */
#include "augment/ask.h"

typedef struct expand_continue {
    const di_step *step;
    di_asker asker;
    int64_t prefix; /* tokens of the text that it goes on from; 0 = all */
} expand_continue;

static void free_state(void *state)
{
    expand_continue *e = state;
    di_asker_close(&e->asker);
    dk_free(e->step->host, e);
}

static int32_t prompt(void *state, const di_record *record, di_ids *out, int32_t *what, const char **why, dk_error *err)
{
    expand_continue *e = state;
    const int64_t bos = e->step->encoder->bos >= 0;
    size_t size;
    const char *text = di_record_text(record, "text", &size);
    int32_t rc;
    if (!text || di_record_what(record) != DI_RECORD_TEXT) {
        *what = e->asker.passes_on ? DI_PASSED_ON : DI_DROPPED;
        *why = "no_text";
        return DK_OK;
    }
    DK_TRY(di_prompt_text(e->step, text, size, out, err));
    if (e->prefix && out->count > e->prefix + bos) out->count = e->prefix + bos;
    if (!out->count) *what = DI_DROPPED, *why = "empty";
out:
    return rc;
}

/* The words that were asked with, and those that came. */
static int32_t take(void *state, di_record *child, const di_answer *answer, const char **why, dk_error *err)
{
    expand_continue *e = state;
    size_t size;
    const char *text = di_record_text(child, "text", &size);
    const int64_t bos = e->step->encoder->bos >= 0;
    di_ids ids = {.count = 0};
    dk_strbuf whole;
    int32_t rc;
    (void)why;
    dk_strbuf_init(&whole, child->host);
    if (!e->prefix) {
        dk_strbuf_append(&whole, text, size);
    } else {
        DK_TRY(di_prompt_text(e->step, text, size, &ids, err));
        const int64_t count = ids.count - bos < e->prefix ? ids.count - bos : e->prefix;
        DK_TRY(dk_tokenizer_decode_to(e->step->tokenizer, ids.ids + bos, count, DK_DECODE_SKIP_SPECIAL, &whole, err));
    }
    dk_strbuf_append(&whole, answer->text.data, answer->text.size);
    DK_TRY(dk_strbuf_check(&whole, err));
    rc = di_record_set_text(child, "text", whole.data, whole.size, err);
out:
    dk_strbuf_free(&whole);
    dk_free(child->host, ids.ids);
    return rc;
}

static int32_t create(const di_step *step, void **state, dk_error *err)
{
    expand_continue *e = NULL;
    int32_t rc;
    DK_TRY(dk_new(step->host, 1, &e, err));
    e->step = step;
    e->prefix = di_options_i64(step->options, "prefix_tokens");
    e->asker = (di_asker){.step = step,
                          .state = e,
                          .passes_on = di_options_flag(step->options, "originals"),
                          .prompt = prompt,
                          .take = take};
    DK_TRY(di_generator_create(step, 0, &e->asker.generator, err));
    *state = e;
    return DK_OK;
out:
    if (e) free_state(e);
    return rc;
}

static int32_t apply(void *state, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    return di_asker_apply(&((expand_continue *)state)->asker, in, count, flow, err);
}

static int32_t show(void *state, const di_record *record, dk_strbuf *out, dk_error *err)
{
    return di_asker_show(&((expand_continue *)state)->asker, record, out, err);
}

const di_operator_functions di_expand_continue = {.create = create, .free = free_state, .apply = apply, .show = show};
