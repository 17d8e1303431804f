/* checkpoint_match.c - does a checkpoint belong to this run? What would make another run of it is refused; what may
 * change on the way (the teacher, the rate, ...) is told, one line each, and kept for result.json. */
#include <stdio.h>
#include <string.h>

#include "run/checkpoint_parts.h"

typedef struct matcher {
    di_run *run;
    const char *name; /* of state.json, for messages */
    di_options *before;
    const di_options *now;
    int64_t step;
    dk_strbuf old_text, new_text; /* of the option at hand */
    dk_strbuf scratch;
} matcher;

static const char *shown(const dk_strbuf *text) { return text->size ? text->data : "not given"; }

/* What an evaluation's numbers hang on beside the student. */
static int32_t measures(const char *what)
{
    return strstr(what, "the teacher") || strcmp(what, "data.eval") == 0 || strcmp(what, "train.eval_tokens") == 0 ||
           strcmp(what, "train.eval_precision") == 0;
}

static int32_t tell_change(matcher *m, const char *what, const char *from, const char *to, dk_error *err)
{
    dk_strbuf *out = &m->run->changes;
    m->run->evaluation.incomparable |= measures(what);
    dk_log(m->run->host, DK_LOG_WARN, "checkpoint", "going on from step %lld with %s changed: %s -> %s",
           (long long)m->step, what, from, to);
    dk_strbuf_printf(out, "%s{\"step\":%lld,\"what\":", out->size ? "," : "", (long long)m->step);
    dk_strbuf_json(out, what, strlen(what));
    dk_strbuf_puts(out, ",\"from\":");
    dk_strbuf_json(out, from, strlen(from));
    dk_strbuf_puts(out, ",\"to\":");
    dk_strbuf_json(out, to, strlen(to));
    dk_strbuf_puts(out, "}");
    return dk_strbuf_check(out, err);
}

static int32_t refuse(const matcher *m, const char *what, const char *from, const char *to, dk_error *err)
{
    return dk_fail(err, DK_E_MISMATCH,
                   "%s was made with %s %s, now it is %s: give the old value, or begin a new run with student.path at "
                   "the checkpoint's student",
                   m->name, what, from, to);
}

/* ---- options ---- */

typedef enum { SILENT, TOLD, REFUSED } judgement;

static int32_t begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

static int32_t ends(const char *text, const char *with)
{
    size_t size = strlen(text), tail = strlen(with);
    return size >= tail && strcmp(text + size - tail, with) == 0;
}

static judgement judge(const di_option_info *option)
{
    static const char *const silent[] = {"output.",          "generate.",    "train.checkpoint_",
                                         "train.log_every",  "data.train",   "data.eval",
                                         "data.token_cache", "teacher.path", "name"};
    static const char *const refused[] = {
        "train.seed",          "train.batch_size",        "student.layers",
        "student.layers_by",   "student.heads",           "student.intermediate_size",
        "student.hidden_size", "student.importance",      "student.calibration_tokens",
        "student.vocabulary",  "student.vocabulary_text", "student.init_std"};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (strcmp(option->name, refused[i]) == 0) return REFUSED;
    if (strcmp(option->name, "student.freeze") == 0) return SILENT; /* what it froze is compared instead */
    if (ends(option->name, ".mmap")) return SILENT;
    if (begins(option->name, "loss.")) return option->flags & DI_OPTION_LIVE ? TOLD : REFUSED;
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
        if (begins(option->name, silent[i])) return SILENT;
    return TOLD;
}

/* A section has a line per key: "pt: path: a/; en: path: b/". */
static void on_one_line(dk_strbuf *text, dk_strbuf *scratch)
{
    dk_strbuf_clear(scratch);
    for (const char *at = text->data; at && *at;) {
        const size_t size = strcspn(at, "\n");
        if (scratch->size) dk_strbuf_puts(scratch, scratch->data[scratch->size - 1] == ':' ? " " : "; ");
        dk_strbuf_append(scratch, at, size);
        at += size;
        at += strspn(at, "\n ");
    }
    dk_strbuf_clear(text);
    dk_strbuf_append(text, scratch->data, scratch->size);
    text->failed |= scratch->failed;
}

/* Both values as text, and whether they differ. */
static int32_t texts_of(matcher *m, const char *key, int32_t *differ, dk_error *err)
{
    dk_error absent; /* a term that one of them does not have */
    int32_t rc;
    dk_strbuf_clear(&m->old_text);
    dk_strbuf_clear(&m->new_text);
    if (di_options_get(m->before, key, &m->old_text, &absent) != DK_OK) dk_strbuf_clear(&m->old_text);
    if (di_options_get(m->now, key, &m->new_text, &absent) != DK_OK) dk_strbuf_clear(&m->new_text);
    on_one_line(&m->old_text, &m->scratch);
    on_one_line(&m->new_text, &m->scratch);
    DK_TRY(dk_strbuf_check(&m->old_text, err));
    DK_TRY(dk_strbuf_check(&m->new_text, err));
    *differ = strcmp(shown(&m->old_text), shown(&m->new_text)) != 0;
out:
    return rc;
}

static int32_t compare_key(matcher *m, const di_option_info *option, const char *key, dk_error *err)
{
    judgement verdict = judge(option);
    int32_t differ = 0, rc;
    if (verdict == SILENT) return DK_OK;
    DK_TRY(texts_of(m, key, &differ, err));
    if (!differ) return DK_OK;
    return verdict == REFUSED ? refuse(m, key, shown(&m->old_text), shown(&m->new_text), err)
                              : tell_change(m, key, shown(&m->old_text), shown(&m->new_text), err);
out:
    return rc;
}

static int32_t compare_terms(matcher *m, const di_option_info *option, dk_error *err)
{
    int64_t before = di_options_list_size(m->before, "loss"), now = di_options_list_size(m->now, "loss");
    const char *key = strchr(option->name, '.') + 1;
    int32_t rc = DK_OK;
    for (int64_t i = 0; i < before || i < now; i++) {
        dk_strbuf name;
        dk_strbuf_init(&name, m->run->host);
        dk_strbuf_printf(&name, "loss.%lld.%s", (long long)i, key);
        rc = dk_strbuf_check(&name, err);
        if (rc == DK_OK) rc = compare_key(m, option, name.data, err);
        dk_strbuf_free(&name);
        if (rc != DK_OK) break;
    }
    return rc;
}

static int32_t compare_options(matcher *m, dk_error *err)
{
    int32_t was_list = di_options_is_list(m->before, "loss"), is_list = di_options_is_list(m->now, "loss");
    int32_t rc = DK_OK;
    if (was_list != is_list)
        return refuse(m, "loss", was_list ? "a list of terms" : "a single term",
                      is_list ? "a list of terms" : "a single term", err);
    for (int64_t i = 0; i < di_option_count(); i++) {
        const di_option_info *option = di_option_at(i);
        if (is_list && begins(option->name, "loss.")) DK_TRY(compare_terms(m, option, err));
        else DK_TRY(compare_key(m, option, option->name, err));
    }
out:
    return rc;
}

static int32_t read_before(matcher *m, const dk_document *doc, dk_error *err)
{
    const dk_node *node = dk_node_get(dk_document_root(doc), "options");
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, m->run->host);
    DK_TRY(di_options_create(m->run->host, &m->before, err));
    if (!node) goto out;
    dk_node_write_json(node, &json);
    DK_TRY(dk_strbuf_check(&json, err));
    rc = di_options_parse(m->before, json.data, json.size, m->name, NULL, err);
out:
    dk_strbuf_free(&json);
    return rc;
}

/* ---- data, frozen parameters, teacher, machine ---- */

/* Other data: the option that makes it so, or else the content. */
static int32_t refuse_data(matcher *m, const char *before, const char *now, dk_error *err)
{
    static const char *const silent[] = {"data.train.", "data.mix.", "data.eval", "data.token_cache"};
    static const char *const lists[] = {"data.mix", "data.train"};
    int32_t differ = 0, rc = DK_OK;
    for (int64_t i = 0; i < di_option_count() + 2; i++) {
        const char *key = i < 2 ? lists[i] : di_option_at(i - 2)->name;
        int32_t skip = !begins(key, "data.");
        for (size_t k = 0; k < sizeof silent / sizeof *silent; k++)
            skip |= begins(key, silent[k]) && strcmp(key, "data.eval_fraction") != 0;
        if (skip) continue;
        DK_TRY(texts_of(m, key, &differ, err));
        if (differ) return refuse(m, key, shown(&m->old_text), shown(&m->new_text), err);
    }
    rc = dk_fail(err, DK_E_MISMATCH,
                 "%s was made with other data (hash %.12s, now %.12s): its batches would not be the same", m->name,
                 before, now);
out:
    return rc;
}

static int32_t check_data(matcher *m, const dk_document *doc, dk_error *err)
{
    const di_trainer *t = m->run->trainer;
    const dk_node *root = dk_document_root(doc);
    int64_t seed = 0, batch = 0;
    const char *hash = NULL;
    char own[65], from[32], to[32];
    int32_t by_epoch = 0, rc;
    DK_TRY(di_dataset_hash(t->data.train, own, err));
    DK_TRY(dk_node_text(doc, root, "data", "", &hash, err));
    DK_TRY(dk_node_i64(doc, root, "seed", 0, INT64_MAX, 0, &seed, err));
    DK_TRY(dk_node_i64(doc, root, "batch_size", 0, INT64_MAX, 0, &batch, err));
    DK_TRY(dk_node_bool(doc, root, "by_epoch", 0, &by_epoch, err));
    if ((uint64_t)seed != t->data.seed) {
        snprintf(from, sizeof from, "%lld", (long long)seed);
        snprintf(to, sizeof to, "%llu", (unsigned long long)t->data.seed);
        return refuse(m, "train.seed", from, to, err);
    }
    if (batch != t->data.batch_size) {
        snprintf(from, sizeof from, "%lld", (long long)batch);
        snprintf(to, sizeof to, "%lld", (long long)t->data.batch_size);
        return refuse(m, "train.batch_size", from, to, err);
    }
    if (by_epoch != (t->data.epochs.total > 0)) /* an epoch may end with a smaller batch */
        return refuse(m, "its length as", by_epoch ? "train.epochs" : "train.steps",
                      by_epoch ? "train.steps" : "train.epochs", err);
    if (strcmp(hash, own) != 0) return refuse_data(m, hash, own, err);
out:
    return rc;
}

static int32_t was_frozen(const dk_node *names, const char *name)
{
    for (size_t i = 0; names && i < names->size; i++)
        if (dk_node_is_text(dk_node_at(names, i), name)) return 1;
    return 0;
}

static int32_t check_frozen(const matcher *m, const dk_document *doc, dk_error *err)
{
    const dk_node *names = dk_node_get(dk_document_root(doc), "frozen");
    const dk_model *model = di_student_model(m->run->trainer->student);
    for (int64_t i = 0; model && i < model->parameter_count; i++) {
        const dk_parameter *parameter = &model->parameters[i];
        int32_t before = was_frozen(names, parameter->name);
        if (before == (parameter->frozen != 0)) continue;
        return dk_fail(err, DK_E_MISMATCH,
                       "%s was made with %s %s, now it is %s: give the same student.freeze, or begin a new run with "
                       "student.path at the checkpoint's student",
                       m->name, parameter->name, before ? "frozen" : "trained", before ? "trained" : "frozen");
    }
    return DK_OK;
}

/* What the evaluations before and after were made on. */
static int32_t check_eval(matcher *m, const dk_document *doc, dk_error *err)
{
    const di_trainer *t = m->run->trainer;
    const char *before = NULL;
    char now[65] = "";
    int32_t rc, differ = 0;
    DK_TRY(dk_node_text(doc, dk_document_root(doc), "eval", "", &before, err));
    if (t->data.eval) DK_TRY(di_dataset_hash(t->data.eval, now, err));
    if (strcmp(before, now) == 0) return DK_OK;
    DK_TRY(texts_of(m, "data.eval", &differ, err));
    dk_strbuf_printf(&m->old_text, " (%.12s)", *before ? before : "none");
    dk_strbuf_printf(&m->new_text, " (%.12s)", *now ? now : "none");
    DK_TRY(dk_strbuf_check(&m->old_text, err));
    DK_TRY(dk_strbuf_check(&m->new_text, err));
    rc = tell_change(m, "data.eval", m->old_text.data, m->new_text.data, err);
out:
    return rc;
}

static int32_t check_length(const matcher *m, dk_error *err)
{
    const long long steps = (long long)m->run->trainer->steps;
    if (m->step <= steps) return DK_OK;
    return dk_fail(err, DK_E_MISMATCH, "%s is of step %lld, the run has %lld steps: give train.steps %lld or more",
                   m->name, (long long)m->step, steps, (long long)m->step);
}

static int32_t tell_teacher(void *user, const char *what, const char *from, const char *to, dk_error *err)
{
    return tell_change(user, what, from, to, err);
}

static int32_t check_teacher(matcher *m, const dk_document *doc, dk_error *err)
{
    dk_document *now = NULL;
    const char *manifest;
    int32_t rc;
    DK_TRY(di_run_manifest(m->run, &manifest, err));
    DK_TRY(dk_json_parse(m->run->host, manifest, strlen(manifest), "the teacher's manifest", &now, err));
    rc = di_manifest_changes(m->run->host, dk_node_get(dk_document_root(doc), "teacher"), dk_document_root(now),
                             tell_teacher, m, err);
out:
    dk_document_free(now);
    return rc;
}

static int32_t same_numbers(const dk_node *a, const dk_node *b)
{
    const size_t size = a ? a->size : 0;
    if (size != (b ? b->size : 0)) return 0;
    for (size_t i = 0; i < size; i++)
        if (dk_node_at(a, i)->i64 != dk_node_at(b, i)->i64) return 0;
    return 1;
}

/* In another teacher other blocks and channels may matter. */
static int32_t check_shape(const matcher *m, const dk_document *doc, dk_error *err)
{
    static const char *const lists[] = {"layers", "hidden", "groups", "inner", "ids"};
    const dk_node *before = dk_node_get(dk_document_root(doc), "shape");
    const dk_strbuf *choice = &m->run->trainer->shape.choice;
    dk_document *now = NULL;
    int32_t rc = DK_OK;
    if (!before || !choice->size) return DK_OK;
    DK_TRY(dk_json_parse(m->run->host, choice->data, choice->size, "the student's shape", &now, err));
    for (size_t i = 0; i < sizeof lists / sizeof *lists && rc == DK_OK; i++)
        if (!same_numbers(dk_node_get(before, lists[i]), dk_node_get(dk_document_root(now), lists[i])))
            rc = dk_fail(err, DK_E_MISMATCH,
                         "%s was made with other %s of its teacher than matter most in this one: give that teacher, or "
                         "begin a new run with student.path at the checkpoint's student",
                         m->name, lists[i]);
out:
    dk_document_free(now);
    return rc;
}

static int32_t check_machine(const matcher *m, const dk_document *doc, dk_error *err)
{
    const dk_node *machine = dk_node_get(dk_document_root(doc), "machine");
    const di_trainer *t = m->run->trainer;
    int64_t threads = 0, isa = 0, ranks = 1;
    const char *cblas = NULL, *products = NULL;
    char here[128];
    int32_t rc;
    dk_backend_cblas(here, sizeof here);
    DK_TRY(dk_node_i64(doc, machine, "threads", 0, INT64_MAX, 0, &threads, err));
    DK_TRY(dk_node_i64(doc, machine, "isa", 0, INT64_MAX, 0, &isa, err));
    DK_TRY(dk_node_text(doc, machine, "cblas", "", &cblas, err));
    DK_TRY(dk_node_text(doc, machine, "products", "", &products, err));
    DK_TRY(dk_node_i64(doc, machine, "ranks", 1, INT64_MAX, 1, &ranks, err));
    const int32_t same_cblas = threads == dk_host_threads(t->host) && strcmp(cblas, here) == 0;
    if (isa != t->backend->isa || strcmp(products, t->backend->products) != 0 ||
        (strcmp(products, "cblas") == 0 && !same_cblas))
        dk_log(
            t->host, DK_LOG_WARN, "checkpoint",
            "%s was made on another machine, CBLAS or number of threads: going on is right, but not bitwise the same",
            m->name);
    if (ranks != dk_ranks(t->host))
        dk_log(t->host, DK_LOG_INFO, "checkpoint",
               "%s was made by %lld ranks and goes on with %lld: the same to rounding, not bitwise", m->name,
               (long long)ranks, (long long)dk_ranks(t->host));
out:
    return rc;
}

int32_t di_checkpoint_match(di_run *run, const dk_document *doc, int64_t step, dk_error *err)
{
    matcher m = {.run = run, .name = dk_document_name(doc), .now = run->trainer->options, .step = step};
    const dk_node *changes = dk_node_get(dk_document_root(doc), "changes");
    int32_t rc;
    dk_strbuf_init(&m.old_text, run->host);
    dk_strbuf_init(&m.new_text, run->host);
    dk_strbuf_init(&m.scratch, run->host);
    dk_strbuf_clear(&run->changes);
    for (size_t i = 0; changes && i < changes->size; i++) { /* those of before */
        if (i) dk_strbuf_puts(&run->changes, ",");
        dk_node_write_json(dk_node_at(changes, i), &run->changes);
    }
    DK_TRY(read_before(&m, doc, err));
    DK_TRY(check_data(&m, doc, err));
    DK_TRY(check_length(&m, err));
    DK_TRY(check_frozen(&m, doc, err));
    DK_TRY(compare_options(&m, err));
    DK_TRY(check_shape(&m, doc, err));
    DK_TRY(check_teacher(&m, doc, err));
    DK_TRY(check_eval(&m, doc, err));
    DK_TRY(check_machine(&m, doc, err));
out:
    di_options_free(m.before);
    dk_strbuf_free(&m.old_text);
    dk_strbuf_free(&m.new_text);
    dk_strbuf_free(&m.scratch);
    return rc;
}
