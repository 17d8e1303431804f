/* checkpoint_save.c - a training run as a folder, so that going on gives bitwise what not stopping would have given.
 *
 *   step-00000100/student/...                      the student in fp32, as an HF folder (or what a host's save wrote)
 *                 optimizer/model.safetensors      AdamW's moments, "m.<parameter>" and "v.<parameter>", fp32 or bf16
 *                 projections/model.safetensors    of losses on features, where there are some, with their moments
 *                 replay/model.safetensors         texts of the student that are kept, where there are some
 *                 preference/model.safetensors     what was said of pairs, where a loss compares them
 *                 average/...                      the moving average of the weights, as student/ is, where one teaches
 *                 state.json                       step, data, seed, counters, options, and size and CRC-32C of every
 *                                                  file above, and of itself
 *
 * The folder is filled beside its place and renamed, so it is whole or not there. The cursor is the step: batch k is a
 * pure function of (data, seed, k), and a checkpoint is only written between steps. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "format/checkpoint.h"
#include "run/checkpoint_parts.h"

/* ---- writing ---- */

typedef struct moments {
    const di_trainer *t;
    const dk_model *model;
    int64_t *parameter; /* [count] of each tensor */
    di_saving *saving;
    uint64_t done;
    void **whole; /* [2 * parameters] put together from the ranks' shares; NULL = the optimizer has all */
} moments;

static int32_t fill_moment(void *user, int64_t index, uint64_t offset, void *out, uint64_t size, dk_error *err)
{
    moments *m = user;
    dk_view view = dk_optimizer_moment(m->t->update.optimizer, m->parameter[index], (int32_t)(index % 2));
    dk_queue queue;
    int64_t count = dk_view_count(&view);
    int32_t rc;
    if (m->whole) {
        memcpy(out, (const char *)m->whole[2 * m->parameter[index] + index % 2] + offset, size);
        m->done += size;
        di_saving_tell(m->saving, m->done, 0);
        return DK_OK;
    }
    DK_TRY(dk_queue_open(&queue, m->t->backend, err));
    const uint64_t each = dk_dtype_size(view.dtype);
    view = dk_view_rows(dk_view_reshape(view, 1, &count), (int64_t)(offset / each), (int64_t)(size / each));
    m->t->backend->ops->copy_out(&queue, view, out);
    DK_TRY(dk_queue_wait(&queue, err));
    m->done += size;
    di_saving_tell(m->saving, m->done, 0);
out:
    dk_queue_close(&queue);
    return rc;
}

static int32_t moment_specs(const di_trainer *t, const dk_model *model, dk_tensor_spec *specs, int64_t *parameter,
                            int64_t *count, dk_error *err)
{
    *count = 0;
    for (int64_t i = 0; i < model->parameter_count; i++) {
        for (int32_t second = 0; second < 2; second++) {
            dk_view view = dk_optimizer_moment(t->update.optimizer, i, second);
            if (!dk_view_present(view)) continue;
            dk_tensor_spec *spec = &specs[*count];
            const dk_view *value = &model->parameters[i].value; /* a share is one row of it */
            *spec = (dk_tensor_spec){.dtype = view.dtype, .rank = value->rank};
            memcpy(spec->shape, value->shape, sizeof value->shape);
            parameter[(*count)++] = i;
            if (!(spec->name = di_moment_name(t->host, model->parameters[i].name, second)))
                return dk_fail_nomem(err, 64);
        }
    }
    return DK_OK;
}

static int32_t write_moments(di_trainer *t, di_saving *saving, void **whole, const char *folder, dk_error *err)
{
    dk_model *model = di_student_model(t->student);
    moments m = {.t = t, .model = model, .saving = saving, .whole = whole};
    dk_tensor_spec *specs = NULL;
    char *path = dk_path_join(t->host, folder, "optimizer");
    int64_t count = 0;
    int32_t rc;
    if (!path) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(dk_dir_create(t->host, path, err));
    DK_TRY(dk_new(t->host, 2 * model->parameter_count + 1, &specs, err));
    DK_TRY(dk_new(t->host, 2 * model->parameter_count + 1, &m.parameter, err));
    DK_TRY(moment_specs(t, model, specs, m.parameter, &count, err));
    dk_safetensors_args args = {specs, count, fill_moment, &m, 0};
    if (count) DK_TRY(dk_safetensors_write(t->host, path, &args, NULL, err));
out:
    for (int64_t i = 0; i < count; i++) dk_free(t->host, (void *)(uintptr_t)specs[i].name);
    dk_free(t->host, specs);
    dk_free(t->host, m.parameter);
    dk_free(t->host, path);
    return rc;
}

/* ---- the list of files ---- */

typedef struct lister {
    dk_host *host;
    const char *folder, *prefix; /* prefix: "student/" */
    dk_strbuf *out;
} lister;

static int32_t list_file(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    lister *l = user;
    uint64_t size = 0;
    uint32_t crc = 0;
    if (is_dir) return DK_OK;
    char *path = dk_path_join(l->host, l->folder, name);
    int32_t rc = path ? di_file_checksum(l->host, path, &size, &crc, err) : dk_fail_nomem(err, strlen(name));
    dk_free(l->host, path);
    if (rc != DK_OK) return rc;
    dk_strbuf_printf(l->out, "%s\n  {\"name\":\"%s%s\",\"bytes\":%llu,\"crc32c\":%u}",
                     l->out->data[l->out->size - 1] == '[' ? "" : ",", l->prefix, name, (unsigned long long)size,
                     (unsigned)crc);
    return DK_OK;
}

static int32_t list_files(dk_host *host, const char *folder, dk_strbuf *out, dk_error *err)
{
    static const char *const parts[] = {"student", "optimizer", "projections", "replay", "preference", "average"};
    int32_t rc = DK_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && rc == DK_OK; i++) {
        char prefix[16], *path = dk_path_join(host, folder, parts[i]);
        lister l = {host, path, prefix, out};
        if (!path) return dk_fail_nomem(err, strlen(folder));
        snprintf(prefix, sizeof prefix, "%s/", parts[i]);
        if (dk_path_exists(path)) rc = dk_dir_list(host, path, list_file, &l, err);
        dk_free(host, path);
    }
    return rc;
}

static void list_frozen(const dk_model *model, dk_strbuf *out)
{
    dk_strbuf_puts(out, ",\"frozen\":[");
    for (int64_t i = 0, count = 0; model && i < model->parameter_count; i++) {
        const dk_parameter *parameter = &model->parameters[i];
        if (!parameter->frozen) continue;
        if (count++) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, parameter->name, strlen(parameter->name));
    }
    dk_strbuf_puts(out, "]");
}

static void number(dk_strbuf *out, const char *before, double value)
{
    dk_strbuf_puts(out, before);
    if (isfinite(value)) dk_strbuf_f64(out, value);
    else dk_strbuf_puts(out, "null");
}

/* What the result says of the last step, should no other one follow. */
static void describe_last(const di_trainer *t, dk_strbuf *out)
{
    const di_loss_sums *sums = &t->objective.sums;
    dk_strbuf_printf(out, ",\"floored\":%lld,\"last\":{", (long long)t->objective.floored);
    number(out, "\"loss\":", t->counters.last_loss);
    number(out, ",\"grad_norm\":", t->update.grad_norm);
    number(out, ",\"weight_sum\":", sums->weight_sum);
    if (t->preference.on) {
        dk_strbuf_printf(out, ",\"pairs\":%lld,\"preferred\":%lld", (long long)sums->pairs, (long long)sums->preferred);
        number(out, ",\"margin\":", sums->margin);
    }
    dk_strbuf_printf(out,
                     ",\"count\":%lld,\"step\":%lld,\"of\":%d,\"teacher_kind\":%d,\"without_entropy\":%d,\"terms\":[",
                     (long long)sums->count, (long long)sums->step, (int)sums->of, (int)sums->teacher_kind,
                     (int)sums->without_entropy);
    for (int64_t i = 0; i < di_loss_count(t->objective.loss); i++) number(out, i ? "," : "", sums->terms[i]);
    dk_strbuf_puts(out, "]}");
}

/* What the teacher's members had to say so far. */
static void describe_members(const di_trainer *t, dk_strbuf *out)
{
    dk_strbuf name;
    dk_strbuf_init(&name, t->host);
    dk_strbuf_puts(out, ",\"members\":[");
    for (int64_t i = 0; i < t->members.count; i++) {
        const di_tally *tally = &t->members.total[i];
        dk_strbuf_clear(&name);
        di_teacher_member_name(t->teacher, i, &name);
        out->failed |= name.failed;
        dk_strbuf_puts(out, i ? ",{\"name\":" : "{\"name\":");
        dk_strbuf_json(out, name.data ? name.data : "", name.size);
        dk_strbuf_printf(out, ",\"asked\":%lld,\"rows\":%lld", (long long)tally->asked, (long long)tally->rows);
        number(out, ",\"weight\":", tally->weight);
        dk_strbuf_puts(out, "}");
    }
    dk_strbuf_puts(out, "]");
    dk_strbuf_free(&name);
}

static void describe_learned(const di_trainer *t, dk_strbuf *out)
{
    if (!t->learned.count) return;
    dk_strbuf_printf(out, ",\"learned\":{\"updates\":%lld,\"window\":%lld,\"updated\":%lld",
                     (long long)t->learned.updates, (long long)t->learned.window, (long long)t->learned.updated);
    number(out, ",\"nats\":", t->learned.nats);
    dk_strbuf_puts(out, ",\"weights\":{");
    for (int64_t i = 0; i < t->learned.count; i++) {
        const char *name = di_teacher_learned_name(t->teacher, i);
        if (i) dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, name, strlen(name));
        number(out, ":", t->learned.weights[i]);
    }
    dk_strbuf_puts(out, "}}");
}

static void describe_balance(const di_trainer *t, dk_strbuf *out)
{
    const di_balance *b = &t->balance;
    if (!b->on) return;
    number(out, ",\"balance\":{\"share\":", b->share);
    number(out, ",\"factor\":", b->factors[1]);
    number(out, ",\"means\":[", b->means[0]);
    number(out, ",", b->means[1]);
    number(out, "],\"norms\":[", b->norms[0]);
    number(out, ",", b->norms[1]);
    dk_strbuf_puts(out, "]}");
}

static int32_t state_json(di_run *run, const char *folder, dk_strbuf *out, dk_error *err)
{
    di_trainer *t = run->trainer;
    char data[65], eval[65] = "", cblas[128];
    const char *teacher;
    int32_t rc;
    dk_backend_cblas(cblas, sizeof cblas);
    DK_TRY(di_dataset_hash(t->data.train, data, err));
    if (t->data.eval) DK_TRY(di_dataset_hash(t->data.eval, eval, err));
    dk_strbuf_printf(out, "{\"format\":\"%s\",\"version\":%d,\"library\":\"%s\",\"step\":%lld,\"tokens\":%lld",
                     DI_CHECKPOINT_FORMAT, DI_CHECKPOINT_VERSION, DISTILL_VERSION, (long long)t->counters.step,
                     (long long)t->counters.tokens);
    dk_strbuf_printf(
        out,
        ",\"optimizer_step\":%lld,\"seed\":%llu,\"batch_size\":%lld,\"by_epoch\":%s,\"data\":\"%s\",\"eval\":\"%s\"",
        (long long)(t->update.optimizer ? dk_optimizer_step(t->update.optimizer) : t->counters.step),
        (unsigned long long)t->data.seed, (long long)t->data.batch_size, t->data.epochs.total ? "true" : "false", data,
        eval);
    dk_strbuf_puts(out, ",\"seconds\":");
    dk_strbuf_f64(out, t->counters.seconds);
    dk_strbuf_puts(out, ",\"flops\":");
    dk_strbuf_f64(out, t->counters.flops);
    dk_strbuf_printf(out, ",\"best\":{\"step\":%lld,\"without\":%lld,\"value\":", (long long)run->evaluation.best.step,
                     (long long)run->evaluation.best.without);
    dk_strbuf_f64(out, run->evaluation.best.value);
    dk_strbuf_printf(out, ",\"by\":\"%s\"", di_measure_name(run->evaluation.best.by));
    dk_strbuf_printf(out,
                     "},\"machine\":{\"backend\":\"%s\",\"isa\":%d,\"threads\":%lld,\"cblas\":\"%s\","
                     "\"products\":\"%s\",\"ranks\":%lld}",
                     t->backend->name, (int)t->backend->isa, (long long)dk_host_threads(t->host), cblas,
                     t->backend->products, (long long)dk_ranks(t->host));
    dk_strbuf_printf(out, ",\"evaluated\":%lld,\"changes\":[%s]", (long long)run->evaluation.evaluated,
                     run->changes.size ? run->changes.data : "");
    describe_last(t, out);
    describe_members(t, out);
    describe_learned(t, out);
    describe_balance(t, out);
    di_on_policy_state_write(t, out);
    DK_TRY(di_preference_state(t, out, err));
    list_frozen(di_student_model(t->student), out);
    if (t->shape.choice.size) {
        dk_strbuf_puts(out, ",\"shape\":");
        dk_strbuf_append(out, t->shape.choice.data, t->shape.choice.size);
    }
    DK_TRY(di_run_manifest(run, &teacher, err));
    dk_strbuf_puts(out, ",\"teacher\":");
    dk_strbuf_puts(out, teacher);
    dk_strbuf_puts(out, ",\"options\":");
    DK_TRY(di_options_write_json(t->options, 0, out, err));
    dk_strbuf_puts(out, ",\"files\":[");
    DK_TRY(dk_strbuf_check(out, err));
    DK_TRY(list_files(t->host, folder, out, err));
    DK_TRY(dk_strbuf_check(out, err));
    uint32_t crc = dk_crc32c(0, out->data, out->size);
    dk_strbuf_printf(out, "%s%u}\n", DI_CHECKPOINT_SEAL, (unsigned)crc);
    DK_TRY(dk_strbuf_check(out, err));
out:
    return rc;
}

static int32_t write_state(di_run *run, const char *folder, dk_error *err)
{
    di_trainer *t = run->trainer;
    char *path = dk_path_join(t->host, folder, "state.json");
    dk_strbuf json;
    int32_t rc;
    dk_strbuf_init(&json, t->host);
    if (!path) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(state_json(run, folder, &json, err));
    DK_TRY(dk_file_replace(t->host, path, json.data, json.size, err));
out:
    dk_strbuf_free(&json);
    dk_free(t->host, path);
    return rc;
}

static uint64_t bytes_of_moments(const di_trainer *t)
{
    const dk_model *model = di_student_model(t->student);
    uint64_t bytes = 0;
    for (int64_t i = 0; model && t->update.own_optimizer && i < 2 * model->parameter_count; i++) {
        dk_view view = dk_optimizer_moment(t->update.optimizer, i / 2, (int32_t)(i % 2));
        if (dk_view_present(view))
            bytes += (uint64_t)dk_view_count(&model->parameters[i / 2].value) * dk_dtype_size(view.dtype);
    }
    return bytes;
}

static int32_t save(di_run *run, void **whole, const char *path, dk_error *err)
{
    di_trainer *t = run->trainer;
    const dk_model *model = di_student_model(t->student);
    const uint64_t weights = model ? (uint64_t)dk_model_elements(model) * sizeof(float) : 0;
    di_saving saving = {.run = run, .total = weights + bytes_of_moments(t)};
    static const di_files exact = {.folder = 1, .folder_type = DK_F32};
    dk_staged staged = {.path = NULL};
    char *student = NULL;
    int32_t rc;
    if (t->window.stage != DI_STAGE_IDLE)
        return dk_fail(err, DK_E_STAGE, "a window is open: a checkpoint is written between windows, after apply");
    DK_TRY(dk_dir_stage(t->host, path, &staged, err));
    if (!(student = dk_path_join(t->host, staged.path, "student"))) {
        rc = dk_fail_nomem(err, strlen(staged.path));
        goto out;
    }
    DK_TRY(di_saving_student(&saving, student, &exact, err));
    saving.before = weights;
    if (t->update.optimizer && t->update.own_optimizer) DK_TRY(write_moments(t, &saving, whole, staged.path, err));
    DK_TRY(di_projections_save(t, staged.path, err));
    DK_TRY(di_replay_save(t, staged.path, err));
    DK_TRY(di_preference_save(t, staged.path, err));
    DK_TRY(di_average_save(t, staged.path, err));
    DK_TRY(write_state(run, staged.path, err));
    DK_TRY(dk_dir_commit(t->host, &staged, path, err));
out:
    if (rc != DK_OK) dk_hide_temporary(err);
    dk_free(t->host, student);
    dk_staged_end(t->host, &staged);
    return rc;
}

int32_t di_checkpoint_save(di_run *run, const char *path, dk_error *err)
{
    void **whole = NULL;
    int32_t rc;
    DK_TRY(di_whole_moments(run->trainer, &whole, err));
    if (dk_rank(run->host) == 0) rc = save(run, whole, path, err);
    if (!dk_ranks_lost(run->host)) rc = dk_ranks_agree(run->host, rc, err);
out:
    di_whole_moments_free(run->trainer, whole);
    return rc;
}
