/* parts.c - settings from options; teacher, student and data as given or as the options name them; do they fit
 * together. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "evaluate/evaluate.h"
#include "format/open_tokenizer.h"
#include "trainer/trainer_state.h"

static dk_schedule_kind schedule_kind(const char *name)
{
    static const char *const names[] = {"constant", "linear", "cosine", "wsd", "inverse_sqrt"};
    static const dk_schedule_kind kinds[] = {DK_SCHEDULE_CONSTANT, DK_SCHEDULE_LINEAR, DK_SCHEDULE_COSINE,
                                             DK_SCHEDULE_WSD, DK_SCHEDULE_INVERSE_SQRT};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return kinds[i];
    return DK_SCHEDULE_COSINE;
}

static void read_update(const di_options *o, dk_update *update)
{
    update->learning_rate = di_options_f64(o, "train.learning_rate");
    update->beta1 = di_options_f64(o, "train.beta1");
    update->beta2 = di_options_f64(o, "train.beta2");
    update->epsilon = di_options_f64(o, "train.epsilon");
    update->weight_decay = di_options_f64(o, "train.weight_decay");
    update->clip_norm = di_options_f64(o, "train.clip_norm");
}

void di_settings_read(di_trainer *t)
{
    const di_options *o = t->options;
    t->steps = di_options_i64(o, "train.steps");
    t->activation_checkpointing = di_options_flag(o, "train.activation_checkpointing");
    t->data.batch_size = di_options_i64(o, "train.batch_size");
    t->data.micro_batch_size = di_options_i64(o, "train.micro_batch_size");
    t->data.seed = (uint64_t)di_options_i64(o, "train.seed");
    t->objective.memory = di_options_i64(o, "train.loss_memory");
    t->update.own_optimizer = strcmp(di_options_text(o, "train.optimizer"), "none") != 0;
    t->update.half_moments = di_options_is(o, "train.moments", "bf16");
    read_update(o, &t->update.adamw);
    t->update.projection_rate = di_options_f64(o, "train.projection_rate");
    di_balance_read(t);
    di_on_policy_read(t);
    t->update.schedule.kind = schedule_kind(di_options_text(o, "train.schedule"));
    t->update.schedule.warmup_steps = di_options_i64(o, "train.warmup_steps");
    t->update.schedule.decay_steps = di_options_i64(o, "train.decay_steps");
    t->update.schedule.min_ratio = di_options_f64(o, "train.min_learning_rate_ratio");
}

/* ---- opening ---- */

/* One tree may serve all handles, so this is no mistake; but it is said. */
static void tell_unread(const di_trainer *t, const char *key, const char *what)
{
    int32_t is_set = di_options_is_set(t->options, key);
    if (is_set) dk_log(t->host, DK_LOG_INFO, "trainer", "%s is not read: %s was handed over", key, what);
}

static int32_t open_teacher(di_trainer *t, di_teacher *given, dk_error *err)
{
    if (!given) return di_teacher_from_options(t->backend, t->options, NULL, &t->teacher, err);
    tell_unread(t, "teacher.path", "a teacher");
    tell_unread(t, "teacher.self", "a teacher");
    tell_unread(t, "teacher.cache.from", "a teacher");
    t->teacher = di_teacher_retain(given);
    return di_teacher_keep(t->backend, t->options, 0, &t->teacher, err);
}

/* A shape that hangs on text is chosen by the training data, which is opened once. */
static int32_t derive_student(di_trainer *t, const di_parts *parts, dk_error *err)
{
    di_dataset *given = parts->train;
    di_shape_args args = {.backend = t->backend,
                          .options = t->options,
                          .data = given,
                          .given = given || parts->eval,
                          .remembered = parts->shape};
    int32_t rc = DK_OK;
    if (di_teacher_names_self(t->options))
        return dk_fail(err, DK_E_OPTION,
                       "student.from: teacher and a teacher that is the student itself: one of them has to come first; "
                       "give student.path");
    if (!t->teacher) return dk_fail(err, DK_E_OPTION, "student.from: teacher needs teacher.path");
    const dk_model *model = di_teacher_model(t->teacher);
    if (model) DK_TRY(di_student_check_kind(&model->config, err)); /* before data is read */
    args.teacher = t->teacher;
    if (!given && di_shape_reads_text(t->options) && di_options_is_set(t->options, "data.train"))
        DK_TRY(di_dataset_open_list(t->host, "data.train", di_teacher_tokenizer(t->teacher), t->options, &t->data.train,
                                    err));
    if (!given) args.data = t->data.train;
    DK_TRY(di_shape_derive(&args, &t->student, &t->shape, err));
    if (!t->shape.teacher) goto out;
    di_teacher_release(t->teacher);
    di_dataset_release(t->data.train);
    t->teacher = di_teacher_retain(t->shape.teacher);
    t->data.train = di_dataset_retain(t->shape.data);
out:
    return rc;
}

/* A fresh student takes the tokenizer beside its config, or the teacher's. */
static int32_t create_student(di_trainer *t, const char *config, dk_error *err)
{
    char *folder = dk_path_folder(t->host, config);
    dk_tokenizer *tokenizer = NULL;
    int32_t rc = folder ? dk_open_tokenizer(t->host, folder, &tokenizer, err) : dk_fail_nomem(err, strlen(config));
    if (rc == DK_E_NOT_FOUND) dk_error_clear(err), rc = DK_OK;
    if (!tokenizer && t->teacher && di_teacher_tokenizer(t->teacher))
        tokenizer = dk_tokenizer_retain(di_teacher_tokenizer(t->teacher));
    if (rc == DK_OK) rc = di_student_create(t->backend, config, tokenizer, t->options, &t->student, err);
    dk_tokenizer_release(tokenizer);
    dk_free(t->host, folder);
    return rc;
}

static int32_t open_student(di_trainer *t, const di_parts *parts, dk_error *err)
{
    di_student *given = parts->student;
    const di_options *o = t->options;
    const char *path = di_options_text(o, "student.path"), *config = di_options_text(o, "student.config"),
               *from = di_options_text(o, "student.from");
    int32_t named = (path != NULL) + (config != NULL) + (from != NULL), rc;
    if (given) {
        tell_unread(t, "student.path", "a student");
        tell_unread(t, "student.config", "a student");
        tell_unread(t, "student.from", "a student");
        t->student = di_student_retain(given);
    } else if (named != 1) {
        return dk_fail(err, DK_E_OPTION,
                       "the student comes from %s: give one of student.path, student.config, student.from",
                       named ? "several places" : "nowhere");
    } else {
        rc = path   ? di_student_open(t->backend, path, o, &t->student, err)
             : from ? derive_student(t, parts, err)
                    : create_student(t, config, err);
        if (rc != DK_OK) return rc;
    }
    rc = di_student_acquire(t->student, err);
    if (rc == DK_OK) return rc;
    di_student_release(t->student); /* somebody else's: not to be let go by us */
    t->student = NULL;
    return rc;
}

static int32_t open_data(di_trainer *t, const di_parts *parts, dk_error *err)
{
    const int32_t train = di_options_is_set(t->options, "data.train"),
                  eval = di_options_is_set(t->options, "data.eval");
    double fraction = di_options_f64(t->options, "data.eval_fraction");
    dk_tokenizer *tokenizer = di_student_tokenizer(t->student);
    di_dataset *whole = NULL;
    int32_t rc;
    if (!tokenizer && t->teacher) tokenizer = di_teacher_tokenizer(t->teacher);
    if (parts->train) tell_unread(t, "data.train", "a dataset"), t->data.train = di_dataset_retain(parts->train);
    else if (t->data.train) rc = DK_OK; /* opened for the student's shape */
    else if (train) DK_TRY(di_dataset_open_list(t->host, "data.train", tokenizer, t->options, &t->data.train, err));
    else return dk_fail(err, DK_E_OPTION, "data.train is not set: there is nothing to train on");
    DK_TRY(di_student_take_chat(t->student, di_dataset_chat_template(t->data.train), err));
    if (parts->eval)
        DK_TRY(di_options_refuse(t->options, "data.eval_fraction", "has no use beside data to evaluate on", err));
    if (parts->eval) tell_unread(t, "data.eval", "a dataset"), t->data.eval = di_dataset_retain(parts->eval);
    else if (eval) DK_TRY(di_dataset_open_list(t->host, "data.eval", tokenizer, t->options, &t->data.eval, err));
    else if (fraction > 0) {
        whole = t->data.train;
        t->data.train = NULL;
        DK_TRY(di_dataset_split(whole, fraction, &t->data.train, &t->data.eval, err));
    }
out:
    di_dataset_release(whole);
    return rc;
}

int32_t di_parts_open(di_trainer *t, const di_parts *parts, dk_error *err)
{
    const int32_t own = !parts->teacher && di_teacher_names_self(t->options);
    int32_t rc = DK_OK;
    if (!own) DK_TRY(open_teacher(t, parts->teacher, err));
    DK_TRY(open_student(t, parts, err));
    if (own) DK_TRY(di_average_open_teacher(t, err));
    if (t->teacher && di_teacher_model(t->teacher)) di_student_take_storage(t->student, t->teacher);
    DK_TRY(open_data(t, parts, err));
out:
    return rc;
}

/* ---- fitting together ---- */

/* A cache without its teacher knows its tokenizer by the hash. */
static int32_t check_kept(const di_trainer *t, const uint8_t kept[32], const dk_tokenizer *student, dk_error *err)
{
    uint8_t own[32];
    char hex[2][65];
    dk_tokenizer_hash(student, own);
    if (memcmp(own, kept, sizeof own) == 0) return DK_OK;
    dk_hex(kept, 32, hex[0]);
    dk_hex(own, 32, hex[1]);
    return dk_fail(err, DK_E_MISMATCH, "%s: holds targets of the tokenizer %.16s, the student's is %.16s",
                   di_teacher_path(t->teacher), hex[0], hex[1]);
}

static int32_t check_tokenizers(const di_trainer *t, dk_error *err)
{
    dk_tokenizer *teacher = t->teacher ? di_teacher_tokenizer(t->teacher) : NULL,
                 *student = di_student_tokenizer(t->student);
    const uint8_t *kept = t->teacher ? di_teacher_cached_tokenizer(t->teacher) : NULL;
    uint8_t a[32], b[32];
    if (!teacher && kept && student) return check_kept(t, kept, student, err);
    if (!teacher || !student || teacher == student) return DK_OK;
    dk_tokenizer_hash(teacher, a);
    dk_tokenizer_hash(student, b);
    if (memcmp(a, b, sizeof a) == 0) return DK_OK;
    return dk_fail(err, DK_E_MISMATCH,
                   "the tokenizers of teacher (%lld tokens) and student (%lld tokens) differ: their ids do not mean "
                   "the same, so their logits cannot be compared",
                   (long long)dk_tokenizer_vocab_size(teacher), (long long)dk_tokenizer_vocab_size(student));
}

static int32_t check_lengths(const di_trainer *t, dk_error *err)
{
    const int64_t contexts[2] = {di_student_facts(t->student).context_length,
                                 t->teacher ? di_teacher_facts(t->teacher).context_length : -1};
    int64_t length = 0;
    int32_t rc = di_dataset_get_i64(t->data.train, "max_length", &length, err);
    length = di_on_policy_length(t, length);
    for (int i = 0; i < 2 && rc == DK_OK; i++)
        if (contexts[i] > 0 && length > contexts[i])
            rc = dk_fail(err, DK_E_MISMATCH,
                         "a sample %shas %lld tokens, the %s's context is %lld: lower data.sequence_length",
                         t->on_policy.lambda > 0 ? "with what train.on_policy lets the student write " : "",
                         (long long)length, i ? "teacher" : "student", (long long)contexts[i]);
    return rc;
}

static int32_t count_steps(di_trainer *t, dk_error *err)
{
    double epochs = di_options_f64(t->options, "train.epochs");
    int32_t rc = DK_OK;
    if (epochs > 0 && !di_options_is_set(t->options, "train.steps")) {
        DK_TRY(di_dataset_epochs(t->data.train, t->data.seed, epochs, &t->data.epochs, err));
        t->steps = di_epoch_steps(&t->data.epochs, t->data.batch_size);
    }
    di_dataset_tell_mix(t->data.train, di_window_place(&t->data, t->steps));
    t->update.schedule.steps = t->steps;
    if (t->update.schedule.kind == DK_SCHEDULE_WSD && t->update.schedule.decay_steps == 0)
        t->update.schedule.decay_steps = (t->steps + 9) / 10;
out:
    return rc;
}

/* What a student of callbacks does itself. */
static int32_t check_callbacks(const di_trainer *t, dk_error *err)
{
    static const char *const keys[] = {"train.beta1",
                                       "train.beta2",
                                       "train.epsilon",
                                       "train.weight_decay",
                                       "train.moments",
                                       "train.clip_norm",
                                       "train.activation_checkpointing",
                                       "train.precision"};
    int32_t rc = DK_OK;
    for (size_t i = 0; di_student_callbacks(t->student) && i < sizeof keys / sizeof *keys && rc == DK_OK; i++)
        rc = di_options_refuse(t->options, keys[i], "has no use for a student of callbacks: its host updates it", err);
    return rc;
}

/* A slower one moves by less than BF16 can tell from nothing. */
static int32_t check_moments(const di_trainer *t, dk_error *err)
{
    static const char *const keys[] = {"train.beta1", "train.beta2"};
    for (int i = 0; t->update.half_moments && i < 2; i++) {
        const double beta = di_options_f64(t->options, keys[i]);
        if (beta > DK_BF16_MOMENTS_MOST)
            return dk_fail(err, DK_E_OPTION,
                           "train.moments bf16 with %s %g: moments that decay so slowly would stand still between two "
                           "numbers of 8 bits; lower it to %g, or keep them in fp32",
                           keys[i], beta, DK_BF16_MOMENTS_MOST);
    }
    return DK_OK;
}

static int32_t check_decay(const di_trainer *t, const dk_update *update, double projection_rate, dk_error *err)
{
    dk_update projected = *update;
    int32_t rc = DK_OK;
    if (!t->update.own_optimizer) return DK_OK;
    DK_TRY(dk_update_check(update, err));
    projected.learning_rate *= projection_rate;
    if (projection_rate <= 1 || (rc = dk_update_check(&projected, err)) == DK_OK) return DK_OK;
    dk_error_context(err, "projections, at train.projection_rate %.6g", projection_rate);
out:
    return rc;
}

/* Numbers of which one makes the other one idle. */
static int32_t check_numbers(const di_trainer *t, dk_error *err)
{
    const dk_schedule *schedule = &t->update.schedule;
    const long long warmup = schedule->warmup_steps, steps = t->steps, decay = schedule->decay_steps;
    if (t->data.micro_batch_size > t->data.batch_size)
        return dk_fail(err, DK_E_OPTION, "train.micro_batch_size %lld is above train.batch_size %lld: lower it",
                       (long long)t->data.micro_batch_size, (long long)t->data.batch_size);
    if (steps && warmup > steps) /* a trial of a few steps is no mistake */
        dk_log(t->host, DK_LOG_WARN, "trainer",
               "train.warmup_steps %lld is above the run's %lld steps: the learning rate never gets to its peak",
               warmup, steps);
    else if (steps && schedule->kind == DK_SCHEDULE_WSD && warmup + decay > steps)
        dk_log(
            t->host, DK_LOG_WARN, "trainer",
            "train.warmup_steps %lld and train.decay_steps %lld are above the run's %lld steps: the decay is shorter",
            warmup, decay, steps);
    if (di_options_is_set(t->options, "train.steps") && di_options_f64(t->options, "train.epochs") > 0)
        dk_log(t->host, DK_LOG_WARN, "trainer", "train.epochs is not used: train.steps %lld is given, too", steps);
    return DK_OK;
}

/* What a sparse teacher gives is known: the loss takes it at that temperature, or says so now. */
static int32_t check_targets(const di_trainer *t, const di_loss *loss, dk_error *err)
{
    if (!di_loss_needs_teacher(loss)) return DK_OK;
    const distill_target *form = di_teacher_form(t->teacher);
    const int32_t kind = form->kind == DISTILL_HIDDEN ? DISTILL_DENSE : form->kind;
    if (di_teacher_shifted(t->teacher) && di_loss_check_shifted(loss, err)) return DK_E_UNSUPPORTED;
    return di_loss_check(loss, kind, form->temperature > 0 ? form->temperature : 1, 1, err);
}

int32_t di_parts_check(di_trainer *t, dk_error *err)
{
    int64_t valid = di_student_vocab_valid(t->student);
    int32_t rc;
    t->objective.uses_teacher = di_loss_needs_teacher(t->objective.loss);
    if (t->objective.uses_teacher && !t->teacher) {
        dk_strbuf text;
        dk_strbuf_init(&text, t->host);
        di_loss_describe(t->objective.loss, &text);
        rc = dk_fail(
            err, DK_E_OPTION,
            "the loss %s needs a teacher: give teacher.path, or loss.hard_label_weight 1 to train on labels alone",
            text.data ? text.data : "");
        dk_strbuf_free(&text);
        return rc;
    }
    t->objective.vocab_valid = valid;
    if (t->teacher && di_teacher_vocab_valid(t->teacher) < valid)
        t->objective.vocab_valid = di_teacher_vocab_valid(t->teacher);
    if (di_student_model(t->student) && di_student_facts(t->student).trainable_parameters == 0)
        return dk_fail(err, DK_E_OPTION, "student.freeze matches every parameter: nothing would be trained");
    DK_TRY(check_tokenizers(t, err));
    DK_TRY(check_targets(t, t->objective.loss, err));
    DK_TRY(di_dataset_check_vocab(t->data.train, t->objective.vocab_valid, err));
    if (t->data.eval) DK_TRY(di_dataset_check_vocab(t->data.eval, t->objective.vocab_valid, err));
    if (t->data.eval) DK_TRY(di_evaluate_check(t->data.eval, di_student_model(t->student), t->teacher, err));
    DK_TRY(di_origins_check(t, err));
    DK_TRY(di_on_policy_check(t, err));
    DK_TRY(check_lengths(t, err));
    DK_TRY(count_steps(t, err));
    DK_TRY(check_numbers(t, err));
    DK_TRY(check_decay(t, &t->update.adamw, t->update.projection_rate, err));
    DK_TRY(check_moments(t, err));
    if (t->objective.uses_teacher && t->steps) di_teacher_tell_late(t->teacher, t->steps);
    DK_TRY(di_balance_check(t, t->objective.loss, err));
    DK_TRY(di_preference_open(t, err));
    DK_TRY(di_ranks_check(t, err));
    DK_TRY(check_callbacks(t, err));
    DK_TRY(di_choose_precision(t->backend, di_options_text(t->options, "train.precision"), "train.precision",
                               &t->precision, err));
out:
    return rc;
}

/* ---- live options ---- */

int32_t di_objective_plan(const di_trainer *t, const di_loss *loss, di_workspace **out, dk_error *err)
{
    const di_source *student = di_trainee_source(t->trainee),
                    *teacher = t->session ? di_session_source(t->session) : NULL;
    const di_workspace_spec spec = {.memory = t->objective.memory,
                                    .limit = "train.loss_memory",
                                    .student_width = student->width,
                                    .teacher_width = teacher ? teacher->width : 0,
                                    .levels = teacher && teacher->rows_at ? di_loss_levels(loss) : 1,
                                    .keeps_logits = student->needs_logits,
                                    .max_rows = t->objective.max_rows,
                                    .max_sequences = t->objective.max_sequences};
    return di_workspace_create(t->backend, loss, &spec, out, err);
}

static int32_t check_reweighed(const di_trainer *t, const di_loss *loss, dk_error *err)
{
    int32_t rc;
    if (t->window.stage != DI_STAGE_IDLE)
        return dk_fail(err, DK_E_STAGE, "a window is open: weights of losses change between windows, after apply");
    if (di_loss_needs_teacher(loss) && !t->session)
        return dk_fail(
            err, DK_E_STAGE,
            "the loss would need the teacher now, and this trainer was made without: its loss had no use for "
            "one; make a trainer with a small weight there, and then lower it");
    if (!di_features_serve(t->objective.features, loss))
        return dk_fail(err, DK_E_STAGE,
                       "a loss on features would count from now on, and this trainer was made while its weight was 0: "
                       "make a trainer with a small weight there, and then lower it");
    DK_TRY(check_targets(t, loss, err));
    DK_TRY(di_balance_check(t, loss, err));
    DK_TRY(di_on_policy_check_loss(t, loss, err));
    DK_TRY(di_preference_check(t, loss, err));
out:
    return rc;
}

static int32_t reweigh(di_trainer *t, const di_options *options, dk_error *err)
{
    di_loss *loss = NULL;
    di_workspace *workspace = NULL;
    int32_t rc;
    DK_TRY(di_loss_reweighed(t->objective.loss, options, &loss, err));
    DK_TRY(di_objective_plan(t, loss, &workspace, err));
    DK_TRY(check_reweighed(t, loss, err));
    di_workspace_free(t->objective.workspace);
    di_loss_release(t->objective.loss);
    t->objective.workspace = workspace;
    t->objective.loss = loss;
    t->objective.uses_teacher = di_loss_needs_teacher(loss);
    memset(&t->objective.sums, 0, sizeof t->objective.sums); /* of other terms */
    return DK_OK;
out:
    di_workspace_free(workspace);
    di_loss_release(loss);
    return rc;
}

static int32_t same_loss(const di_options *a, const di_options *b)
{
    const int64_t terms = di_options_list_size(b, "loss");
    int32_t same = terms == di_options_list_size(a, "loss");
    for (int64_t i = 0; i < terms; i++)
        same = same && di_options_equal(di_options_item(a, "loss", i), di_options_item(b, "loss", i));
    return same;
}

int32_t di_trainer_configure(di_trainer *t, const di_options *options, dk_error *err)
{
    di_options *configured = NULL;
    dk_update update = t->update.adamw;
    int32_t rc;
    DK_TRY(di_options_copy(t->options, t->host, -1, &configured, err));
    DK_TRY(di_options_configure(configured, options, err));
    DK_TRY(di_options_check(configured, 1 << DI_DATA | 1 << DI_LOSS | 1 << DI_TRAIN | 1 << DI_OUTPUT, err));
    read_update(configured, &update);
    DK_TRY(check_decay(t, &update, di_options_f64(configured, "train.projection_rate"), err));
    if (!same_loss(t->options, configured)) DK_TRY(reweigh(t, configured, err));
    di_options_free(t->options);
    t->options = configured;
    t->update.adamw = update;
    t->update.projection_rate = di_options_f64(t->options, "train.projection_rate");
    di_balance_read(t);
    return DK_OK;
out:
    di_options_free(configured);
    return rc;
}
