/* checkpoint_preference.c - what reference and teacher said of the pairs that a run learns from, in a checkpoint:
 * preference/model.safetensors has "reference", "teacher" and "eval" (by the reference, of held-out pairs), a number of
 * 8 bytes for each sequence of the data. state.json says whose they are. */
#include <string.h>

#include "base/file.h"
#include "format/checkpoint.h"
#include "run/checkpoint_parts.h"

static const char *const names[DI_SCORES] = {"reference", "teacher", "eval"};

static char *path_of(const di_trainer *t, const char *folder) { return dk_path_join(t->host, folder, "preference"); }

static int32_t asks_teacher(const di_trainer *t)
{
    return !strcmp(t->preference.by, "teacher") || di_preference_wants(t, DI_SCORES_TEACHER);
}

static int32_t is_known(const di_trainer *t) { return t->preference.scores[DI_SCORES_REFERENCE] != NULL; }

typedef struct source {
    const double *scores[DI_SCORES];
} source;

static int32_t fill(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    const source *s = user;
    (void)err;
    memcpy(out, (const uint8_t *)(const void *)s->scores[index] + offset, size);
    return DK_OK;
}

int32_t di_preference_save(const di_trainer *t, const char *folder, dk_error *err)
{
    dk_tensor_spec specs[DI_SCORES];
    source s;
    int64_t count = 0;
    char *path = NULL;
    int32_t rc = DK_OK;
    if (!is_known(t)) return DK_OK;
    if (!(path = path_of(t, folder))) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(dk_dir_create(t->host, path, err));
    for (int32_t i = 0; i < DI_SCORES; i++) {
        if (!t->preference.scores[i]) continue;
        specs[count] = (dk_tensor_spec){.dtype = DK_F64, .rank = 1, .name = names[i]};
        specs[count].shape[0] = di_dataset_sequence_count(di_preference_data(t, i));
        s.scores[count++] = t->preference.scores[i];
    }
    const dk_safetensors_args args = {specs, count, fill, &s, 0};
    DK_TRY(dk_safetensors_write(t->host, path, &args, NULL, err));
out:
    dk_free(t->host, path);
    return rc;
}

int32_t di_preference_state(const di_trainer *t, dk_strbuf *out, dk_error *err)
{
    char hash[65];
    int32_t rc = DK_OK;
    if (!is_known(t)) return DK_OK;
    dk_strbuf_printf(out, ",\"preference\":{\"reference\":\"%s\"", t->preference.by);
    if (asks_teacher(t)) {
        DK_TRY(di_teacher_hash(t->teacher, hash, err));
        dk_strbuf_printf(out, ",\"teacher\":\"%s\"", hash);
    }
    dk_strbuf_puts(out, "}");
out:
    return rc;
}

/* ---- reading ---- */

void di_kept_scores_free(dk_host *host, di_kept_scores *kept)
{
    for (int i = 0; i < DI_SCORES; i++) dk_free(host, kept->scores[i]);
}

static int32_t check_owner(const di_trainer *t, const dk_document *doc, const char *folder, dk_error *err)
{
    const dk_node *node = dk_node_get(dk_document_root(doc), "preference");
    const char *by = NULL, *teacher = NULL;
    char hash[65];
    int32_t rc;
    DK_TRY(dk_node_text(doc, node, "reference", "", &by, err));
    DK_TRY(dk_node_text(doc, node, "teacher", "", &teacher, err));
    if (strcmp(by, t->preference.by) != 0)
        return dk_fail(err, DK_E_MISMATCH,
                       "%s keeps log-probabilities of pairs by the reference %.16s, and loss.dpo.reference is %.16s: "
                       "give the old one, or begin a run of its own",
                       folder, by, t->preference.by);
    if (!asks_teacher(t) || !*teacher) goto out;
    DK_TRY(di_teacher_hash(t->teacher, hash, err));
    if (strcmp(hash, teacher) != 0)
        rc = dk_fail(err, DK_E_MISMATCH,
                     "%s keeps what the teacher %.16s said of pairs, and the teacher is %.16s now: give the old one, "
                     "or begin a run of its own",
                     folder, teacher, hash);
out:
    return rc;
}

static int32_t read(const di_trainer *t, const dk_checkpoint *file, int32_t i, double **out, dk_error *err)
{
    const dk_tensor *tensor = dk_checkpoint_find(file, names[i]);
    const uint64_t count = (uint64_t)di_dataset_sequence_count(di_preference_data(t, i));
    int32_t rc = DK_OK;
    if (!tensor && i == DI_SCORES_REFERENCE)
        return dk_fail(err, DK_E_FORMAT, "%s has no reference", dk_checkpoint_path(file));
    if (!tensor) goto out;
    if (tensor->dtype != DK_F64 || tensor->bytes != count * sizeof **out)
        return dk_fail(err, DK_E_MISMATCH, "%s: %s has %llu bytes, not a double for each of %llu sequences",
                       dk_checkpoint_path(file), names[i], (unsigned long long)tensor->bytes,
                       (unsigned long long)count);
    DK_TRY(dk_new(t->host, (int64_t)count, out, err));
    memcpy(*out, tensor->data, tensor->bytes);
out:
    return rc;
}

static int32_t same_eval(const di_trainer *t, const dk_document *doc, int32_t *same, dk_error *err)
{
    const char *before = NULL;
    char now[65];
    int32_t rc;
    DK_TRY(dk_node_text(doc, dk_document_root(doc), "eval", "", &before, err));
    DK_TRY(di_dataset_hash(t->data.eval, now, err));
    *same = !strcmp(before, now);
out:
    return rc;
}

/* A checkpoint of step 0 may have none: nobody was asked yet. */
int32_t di_preference_read(const di_trainer *t, const dk_document *doc, const char *folder, int64_t step,
                           di_kept_scores *out, dk_error *err)
{
    dk_checkpoint *file = NULL;
    char *path = NULL;
    int32_t rc = DK_OK, same = 1;
    if (!t->preference.on) return DK_OK;
    if (!(path = path_of(t, folder))) return dk_fail_nomem(err, strlen(folder));
    if (!dk_path_exists(path)) {
        if (step > 0)
            rc = dk_fail(err, DK_E_MISMATCH, "%s keeps no log-probabilities of pairs: it was made without loss dpo",
                         folder);
        goto out;
    }
    DK_TRY(check_owner(t, doc, folder, err));
    DK_TRY(dk_checkpoint_open(t->host, path, DK_OPEN_MMAP, &file, err));
    for (int32_t i = 0; i < DI_SCORES; i++) {
        if (i == DI_SCORES_EVAL && t->data.eval) DK_TRY(same_eval(t, doc, &same, err));
        if (di_preference_wants(t, i) && same) DK_TRY(read(t, file, i, &out->scores[i], err));
    }
out:
    dk_checkpoint_close(file);
    dk_free(t->host, path);
    return rc;
}

void di_preference_take(di_trainer *t, di_kept_scores *kept)
{
    di_preference *p = &t->preference;
    if (!p->on || (!kept->scores[DI_SCORES_REFERENCE] && strcmp(p->by, "initial") != 0)) return;
    for (int i = 0; i < DI_SCORES; i++) {
        dk_free(t->host, p->scores[i]);
        p->scores[i] = kept->scores[i];
        kept->scores[i] = NULL;
    }
    p->asked = 0; /* what is missing still */
}
