#include "teacher/teacher_parts.h"

#include <string.h>

enum { HASH_NONE, HASH_WRITING, HASH_KEPT };

di_teacher *di_teacher_retain(di_teacher *t)
{
    atomic_fetch_add_explicit(&t->references, 1, memory_order_relaxed);
    return t;
}

void di_teacher_release(di_teacher *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->references, 1, memory_order_acq_rel) > 1) return;
    dk_host *host = t->host;
    if (t->state) t->kind->free(t);
    dk_tokenizer_release(t->tokenizer);
    dk_free(host, t->path);
    dk_free(host, t);
    dk_host_release(host);
}

int32_t di_teacher_create(dk_backend *backend, const di_teacher_kind *kind, const char *path, di_teacher **out,
                          dk_error *err)
{
    di_teacher *t = NULL;
    int32_t rc = dk_new(backend->host, 1, &t, err);
    if (rc != DK_OK) return rc;
    atomic_init(&t->references, 1);
    atomic_init(&t->hash_state, HASH_NONE);
    t->host = dk_host_retain(backend->host);
    t->backend = backend;
    t->kind = kind;
    if (!(t->path = dk_strdup(t->host, path))) {
        di_teacher_release(t);
        return dk_fail_nomem(err, strlen(path) + 1);
    }
    *out = t;
    return DK_OK;
}

/* ---- what is known about it ---- */

di_facts di_teacher_facts(const di_teacher *t)
{
    di_facts facts = {-1, -1, -1, -1, -1, -1, -1, -1};
    t->kind->describe(t, &facts);
    return facts;
}

int64_t di_teacher_vocab(const di_teacher *t)
{
    const int64_t width = di_teacher_facts(t).vocab_size;
    return width >= 0 ? width : INT32_MAX; /* sparse targets name ids, not a width */
}

int64_t di_teacher_vocab_valid(const di_teacher *t)
{
    const int64_t valid = di_teacher_facts(t).vocab_valid;
    return valid >= 0 ? valid : INT32_MAX;
}

dk_model *di_teacher_model(const di_teacher *t) { return t->kind->model ? t->kind->model(t) : NULL; }

dk_tokenizer *di_teacher_tokenizer(const di_teacher *t) { return t->tokenizer; }

const distill_target *di_teacher_form(const di_teacher *t) { return t->kind->form(t); }

dk_host *di_teacher_host(const di_teacher *t) { return t->host; }

const char *di_teacher_kind_name(const di_teacher *t) { return t->kind->name; }

const char *di_teacher_path(const di_teacher *t) { return t->path; }

/* All weights are read for it: the first one is kept, and good until they change. */
int32_t di_teacher_hash(const di_teacher *t, char hex[65], dk_error *err)
{
    di_teacher *keeper = (di_teacher *)(uintptr_t)t;
    const int64_t version = di_teacher_version(t);
    int none = HASH_NONE;
    if (atomic_load_explicit(&keeper->hash_state, memory_order_acquire) == HASH_KEPT && t->hash_version == version) {
        memcpy(hex, t->hash, sizeof t->hash);
        return DK_OK;
    }
    const int32_t rc = t->kind->hash(t, hex, err);
    if (rc != DK_OK || t->kind->member || t->kind->from ||
        !atomic_compare_exchange_strong(&keeper->hash_state, &none, HASH_WRITING))
        return rc;
    memcpy(keeper->hash, hex, sizeof keeper->hash);
    keeper->hash_version = version;
    atomic_store_explicit(&keeper->hash_state, HASH_KEPT, memory_order_release);
    return DK_OK;
}

double di_teacher_flops(const di_teacher *t, int64_t tokens, int64_t mean_length)
{
    return t->kind->flops ? t->kind->flops(t, tokens, mean_length) : 0;
}

int32_t di_facts_get(const di_facts *facts, const char *owner, const char *key, int64_t *out, dk_error *err)
{
    const struct {
        const char *key;
        int64_t value;
    } table[] = {{"vocab_size", facts->vocab_size},
                 {"vocab_valid", facts->vocab_valid},
                 {"hidden_size", facts->hidden_size},
                 {"layers", facts->layers},
                 {"context_length", facts->context_length},
                 {"parameters", facts->parameters},
                 {"bytes", facts->bytes},
                 {"trainable_parameters", facts->trainable_parameters}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].key, key) != 0) continue;
        if (table[i].value < 0) return dk_fail(err, DK_E_NOT_FOUND, "%s has no %s", owner, key);
        *out = table[i].value;
        return DK_OK;
    }
    return dk_fail(err, DK_E_NOT_FOUND,
                   "key %s is not one of vocab_size, vocab_valid, hidden_size, layers, context_length, parameters, "
                   "trainable_parameters (of a student), bytes",
                   key);
}

int32_t di_teacher_get_i64(const di_teacher *t, const char *key, int64_t *out, dk_error *err)
{
    const di_facts facts = di_teacher_facts(t);
    return di_facts_get(&facts, t->kind->name, key, out, err);
}

/* Versions only grow, so that a sum over all that it is made of tells when one of them did. */
int64_t di_teacher_version(const di_teacher *t)
{
    int64_t sum = t->kind->version ? t->kind->version(t) : 0;
    di_member_view view;
    if (t->kind->from && t->kind->from(t)) sum += di_teacher_version(t->kind->from(t));
    for (int64_t i = 0; t->kind->member && t->kind->member(t, NULL, i, &view); i++)
        sum += di_teacher_version(view.teacher);
    return sum;
}

int32_t di_teacher_changes(const di_teacher *t)
{
    di_member_view member;
    if (t->kind->changes && t->kind->changes(t)) return 1;
    for (int64_t i = 0; t->kind->member && t->kind->member(t, NULL, i, &member); i++)
        if (di_teacher_changes(member.teacher)) return 1;
    return 0;
}

void di_teacher_tell_late(const di_teacher *t, int64_t steps)
{
    di_member_view member;
    if (t->kind->tell_late) t->kind->tell_late(t, steps);
    for (int64_t i = 0; t->kind->member && t->kind->member(t, NULL, i, &member); i++)
        di_teacher_tell_late(member.teacher, steps);
}

int32_t di_teacher_ahead(const di_teacher *t) { return t->kind->ahead && t->kind->ahead(t); }

int32_t di_teacher_shifted(const di_teacher *t)
{
    int32_t shifted = di_teacher_formed(t) || (t->kind->shifted && t->kind->shifted(t));
    di_member_view member;
    for (int64_t i = 0; !shifted && t->kind->member && t->kind->member(t, NULL, i, &member); i++)
        shifted = di_teacher_shifted(member.teacher);
    return shifted;
}

int32_t di_teacher_formed(const di_teacher *t) { return t->kind->formed && t->kind->formed(t); }

uint32_t di_teacher_goes_by(const di_teacher *t)
{
    uint32_t parts = t->kind->goes_by ? t->kind->goes_by(t) : 0;
    di_member_view view;
    if (t->kind->from && t->kind->from(t)) parts |= di_teacher_goes_by(t->kind->from(t));
    for (int64_t i = 0; t->kind->member && t->kind->member(t, NULL, i, &view); i++)
        parts |= di_teacher_goes_by(view.teacher);
    return parts;
}

int32_t di_teacher_check_new_text(const di_teacher *t, dk_error *err)
{
    di_member_view view;
    int32_t rc = t->kind->new_text ? t->kind->new_text(t, err) : DK_OK;
    if (!rc && t->kind->from && t->kind->from(t)) rc = di_teacher_check_new_text(t->kind->from(t), err);
    for (int64_t i = 0; !rc && t->kind->member && t->kind->member(t, NULL, i, &view); i++)
        rc = di_teacher_check_new_text(view.teacher, err);
    return rc;
}

int32_t di_teacher_check_origin(const di_teacher *t, const char *source, const char *tag, dk_error *err)
{
    di_member_view view;
    int64_t only = -1;
    int32_t rc = t->kind->routes ? t->kind->routes(t, source, tag, &only, err) : DK_OK;
    if (t->kind->routes && only < 0) return rc;
    for (int64_t i = 0; !rc && t->kind->member && t->kind->member(t, NULL, i, &view); i++)
        if (only < 0 || i == only) rc = di_teacher_check_origin(view.teacher, source, tag, err);
    return rc;
}

/* *left counts down to the one that is looked for. */
static const char *find_mapped(const di_teacher *t, int64_t *left, int32_t *is_tag)
{
    const char *found = NULL;
    di_member_view view;
    for (int64_t i = 0; t->kind->mapped && (found = t->kind->mapped(t, i, is_tag)); i++)
        if (!(*left)--) return found;
    for (int64_t i = 0; !found && t->kind->member && t->kind->member(t, NULL, i, &view); i++)
        found = find_mapped(view.teacher, left, is_tag);
    return found;
}

const char *di_teacher_mapped(const di_teacher *t, int64_t index, int32_t *is_tag)
{
    return find_mapped(t, &index, is_tag);
}

/* ---- text ---- */

int32_t di_teacher_generate_to(di_teacher *t, const distill_batch *prompts, const di_options *options,
                               const distill_options *user_options, const di_reader *reader, dk_error *err)
{
    int32_t rc = di_options_check(options, 1 << DI_GENERATE, err);
    return rc == DK_OK ? t->kind->generate(t, prompts, options, user_options, reader, err) : rc;
}

int32_t di_teacher_generate(di_teacher *t, const distill_batch *prompts, const di_options *options,
                            const distill_options *user_options, distill_token_fn fn, void *user, dk_error *err)
{
    const di_reader reader = {.fn = fn, .user = user};
    return di_teacher_generate_to(t, prompts, options, user_options, &reader, err);
}

int32_t di_teacher_draws(const di_teacher *t)
{
    return t->kind->draws ? t->kind->draws(t) : di_teacher_model(t) != NULL;
}

int32_t di_teacher_write(di_teacher *t, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err)
{
    if (!t->kind->write) return dk_fail(err, DK_E_UNSUPPORTED, "this teacher does not write ids alone");
    return t->kind->write(t, prompts, args, err);
}
