/* checkpoint_load.c - reading a checkpoint back: everything is opened, verified and compared before anything is
 * changed (what it is compared with: checkpoint_match.c). */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "format/checkpoint.h"
#include "run/checkpoint_parts.h"

int32_t di_file_checksum(dk_host *host, const char *path, uint64_t *size, uint32_t *crc, dk_error *err)
{
    dk_mapping map = {0};
    int32_t rc = dk_map_open(host, path, 1, &map, err);
    if (rc != DK_OK) return rc;
    *size = map.size;
    *crc = dk_crc32c(0, map.data, map.size);
    dk_map_close(&map);
    return DK_OK;
}

/* ---- the state and the files it names ---- */

static int32_t verify_file(dk_host *host, const char *folder, const dk_document *doc, const dk_node *file,
                           dk_error *err)
{
    const char *name = NULL;
    int64_t bytes = 0, crc = 0;
    uint64_t size = 0;
    uint32_t found = 0;
    char *path = NULL;
    int32_t rc;
    DK_TRY(dk_node_text(doc, file, "name", NULL, &name, err));
    DK_TRY(dk_node_i64(doc, file, "bytes", 0, INT64_MAX, 0, &bytes, err));
    DK_TRY(dk_node_i64(doc, file, "crc32c", 0, UINT32_MAX, 0, &crc, err));
    if (!name || name[0] == '/' || strstr(name, "..")) {
        rc = dk_fail(err, DK_E_FORMAT, "%s: a file is named %s", dk_document_name(doc), name ? name : "nothing");
        goto out;
    }
    if (!(path = dk_path_join(host, folder, name))) {
        rc = dk_fail_nomem(err, strlen(name));
        goto out;
    }
    DK_TRY(di_file_checksum(host, path, &size, &found, err));
    if (size != (uint64_t)bytes || found != (uint32_t)crc)
        rc = dk_fail(err, DK_E_FORMAT, "%s is damaged: %llu bytes with CRC-32C %08x, written were %lld with %08x", path,
                     (unsigned long long)size, (unsigned)found, (long long)bytes, (unsigned)crc);
out:
    dk_free(host, path);
    return rc;
}

/* state.json, whose last member is the checksum of all that stands before it. */
static int32_t read_sealed(dk_host *host, const char *path, dk_document **out, dk_error *err)
{
    static const char seal[] = DI_CHECKPOINT_SEAL;
    char *text = NULL;
    size_t size = 0, at;
    int64_t crc = -1;
    int32_t rc;
    DK_TRY(dk_file_read(host, path, (uint64_t)64 << 20, &text, &size, err));
    for (at = size > sizeof seal ? size - sizeof seal : 0; at > 0 && memcmp(text + at, seal, sizeof seal - 1) != 0;
         at--)
        continue;
    const char *digits = text + at + sizeof seal - 1;
    if (at == 0 || !dk_parse_i64(digits, strspn(digits, "0123456789"), &crc) || crc != (int64_t)dk_crc32c(0, text, at))
        rc = dk_fail(err, DK_E_FORMAT, "%s is damaged: its checksum differs; an older checkpoint may be whole", path);
    else rc = dk_json_parse(host, text, size, path, out, err);
out:
    dk_free(host, text);
    return rc;
}

static int32_t open_state(dk_host *host, const char *folder, int32_t verify, dk_document **out, dk_error *err)
{
    char *path = dk_path_join(host, folder, "state.json");
    dk_document *doc = NULL;
    int64_t version = 0;
    int32_t rc;
    if (!path) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(read_sealed(host, path, &doc, err));
    const dk_node *root = dk_document_root(doc), *files = dk_node_get(root, "files");
    if (!dk_node_is_text(dk_node_get(root, "format"), DI_CHECKPOINT_FORMAT)) {
        rc = dk_fail(err, DK_E_FORMAT, "%s is not the state of a checkpoint", path);
        goto out;
    }
    DK_TRY(dk_node_i64(doc, root, "version", 1, INT32_MAX, 0, &version, err));
    if (version != DI_CHECKPOINT_VERSION) {
        rc = dk_fail(err, DK_E_UNSUPPORTED, "%s has version %lld, this library reads %d", path, (long long)version,
                     DI_CHECKPOINT_VERSION);
        goto out;
    }
    for (size_t i = 0; verify && files && i < files->size; i++)
        DK_TRY(verify_file(host, folder, doc, dk_node_at(files, i), err));
    *out = doc;
    doc = NULL;
out:
    dk_document_free(doc);
    dk_free(host, path);
    return rc;
}

/* ---- loading ---- */

typedef struct counters {
    int64_t step, tokens, optimizer_step;
    double seconds, flops;
    int64_t evaluated, floored;
    di_best best;
    double loss, grad_norm; /* of the last step, as its sums */
    di_loss_sums sums;
} counters;

typedef struct loaded {
    dk_host *host;
    dk_document *doc;
    counters counters;
    di_learned learned;
    di_balance balance;
    di_written written;
    di_adaptive adaptive;
    di_replay replay;
    di_kept_scores scores;
    di_tally *members; /* of the trainer's members; 0 of those that were not there */
    dk_model *weights, *average;
    dk_checkpoint *moments, *projections;
    const dk_tensor **tensors; /* [2 * parameter_count] of moments; NULL where a parameter has none */
} loaded;

static void close_all(loaded *l)
{
    if (l->host) dk_free(l->host, (void *)l->tensors);
    if (l->host) dk_free(l->host, l->members);
    if (l->host) di_kept_scores_free(l->host, &l->scores);
    if (l->host) dk_free(l->host, l->learned.weights);
    di_replay_free(&l->replay);
    dk_checkpoint_close(l->moments);
    dk_checkpoint_close(l->projections);
    dk_model_free(l->weights);
    dk_model_free(l->average);
    dk_document_free(l->doc);
}

static int32_t find_moment(const di_trainer *t, const dk_checkpoint *file, int64_t index, int32_t second,
                           const dk_tensor **out, dk_error *err)
{
    const char *parameter = di_student_model(t->student)->parameters[index].name;
    dk_view view = dk_optimizer_moment(t->update.optimizer, index, second);
    if (!dk_view_present(view)) return DK_OK;
    char *name = di_moment_name(t->host, parameter, second);
    if (!name) return dk_fail_nomem(err, strlen(parameter));
    *out = dk_checkpoint_find(file, name);
    dk_free(t->host, name);
    const dk_view *value = &di_student_model(t->student)->parameters[index].value;
    const uint64_t bytes = (uint64_t)dk_view_count(value) * dk_dtype_size(view.dtype);
    if (*out && (*out)->dtype == view.dtype && (*out)->bytes == bytes) return DK_OK;
    if (*out && (*out)->dtype != view.dtype)
        return dk_fail(err, DK_E_MISMATCH, "%s has moments in %s, and train.moments says %s: give the old value",
                       dk_checkpoint_path(file), dk_dtype_name((*out)->dtype), dk_dtype_name(view.dtype));
    return dk_fail(err, DK_E_MISMATCH, "%s has no moments that fit %s: it is a checkpoint of another student",
                   dk_checkpoint_path(file), parameter);
}

static int32_t find_moments(const di_trainer *t, loaded *l, dk_error *err)
{
    int64_t count = 2 * di_student_model(t->student)->parameter_count;
    int32_t rc;
    DK_TRY(dk_new(t->host, count + 1, &l->tensors, err));
    for (int64_t i = 0; i < count; i++)
        DK_TRY(find_moment(t, l->moments, i / 2, (int32_t)(i % 2), &l->tensors[i], err));
out:
    return rc;
}

/* Of the last step: what the result says of it, should no other one follow. */
static int32_t read_last(const dk_document *doc, const di_loss *loss, counters *c, dk_error *err)
{
    const dk_node *last = dk_node_get(dk_document_root(doc), "last"), *terms = dk_node_get(last, "terms");
    int64_t of = 0, kind = 0, without = 0;
    int32_t rc;
    DK_TRY(dk_node_i64(doc, dk_document_root(doc), "floored", 0, INT64_MAX, 0, &c->floored, err));
    DK_TRY(dk_node_f64(doc, last, "loss", NAN, &c->loss, err));
    DK_TRY(dk_node_f64(doc, last, "grad_norm", 0, &c->grad_norm, err));
    DK_TRY(dk_node_f64(doc, last, "weight_sum", 0, &c->sums.weight_sum, err));
    DK_TRY(dk_node_i64(doc, last, "pairs", 0, INT64_MAX, 0, &c->sums.pairs, err));
    DK_TRY(dk_node_i64(doc, last, "preferred", 0, INT64_MAX, 0, &c->sums.preferred, err));
    DK_TRY(dk_node_f64(doc, last, "margin", 0, &c->sums.margin, err));
    DK_TRY(dk_node_i64(doc, last, "count", 0, INT64_MAX, 0, &c->sums.count, err));
    DK_TRY(dk_node_i64(doc, last, "step", 0, INT64_MAX, 0, &c->sums.step, err));
    DK_TRY(dk_node_i64(doc, last, "of", 0, DI_OF_ALL, 0, &of, err));
    c->sums.of = (int32_t)of;
    DK_TRY(dk_node_i64(doc, last, "teacher_kind", 0, DISTILL_ONE_HOT, 0, &kind, err));
    c->sums.teacher_kind = (int32_t)kind;
    DK_TRY(dk_node_i64(doc, last, "without_entropy", 0, 1, kind == DISTILL_SAMPLED, &without, err));
    c->sums.without_entropy = (int32_t)without;
    for (size_t i = 0; terms && i < terms->size && (int64_t)i < di_loss_count(loss); i++) {
        const dk_node *term = dk_node_at(terms, i);
        c->sums.terms[i] = term->type == DK_NODE_INT || term->type == DK_NODE_FLOAT ? term->f64 : NAN;
    }
out:
    return rc;
}

static int32_t read_counters(const dk_document *doc, counters *c, dk_error *err)
{
    const dk_node *root = dk_document_root(doc), *best = dk_node_get(root, "best");
    const char *by = NULL;
    int32_t rc;
    DK_TRY(dk_node_i64(doc, root, "step", 0, INT64_MAX, 0, &c->step, err));
    DK_TRY(dk_node_i64(doc, root, "tokens", 0, INT64_MAX, 0, &c->tokens, err));
    DK_TRY(dk_node_i64(doc, root, "optimizer_step", 0, INT64_MAX, c->step, &c->optimizer_step, err));
    DK_TRY(dk_node_f64(doc, root, "seconds", 0, &c->seconds, err));
    DK_TRY(dk_node_f64(doc, root, "flops", 0, &c->flops, err));
    DK_TRY(dk_node_i64(doc, root, "evaluated", 0, INT64_MAX, 0, &c->evaluated, err));
    DK_TRY(dk_node_i64(doc, best, "step", -1, INT64_MAX, -1, &c->best.step, err));
    DK_TRY(dk_node_i64(doc, best, "without", 0, INT64_MAX, 0, &c->best.without, err));
    DK_TRY(dk_node_f64(doc, best, "value", 0, &c->best.value, err));
    DK_TRY(dk_node_text(doc, best, "by", "", &by, err));
    c->best.by = DI_BY_NATS;
    for (int kind = DI_BY_FORWARD_KL; kind <= DI_BY_REWARD_LOSS; kind++)
        if (!strcmp(by, di_measure_name((di_measure_kind)kind))) c->best.by = (di_measure_kind)kind;
out:
    return rc;
}

static int32_t read_tally(const dk_document *doc, const dk_node *node, di_tally *out, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_node_i64(doc, node, "asked", 0, INT64_MAX, 0, &out->asked, err));
    DK_TRY(dk_node_i64(doc, node, "rows", 0, INT64_MAX, 0, &out->rows, err));
    DK_TRY(dk_node_f64(doc, node, "weight", 0, &out->weight, err));
out:
    return rc;
}

/* By name: with another teacher, which is told, those that it shares go on being counted. */
static int32_t read_members(const di_trainer *t, loaded *l, dk_error *err)
{
    const dk_node *nodes = dk_node_get(dk_document_root(l->doc), "members");
    dk_strbuf name;
    int32_t rc;
    dk_strbuf_init(&name, t->host);
    DK_TRY(dk_new(t->host, t->members.count + 1, &l->members, err));
    for (int64_t i = 0; i < t->members.count; i++) {
        dk_strbuf_clear(&name);
        di_teacher_member_name(t->teacher, i, &name);
        DK_TRY(dk_strbuf_check(&name, err));
        for (size_t k = 0; nodes && k < nodes->size; k++)
            if (dk_node_is_text(dk_node_get(dk_node_at(nodes, k), "name"), name.data))
                DK_TRY(read_tally(l->doc, dk_node_at(nodes, k), &l->members[i], err));
    }
out:
    dk_strbuf_free(&name);
    return rc;
}

/* Are there weights of the same members? */
static int32_t has_weights(const di_trainer *t, const dk_node *weights)
{
    int64_t found = 0;
    for (int64_t i = 0; i < t->learned.count; i++)
        found += dk_node_get(weights, di_teacher_learned_name(t->teacher, i)) != NULL;
    return weights && found == t->learned.count && weights->size == (size_t)found;
}

/* By name. With other members, which take_learned tells, they are learned from the beginning. */
static int32_t read_learned(const di_trainer *t, loaded *l, dk_error *err)
{
    const dk_node *node = dk_node_get(dk_document_root(l->doc), "learned"), *weights = dk_node_get(node, "weights");
    di_learned *out = &l->learned;
    int32_t rc;
    DK_TRY(dk_new(t->host, t->learned.count + 1, &out->weights, err));
    out->updated = -1;
    if (t->learned.count) di_teacher_first_weights(t->teacher, out->weights);
    if (!t->learned.count || !has_weights(t, weights)) goto out;
    out->count = t->learned.count;
    DK_TRY(dk_node_i64(l->doc, node, "updates", 0, INT64_MAX, 0, &out->updates, err));
    DK_TRY(dk_node_i64(l->doc, node, "window", 0, INT64_MAX, 0, &out->window, err));
    DK_TRY(dk_node_i64(l->doc, node, "updated", -1, INT64_MAX, -1, &out->updated, err));
    DK_TRY(dk_node_f64(l->doc, node, "nats", 0, &out->nats, err));
    for (int64_t i = 0; i < out->count; i++)
        DK_TRY(dk_node_f64(l->doc, weights, di_teacher_learned_name(t->teacher, i), 0, &out->weights[i], err));
out:
    return rc;
}

static void take_learned(di_run *run, const dk_document *doc, const di_learned *from)
{
    di_trainer *t = run->trainer;
    int64_t windows = 0;
    if (!t->learned.count) return;
    if (!from->count && dk_node_get(dk_document_root(doc), "learned"))
        di_run_warn(run, "weights were learned of other members than the teacher has now: they are learned anew, from "
                         "those that are given");
    memcpy(t->learned.weights, from->weights, (size_t)t->learned.count * sizeof *from->weights);
    t->learned.updates = from->updates;
    t->learned.updated = from->updated;
    t->learned.nats = from->nats;
    t->learned.window = from->window;
    if (di_dataset_get_i64(t->data.eval, "windows", &windows, NULL) == DK_OK && from->window >= windows)
        t->learned.window = 0; /* other held-out data, which is told */
}

static int32_t read_pair(const dk_document *doc, const dk_node *node, const char *key, double out[2], dk_error *err)
{
    const dk_node *list = dk_node_get(node, key);
    for (size_t i = 0; i < 2; i++) {
        const dk_node *item = list && list->type == DK_NODE_LIST && list->size == 2 ? dk_node_at(list, i) : NULL;
        if (!item || (item->type != DK_NODE_INT && item->type != DK_NODE_FLOAT) || !(item->f64 >= 0))
            return dk_fail(err, DK_E_FORMAT, "%s: balance.%s is no list of two numbers that are not below 0",
                           dk_document_name(doc), key);
        out[i] = item->f64;
    }
    return DK_OK;
}

/* A run that was not balanced before begins without means; that this option has changed is told. */
static int32_t read_balance(const di_trainer *t, loaded *l, dk_error *err)
{
    const dk_node *node = dk_node_get(dk_document_root(l->doc), "balance");
    di_balance *out = &l->balance;
    int32_t rc = DK_OK;
    *out = t->balance;
    out->share = out->means[0] = out->means[1] = out->norms[0] = out->norms[1] = 0;
    out->factors[1] = 1;
    if (!t->balance.on || !node) goto out;
    DK_TRY(dk_node_f64(l->doc, node, "share", 0, &out->share, err));
    DK_TRY(dk_node_f64(l->doc, node, "factor", 1, &out->factors[1], err));
    DK_TRY(read_pair(l->doc, node, "means", out->means, err));
    DK_TRY(read_pair(l->doc, node, "norms", out->norms, err));
out:
    return rc;
}

/* Moments are there or not; without them it would be another run. */
static int32_t check_optimizer(const di_trainer *t, const dk_document *doc, dk_error *err)
{
    const dk_node *train = dk_node_get(dk_node_get(dk_document_root(doc), "options"), "train");
    const char *before = NULL, *now = di_options_text(t->options, "train.optimizer");
    int32_t rc = dk_node_text(doc, train, "optimizer", "adamw", &before, err);
    if (rc == DK_OK && strcmp(before, now) != 0)
        rc = dk_fail(err, DK_E_MISMATCH, "%s was made with train.optimizer %s, now it is %s: give the old value",
                     dk_document_name(doc), before, now);
    return rc;
}

static int32_t open_all(di_run *run, const char *folder, loaded *l, dk_error *err)
{
    di_trainer *t = run->trainer;
    dk_model *model = di_student_model(t->student);
    dk_model_options options = {.use_mmap = 1};
    char *student = dk_path_join(t->host, folder, "student"), *optimizer = dk_path_join(t->host, folder, "optimizer");
    int32_t rc = student && optimizer ? DK_OK : dk_fail_nomem(err, strlen(folder));
    if (rc != DK_OK) goto out;
    l->host = t->host;
    DK_TRY(open_state(t->host, folder, 1, &l->doc, err));
    DK_TRY(read_counters(l->doc, &l->counters, err));
    DK_TRY(read_last(l->doc, t->objective.loss, &l->counters, err));
    DK_TRY(read_members(t, l, err));
    DK_TRY(read_learned(t, l, err));
    DK_TRY(read_balance(t, l, err));
    DK_TRY(di_on_policy_state_read(t, l->doc, &l->written, &l->adaptive, err));
    DK_TRY(di_replay_load(t, folder, l->counters.step, &l->replay, err));
    DK_TRY(check_optimizer(t, l->doc, err));
    if (!model) goto out;
    DK_TRY(dk_model_open(t->backend, student, &options, &l->weights, err));
    DK_TRY(di_check_weights(model, l->weights, folder, err));
    DK_TRY(di_average_load(t, folder, &l->average, err));
    if (!t->update.own_optimizer) goto out;
    DK_TRY(dk_checkpoint_open(t->host, optimizer, DK_OPEN_MMAP, &l->moments, err));
    DK_TRY(find_moments(t, l, err));
out:
    dk_free(t->host, student);
    dk_free(t->host, optimizer);
    return rc;
}

static int32_t copy_moments(di_trainer *t, const loaded *l, dk_error *err)
{
    int64_t count = 2 * di_student_model(t->student)->parameter_count;
    for (int64_t i = 0; i < count; i++)
        if (l->tensors[i]) di_take_moment(t, i / 2, (int32_t)(i % 2), l->tensors[i]->data);
    return dk_queue_wait(&t->queue, err);
}

static void take_on_policy(di_trainer *t, loaded *l)
{
    const di_replay before = t->on_policy.replay;
    t->on_policy.total = l->written;
    t->on_policy.adaptive = l->adaptive;
    t->on_policy.replay = l->replay;
    l->replay = before;
}

static void take_counters(di_run *run, const counters *c)
{
    di_trainer *t = run->trainer;
    t->counters.step = c->step;
    t->counters.tokens = c->tokens;
    t->counters.seconds = c->seconds;
    t->counters.flops = c->flops;
    t->counters.last_loss = c->loss;
    t->update.grad_norm = c->grad_norm;
    t->objective.sums = c->sums;
    t->objective.floored = c->floored;
    run->evaluation.best = c->best;
    run->evaluation.best_step = 0;
    run->evaluation.evaluated = c->evaluated;
    if (t->update.optimizer) dk_optimizer_set_step(t->update.optimizer, c->optimizer_step);
}

static int32_t load_callbacks(di_trainer *t, const char *folder, dk_error *err)
{
    const distill_student_callbacks *callbacks = di_student_callbacks(t->student);
    char *path = dk_path_join(t->host, folder, "student");
    if (!path) return dk_fail_nomem(err, strlen(folder));
    int32_t code = callbacks->load ? callbacks->load(callbacks->user, path) : DISTILL_CB_OK;
    dk_free(t->host, path);
    if (code == DISTILL_CB_OK) return DK_OK;
    dk_fail(err, DK_E_CALLBACK, "the student's load returned %d for %s", (int)code, folder);
    if (err) err->user_code = code;
    return DK_E_CALLBACK;
}

/* All that may fail, before anything is changed. */
static int32_t read_all(di_run *run, const char *path, loaded *l, dk_error *err)
{
    di_trainer *t = run->trainer;
    int32_t rc;
    DK_TRY(open_all(run, path, l, err));
    DK_TRY(di_checkpoint_match(run, l->doc, l->counters.step, err));
    DK_TRY(di_projections_open(t, path, &l->projections, err));
    DK_TRY(di_preference_read(t, l->doc, path, l->counters.step, &l->scores, err));
out:
    return rc;
}

int32_t di_checkpoint_load(di_run *run, const char *path, dk_error *err)
{
    di_trainer *t = run->trainer;
    loaded l = {0};
    int32_t rc;
    if (t->window.stage != DI_STAGE_IDLE)
        return dk_fail(err, DK_E_STAGE, "a window is open: a checkpoint is read between windows, after apply");
    DK_TRY(dk_ranks_agree(run->host, read_all(run, path, &l, err), err));
    if (di_student_model(t->student)) DK_TRY(di_copy_weights(t, l.weights, di_student_model(t->student), err));
    else DK_TRY(load_callbacks(t, path, err));
    if (l.average) DK_TRY(di_copy_weights(t, l.average, t->average.model, err));
    if (l.moments) DK_TRY(copy_moments(t, &l, err));
    DK_TRY(di_projections_take(t, l.projections, l.counters.optimizer_step, err));
    take_counters(run, &l.counters);
    take_learned(run, l.doc, &l.learned);
    t->balance = l.balance;
    take_on_policy(t, &l);
    di_preference_take(t, &l.scores);
    if (t->balance.on) t->objective.sums.factors[1] = t->balance.factors[1];
    if (t->members.count) memcpy(t->members.total, l.members, (size_t)t->members.count * sizeof *l.members);
    run->finished = 0;
out:
    close_all(&l);
    return rc;
}

int32_t di_checkpoint_check(di_run *run, const char *folder, dk_error *err)
{
    loaded l = {0};
    int32_t rc = dk_ranks_agree(run->host, open_all(run, folder, &l, err), err);
    close_all(&l);
    return rc;
}

/* Only the weights: counters stay those of the whole run. */
int32_t di_checkpoint_load_weights(di_run *run, const char *folder, dk_error *err)
{
    di_trainer *t = run->trainer;
    loaded l = {0};
    int32_t rc;
    DK_TRY(dk_ranks_agree(run->host, open_all(run, folder, &l, err), err));
    rc = di_student_model(t->student) ? di_copy_weights(t, l.weights, di_student_model(t->student), err)
                                      : load_callbacks(t, folder, err);
out:
    close_all(&l);
    return rc;
}

int32_t di_checkpoint_best_step(dk_host *host, const char *path, int64_t *step, dk_error *err)
{
    dk_document *doc = NULL;
    int32_t rc = open_state(host, path, 0, &doc, err);
    if (rc == DK_OK)
        rc = dk_node_i64(doc, dk_node_get(dk_document_root(doc), "best"), "step", -1, INT64_MAX, -1, step, err);
    dk_document_free(doc);
    return rc;
}

void di_checkpoint_shape(dk_host *host, const char *path, dk_strbuf *out)
{
    dk_document *doc = NULL;
    dk_error problem;
    const int32_t rc = open_state(host, path, 0, &doc, &problem);
    const dk_node *shape = doc ? dk_node_get(dk_document_root(doc), "shape") : NULL;
    if (rc == DK_OK && shape) dk_node_write_json(shape, out);
    dk_document_free(doc);
}

int32_t di_checkpoint_inspect(dk_host *host, const char *path, dk_strbuf *json, dk_error *err)
{
    dk_document *doc = NULL;
    dk_error damage;
    int64_t step = 0;
    dk_error_clear(&damage);
    int32_t rc = open_state(host, path, 0, &doc, err);
    if (rc != DK_OK) return rc;
    DK_TRY(dk_node_i64(doc, dk_document_root(doc), "step", 0, INT64_MAX, 0, &step, err));
    const dk_node *files = dk_node_get(dk_document_root(doc), "files"),
                  *teacher = dk_node_get(dk_document_root(doc), "teacher");
    for (size_t i = 0; files && i < files->size; i++)
        if (verify_file(host, path, doc, dk_node_at(files, i), &damage) != DK_OK) break;
    dk_strbuf_printf(json, "{\"kind\":\"checkpoint\",\"step\":%lld,\"files\":%zu,\"whole\":%s", (long long)step,
                     files ? files->size : 0, damage.code ? "false" : "true");
    if (teacher && !dk_node_is_text(dk_node_get(teacher, "hash"), "")) {
        dk_strbuf_puts(json, ",\"teacher\":");
        dk_node_write_json(teacher, json);
    }
    if (damage.code) {
        dk_strbuf_puts(json, ",\"problem\":");
        dk_strbuf_json(json, damage.message, strlen(damage.message));
    }
    dk_strbuf_puts(json, "}");
    DK_TRY(dk_strbuf_check(json, err));
out:
    dk_document_free(doc);
    return rc;
}
