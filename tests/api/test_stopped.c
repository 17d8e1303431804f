/* Stopped anywhere, evaluations and the end included: what goes on equals what was never stopped. */
#include <dirent.h>
#include <sys/resource.h>
#include <signal.h>

#include "small.h"

enum { STEPS = 12 };
#define BEST "train: {steps: 12, warmup_steps: 2, eval_every: 3, keep_best: true%s}\n"

static const char *output_folder(const char *name)
{
    const char *path = small_text("%s/%s", small_folder, name);
    char command[2200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command) ? NULL : path;
}

/* Everything that the logger was given, one line each. */
static char logged[8192];

static void note(void *user, int32_t level, const char *component, const char *message)
{
    (void)user, (void)level, (void)component;
    size_t used = strlen(logged);
    snprintf(logged + used, sizeof logged - used, "%s\n", message);
}

static int32_t open_run(small *s, const char *out, const char *yaml, distill_error *err)
{
    int32_t rc = small_open(s, small_text("output: '%s'\n%s", out, yaml), err);
    if (!rc) rc = distill_env_set_logger(s->env, DISTILL_LOG_INFO, note, NULL, NULL, err);
    *logged = '\0';
    return rc;
}

typedef struct stop {
    int32_t phase;
    int64_t step;
    int skip; /* calls that pass before it stops */
} stop;

static int32_t stop_in(void *user, const distill_progress *p)
{
    stop *s = user;
    if (p->phase != s->phase || p->step != s->step) return DISTILL_CB_OK;
    return s->skip-- > 0 ? DISTILL_CB_OK : DISTILL_CB_CANCEL;
}

static int32_t run_stopped(const char *out, const char *yaml, stop at, distill_error *err)
{
    small s;
    int32_t rc = open_run(&s, out, yaml, err);
    if (!rc) rc = distill_trainer_on_progress(s.trainer, stop_in, &at, NULL, err);
    if (!rc) rc = distill_trainer_run(s.trainer, err);
    small_close(&s);
    return rc;
}

static double report_number(const distill_report *report, const char *key)
{
    double value = NAN;
    distill_error err;
    CHECK_OK(distill_report_get_f64(report, key, &value, &err));
    return value;
}

/* Lines of metrics.jsonl without what a clock wrote. */
static char *metrics_of(const char *out)
{
    char *text = small_read(test_path(out, "metrics.jsonl"), NULL), *to = text;
    for (char *at = text; at && *at;) {
        if (!strncmp(at, "\"seconds\":", 10) || !strncmp(at, "\"tokens_per_second\":", 20)) at += strcspn(at, ",}");
        else *to++ = *at++;
    }
    if (text) *to = '\0';
    return text;
}

/* What result.json says of the training, without what a clock wrote. */
static char *training_of(const char *out)
{
    char *text = small_read(test_path(out, "result.json"), NULL), *at = text ? strstr(text, "\"last_loss\"") : NULL,
         *end = at ? strstr(at, "\"seconds\"") : NULL, *part = NULL;
    if (end) *end = '\0', part = strdup(at);
    free(text);
    return part;
}

static void finish_and_compare(const char *out, const char *yaml, small *whole, const char *whole_out)
{
    small s;
    distill_error err;
    distill_report *a = NULL, *b = NULL;
    static const char *const keys[] = {"training.best_step", "training.best_value", "student.forward_kl", "finished"};
    REQUIRE_OK(open_run(&s, out, yaml, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    CHECK(small_same_bits(s.student, whole->student));
    REQUIRE_OK(distill_trainer_report(s.trainer, &a, &err));
    REQUIRE_OK(distill_trainer_report(whole->trainer, &b, &err));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        CHECK_NEAR(report_number(a, keys[i]), report_number(b, keys[i]), 0);
    char *x = metrics_of(out), *y = metrics_of(whole_out);
    CHECK_STR(x, y);
    free(x);
    free(y);
    CHECK_STR(x = training_of(out), y = training_of(whole_out));
    free(x);
    free(y);
    distill_report_free(a);
    distill_report_free(b);
    small_close(&s);
}

static void check_best_is_early(const distill_trainer *trainer)
{
    distill_report *report = NULL;
    distill_error err;
    REQUIRE_OK(distill_trainer_report(trainer, &report, &err));
    CHECK(report_number(report, "training.best_step") < STEPS);
    distill_report_free(report);
}

/* In an evaluation, in saving, in the last phase; the best step is early because the rate is far too high. */
TEST(anywhere)
{
    static const stop stops[] = {{DISTILL_PHASE_EVALUATING, 3, 0},  {DISTILL_PHASE_EVALUATING, 9, 0},
                                 {DISTILL_PHASE_EVALUATING, 12, 0}, {DISTILL_PHASE_EVALUATING, 12, 1},
                                 {DISTILL_PHASE_EVALUATING, 12, 2}, {DISTILL_PHASE_SAVING, 12, 0},
                                 {DISTILL_PHASE_SAVING, 6, 0},      {DISTILL_PHASE_TRAINING, 12, 0}};
    static const char *const more[] = {
        ", checkpoint_every: 6", ", checkpoint_every: 6, learning_rate: 1.5, schedule: constant, weight_decay: 0"};
    distill_error err;
    char out[600], whole_out[600], yaml[400];
    small whole;
    REQUIRE(small_models("api_stopped"));
    for (size_t kind = 0; kind < 2; kind++) {
        snprintf(yaml, sizeof yaml, BEST, more[kind]);
        snprintf(whole_out, sizeof whole_out, "%s", output_folder("whole"));
        REQUIRE_OK(open_run(&whole, whole_out, yaml, &err));
        REQUIRE_OK(distill_trainer_run(whole.trainer, &err));
        if (kind) check_best_is_early(whole.trainer);
        for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
            snprintf(out, sizeof out, "%s", output_folder("part"));
            int32_t rc = run_stopped(out, yaml, stops[i], &err);
            if (rc == DISTILL_OK && stops[i].skip) continue; /* fewer evaluations than that */
            CHECK_INT(rc, DISTILL_E_CANCELLED);
            finish_and_compare(out, yaml, &whole, whole_out);
        }
        small_close(&whole);
    }
}

/* The checkpoint of a run that is stopped while its best weights are measured holds the last weights. */
TEST(last_phase)
{
    small s, plain;
    distill_error err;
    char out[600], yaml[400];
    REQUIRE(small_models("api_stopped"));
    snprintf(yaml, sizeof yaml, BEST, ", learning_rate: 1.5, schedule: constant, weight_decay: 0");
    snprintf(out, sizeof out, "%s", output_folder("last_phase"));
    REQUIRE_OK(small_open(&s, small_text("output: {path: '%s', type: bf16}\n%s", out, yaml), &err)); /* read back */
    stop at = {DISTILL_PHASE_EVALUATING, 12, 2}; /* the live student is evaluated, too */
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_in, &at, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    REQUIRE_OK(small_open(
        &plain, "train: {steps: 12, warmup_steps: 2, learning_rate: 1.5, schedule: constant, weight_decay: 0}\n",
        &err));
    REQUIRE_OK(distill_trainer_run(plain.trainer, &err));
    CHECK(small_same_bits(s.student, plain.student));
    small_close(&s);
    distill_student *saved = NULL;
    REQUIRE_OK(
        distill_student_open(plain.env, test_path(out, "checkpoints/step-00000012/student"), NULL, &saved, &err));
    CHECK(small_same_bits(saved, plain.student));
    distill_student_free(saved);
    small_close(&plain);
}

static int count_checkpoints(const char *out, const char *part)
{
    int count = 0;
    DIR *folder = opendir(test_path(out, "checkpoints"));
    for (struct dirent *entry; folder && (entry = readdir(folder));) count += strstr(entry->d_name, part) != NULL;
    if (folder) closedir(folder);
    return count;
}

static void damage(const char *out, const char *name)
{
    FILE *file = fopen(test_path(out, name), "r+b");
    REQUIRE(file);
    fseek(file, 300, SEEK_SET);
    fputs("damage", file);
    fclose(file);
}

/* ---- going on with something changed ---- */

TEST(refused)
{
    static const char *const cases[][3] = {
        {"student: {freeze: ['*norm*']}\n", "model.norm.weight", "student.freeze"},
        {"loss: {type: cross_entropy}\n", "loss.type", "forward_kl"},
        {"loss: {t_squared: off}\n", "loss.t_squared", "off"},
        {"loss: [{type: forward_kl}, {type: cross_entropy}]\n", "loss", "terms"},
        {"train: {seed: 5}\n", "train.seed", "5"},
        {"train: {batch_size: 2}\n", "train.batch_size", "4"},
        {"data: {sequence_length: 9}\n", "data.sequence_length", "17"},
        {"train: {optimizer: none}\n", "train.optimizer", "adamw"},
        {"train: {steps: 3}\n", "of step 4", "has 3 steps"},
        {"student: {init_std: 0.1}\n", "student.init_std", "0.1"},
        {"generate: {seed: 9}\n", NULL, NULL},
    };
    distill_error err;
    char out[600];
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("refused"));
    CHECK_INT(run_stopped(out, "", (stop){DISTILL_PHASE_TRAINING, 4, 0}, &err), DISTILL_E_CANCELLED);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        small s;
        REQUIRE_OK(open_run(&s, out, cases[i][0], &err));
        int32_t rc = distill_trainer_resume(s.trainer, &err);
        if (cases[i][1]) {
            if (rc != DISTILL_E_MISMATCH) FAIL("%s: %d %s", cases[i][0], rc, err.message);
            CHECK_HAS(err.message, cases[i][1]);
            CHECK_HAS(err.message, cases[i][2]);
            CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), DISTILL_OK); /* nothing was loaded by halves */
        } else CHECK_OK(rc);
        small_close(&s);
    }
}

TEST(told)
{
    small s;
    distill_error err;
    distill_student *changed = NULL;
    distill_tensor weight;
    char out[600];
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("told"));
    CHECK_INT(run_stopped(out, "", (stop){DISTILL_PHASE_TRAINING, 4, 0}, &err), DISTILL_E_CANCELLED);
    REQUIRE_OK(
        small_parts(&s, NULL,
                    small_text("output: '%s'\ntrain: {learning_rate: 0.02, schedule: linear, log_every: 2}\n"
                               "teachers: {pt: {path: a/, mmap: false}, en: {path: b/}}\nloss: {temperature: 2}\n",
                               out),
                    &err));
    REQUIRE_OK(distill_student_open(s.env, test_path(small_folder, "teacher"), NULL, &changed, &err));
    REQUIRE_OK(distill_student_parameter(changed, "model.norm.weight", DISTILL_WEIGHT, &weight, &err));
    ((float *)weight.data)[0] *= 2;
    REQUIRE_OK(distill_student_weights_changed(changed, &err));
    distill_teacher_free(s.teacher);
    s.teacher = NULL;
    REQUIRE_OK(distill_teacher_from_student(changed, &s.teacher, &err));
    distill_student_free(changed);
    *logged = '\0';
    REQUIRE_OK(distill_env_set_logger(s.env, DISTILL_LOG_WARN, note, NULL, NULL, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    CHECK_HAS(logged, "train.learning_rate changed: 0.01 -> 0.02");
    CHECK_HAS(logged, "train.schedule changed: cosine -> linear");
    CHECK_HAS(logged, "teachers changed: not given -> pt: path: a/; mmap: false; en: path: b/\n");
    CHECK_HAS(logged, "loss.temperature changed: 1.0 -> 2\n");
    CHECK_HAS(logged, "the teacher changed: ");
    CHECK(!strstr(logged, "log_every"));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    char *result = small_read(test_path(out, "result.json"), NULL);
    CHECK_HAS(result, "{\"step\":4,\"what\":\"train.learning_rate\",\"from\":\"0.01\",\"to\":\"0.02\"}");
    CHECK_HAS(result, "\"what\":\"the teacher\"");
    free(result);
    small_close(&s);
}

TEST(other_eval)
{
    small s;
    distill_error err;
    char out[600];
    static const char yaml[] = "train: {eval_every: 2}\n";
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("other_eval"));
    CHECK_INT(run_stopped(out, yaml, (stop){DISTILL_PHASE_TRAINING, 4, 0}, &err), DISTILL_E_CANCELLED);
    for (uint32_t seed = 900; seed < 902; seed++) { /* the same ids, and others */
        REQUIRE_OK(small_parts(&s, NULL, small_text("output: '%s'\n%s", out, yaml), &err));
        distill_dataset_free(s.eval);
        s.eval = NULL;
        REQUIRE_OK(small_dataset_seeded(&s, SMALL_EVAL, seed, &s.eval, &err));
        *logged = '\0';
        REQUIRE_OK(distill_env_set_logger(s.env, DISTILL_LOG_WARN, note, NULL, NULL, &err));
        REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
        REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
        CHECK_INT(strstr(logged, "data.eval changed: ") != NULL, seed == 901);
        CHECK_INT(strstr(logged, "evaluations are compared anew from here") != NULL, seed == 901);
        small_close(&s);
    }
}

/* What a killed run was writing goes, in the output folder too; what is not ours stays. */
TEST(leftovers)
{
    small s;
    distill_error err;
    char out[600], command[800];
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("leftovers"));
    CHECK_INT(run_stopped(out, "", (stop){DISTILL_PHASE_TRAINING, 4, 0}, &err), DISTILL_E_CANCELLED);
    snprintf(
        command, sizeof command,
        "cd '%s' && mkdir student.tmp.tmp.12.0 && touch result.json.tmp.12.1 notes.tmp.12.1 checkpoints/x.tmp.12.1",
        out);
    REQUIRE(system(command) == 0);
    REQUIRE_OK(open_run(&s, out, "", &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    small_close(&s);
    snprintf(command, sizeof command,
             "cd '%s' && test -e notes.tmp.12.1 && ! ls -d student.tmp.tmp* *.json.tmp* */x.tmp*", out);
    CHECK_INT(system(command), 0);
}

/* ---- the best weights ---- */

/* Best weights that are damaged, gone or were never kept: said when the run goes on, which then ends. */
TEST(best_lost)
{
    static const char yaml[] =
        "train: {steps: 12, eval_every: 3, keep_best: %s, learning_rate: 1.5, schedule: constant, weight_decay: 0}\n";
    distill_error err;
    char out[600], with[400], without[400], command[800];
    REQUIRE(small_models("api_stopped"));
    snprintf(with, sizeof with, yaml, "true");
    snprintf(without, sizeof without, yaml, "false");
    snprintf(out, sizeof out, "%s", output_folder("best_lost"));
    for (int kind = 0; kind < 3; kind++) {
        small s;
        snprintf(command, sizeof command, "rm -rf '%s'", out);
        REQUIRE(system(command) == 0);
        CHECK_INT(run_stopped(out, kind ? with : without, (stop){DISTILL_PHASE_TRAINING, 4, 0}, &err),
                  DISTILL_E_CANCELLED);
        CHECK_INT(count_checkpoints(out, "best-00000003"), kind > 0);
        if (kind == 1) damage(out, "checkpoints/best-00000003/student/model.safetensors");
        snprintf(command, sizeof command, "rm -r '%s/checkpoints/best-00000003'", out);
        if (kind == 2) REQUIRE(system(command) == 0);
        REQUIRE_OK(open_run(&s, out, with, &err));
        REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
        CHECK_HAS(logged, "the best weights so far, of step 3, are lost");
        REQUIRE_OK(distill_trainer_run(s.trainer, &err));
        char *result = small_read(test_path(out, "result.json"), NULL);
        CHECK_HAS(result, "of step 3, are lost");
        free(result);
        small_close(&s);
    }
}

static int32_t count_evaluations(void *user, const distill_progress *p)
{
    *(int *)user += p->phase == DISTILL_PHASE_EVALUATING && p->step == STEPS && p->total > 0 && p->done == 0;
    return DISTILL_CB_OK;
}

/* Weights that are saved bit for bit as they stand are not measured twice. */
TEST(evaluated_once)
{
    static const char *const types[] = {"auto", "f32", "bf16"};
    distill_error err;
    char out[600];
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("once"));
    for (int i = 0; i < 3; i++) {
        small s;
        int count = 0;
        REQUIRE_OK(small_open(
            &s, small_text("output: {path: '%s', type: %s, overwrite: true}\n" BEST, out, types[i], ""), &err));
        REQUIRE_OK(distill_trainer_on_progress(s.trainer, count_evaluations, &count, NULL, &err));
        REQUIRE_OK(distill_trainer_run(s.trainer, &err));
        CHECK_INT(count, i < 2 ? 1 : 2);
        small_close(&s);
    }
}

typedef struct saved {
    int64_t done, checkpoint, student; /* totals of step 6 and of the end */
    int whole, backwards;
} saved;

static int32_t watch_saving(void *user, const distill_progress *p)
{
    saved *s = user;
    if (p->phase != DISTILL_PHASE_SAVING) return DISTILL_CB_OK;
    if (p->total == 0) s->done = 0;
    s->backwards += p->done < s->done || p->done > p->total;
    s->done = p->done;
    if (p->total == 0) return DISTILL_CB_OK;
    *(p->step == 6 ? &s->checkpoint : &s->student) = p->total;
    s->whole += p->done == p->total;
    return DISTILL_CB_CANCEL; /* not heeded: files are saved whole */
}

TEST(saving_is_told)
{
    small s;
    distill_error err;
    char out[600];
    saved seen = {0};
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("saving"));
    REQUIRE_OK(open_run(&s, out, "train: {steps: 12, checkpoint_every: 6}\n", &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, watch_saving, &seen, NULL, &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    CHECK_INT(seen.whole, 2); /* the checkpoint, the student */
    CHECK_INT(seen.backwards, 0);
    CHECK(seen.student > 0);
    CHECK_INT(seen.checkpoint, 3 * seen.student); /* with two moments */
    small_close(&s);
}

/* ---- checkpoints that are damaged, left behind, or cannot be removed ---- */

TEST(newest_whole)
{
    static const char yaml[] = "train: {steps: 12, checkpoint_every: 3, checkpoint_keep: 1}\n";
    static const char two[] = "train: {steps: 12, checkpoint_every: 3, checkpoint_keep: 2}\n";
    small s, whole;
    distill_error err;
    char out[600];
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("newest"));
    CHECK_INT(run_stopped(out, two, (stop){DISTILL_PHASE_TRAINING, 8, 0}, &err), DISTILL_E_CANCELLED);
    damage(out, "checkpoints/step-00000008/student/model.safetensors");
    REQUIRE(small_write(test_path(out, "checkpoints/step-00000007.tmp.1.0"), "left behind"));
    REQUIRE_OK(open_run(&s, out, yaml, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    CHECK_HAS(logged, "step-00000008");
    CHECK_HAS(logged, "not whole");
    CHECK_HAS(logged, "resumed from ");
    CHECK_INT(count_checkpoints(out, ".tmp."), 0);
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    CHECK_INT(count_checkpoints(out, "step-"), 1);
    CHECK_INT(count_checkpoints(out, "step-00000009"), 1); /* the damaged one was not what was kept */
    REQUIRE_OK(small_open(&whole, "train: {steps: 12}\n", &err));
    REQUIRE_OK(distill_trainer_run(whole.trainer, &err));
    CHECK(small_same_bits(s.student, whole.student));
    small_close(&s);
    small_close(&whole);
    damage(out, "checkpoints/step-00000009/student/model.safetensors");
    REQUIRE_OK(open_run(&s, out, yaml, &err));
    CHECK_INT(distill_trainer_resume(s.trainer, &err), DISTILL_E_FORMAT);
    CHECK_HAS(err.message, "no checkpoint below");
    CHECK_HAS(err.message, "step-00000009");
    small_close(&s);
}

/* Folders so deep that a process with few descriptors cannot remove them. */
static void make_deep(const char *folder)
{
    char path[1200];
    snprintf(path, sizeof path, "%s", folder);
    mkdir(path, 0777);
    for (int i = 0; i < 120; i++) {
        size_t used = strlen(path);
        snprintf(path + used, sizeof path - used, "/d");
        REQUIRE(mkdir(path, 0777) == 0);
    }
}

static void few_descriptors(int on)
{
    static struct rlimit before;
    struct rlimit few;
    if (on) getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    if (on) few.rlim_cur = 60;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
}

/* What cannot be removed once the new one is in place costs room, not the run. */
TEST(old_stays)
{
    small s;
    distill_error err;
    char out[600], path[700];
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("old_stays"));
    REQUIRE_OK(open_run(&s, out, "train: {checkpoint_every: 2, checkpoint_keep: 1}\n", &err));
    stop at = {DISTILL_PHASE_TRAINING, 3, 0};
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_in, &at, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    make_deep(test_path(out, "checkpoints/step-00000001"));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, NULL, NULL, NULL, &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    few_descriptors(1);
    int32_t rc = distill_trainer_run(s.trainer, &err);
    few_descriptors(0);
    if (rc) FAIL("%d %s", rc, err.message);
    CHECK_HAS(logged, "an old checkpoint stays");
    CHECK_INT(count_checkpoints(out, "step-00000004"), 1);
    snprintf(path, sizeof path, "%s/saved", out);
    *logged = '\0';
    CHECK_OK(distill_trainer_save(s.trainer, path, &err));
    make_deep(test_path(path, "deep"));
    few_descriptors(1);
    rc = distill_trainer_save(s.trainer, path, &err);
    few_descriptors(0);
    if (rc) FAIL("%d %s", rc, err.message);
    CHECK_HAS(logged, "is in place, but what it replaced cannot be removed");
    CHECK(!strstr(logged, ".tmp."));
    CHECK(!small_exists(test_path(path, "deep")));
    small_close(&s);
}

/* ---- what is kept ---- */

TEST(by_time)
{
    distill_error err;
    char out[600];
    small s;
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("by_time"));
    REQUIRE_OK(open_run(&s, out, "train: {checkpoint_minutes: 1e-6}\n", &err));
    REQUIRE_OK(distill_trainer_run(s.trainer, &err));
    CHECK_INT(count_checkpoints(out, "step-"), 2);
    CHECK_INT(count_checkpoints(out, "step-00000005"), 1);
    small_close(&s);
}

typedef struct scorer {
    int calls;
    int with_nan; /* instead of an answer that is an error */
} scorer;

static int32_t fail_score(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    scorer *s = user;
    float *logits = out->values->data;
    (void)batch, (void)first;
    memset(logits, 0, sizeof(float) * SMALL_VOCAB * (size_t)count);
    if (++s->calls <= 8) return DISTILL_CB_OK;
    logits[3] = NAN;
    return s->with_nan ? DISTILL_CB_OK : 7;
}

/* A step that fails, or whose numbers are none: the weights before it are kept. */
static void fail_a_step(int with_nan)
{
    int64_t shape[2] = {0, SMALL_VOCAB};
    scorer from = {0, with_nan};
    distill_tensor values = {
        .ndim = 2, .dtype_code = DISTILL_FLOAT, .dtype_bits = 32, .dtype_lanes = 1, .shape = shape};
    distill_teacher_callbacks table;
    distill_target form;
    distill_error err;
    char out[600];
    small s;
    REQUIRE(small_models("api_stopped"));
    DISTILL_INIT(&table);
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.user = &from;
    table.score = fail_score;
    table.form = &form;
    snprintf(out, sizeof out, "%s", output_folder("failed_step"));
    REQUIRE_OK(small_parts(&s, NULL, small_text("output: '%s'\n", out), &err));
    distill_teacher_free(s.teacher);
    s.teacher = NULL;
    REQUIRE_OK(distill_teacher_from_callbacks(s.env, &table, s.options, &s.teacher, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), with_nan ? DISTILL_E_NUMERIC : DISTILL_E_CALLBACK);
    if (!with_nan) CHECK_INT(err.user_code, 7);
    CHECK_HAS(err.message, "checkpoints");
    CHECK_INT(count_checkpoints(out, "step-"), 1);
    from.calls = -1000;
    CHECK_OK(distill_trainer_resume(s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    small_close(&s);
}

TEST(failed_step)
{
    fail_a_step(0);
    fail_a_step(1);
}

/* Evaluations without a teacher say nothing of a distance to one. */
TEST(no_teacher)
{
    small s;
    distill_error err;
    char out[600];
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("no_teacher"));
    REQUIRE_OK(small_parts(
        &s, NULL, small_text("output: '%s'\nloss: {hard_label_weight: 1}\ntrain: {eval_every: 3}\n", out), &err));
    *logged = '\0';
    REQUIRE_OK(distill_env_set_logger(s.env, DISTILL_LOG_INFO, note, NULL, NULL, &err));
    REQUIRE_OK(distill_trainer_create(s.env, NULL, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    CHECK_HAS(logged, "logits go in strips of 34 rows, 0.0 MiB\n");
    CHECK_HAS(logged, "step 3: perplexity");
    CHECK(!strstr(logged, "forward_kl"));
    small_close(&s);
}

/* No room for a checkpoint: the one before stays, training goes on, and names are those that the user knows. */
TEST(no_room)
{
    struct rlimit before, small_files;
    distill_error err;
    char out[600];
    small s;
    REQUIRE(small_models("api_stopped"));
    snprintf(out, sizeof out, "%s", output_folder("no_room"));
    CHECK_INT(run_stopped(out, "", (stop){DISTILL_PHASE_TRAINING, 2, 0}, &err), DISTILL_E_CANCELLED);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    signal(SIGXFSZ, SIG_IGN);
    small_files = before;
    small_files.rlim_cur = 20000;
    REQUIRE_OK(open_run(&s, out, "train: {checkpoint_every: 1}\n", &err));
    REQUIRE_OK(distill_trainer_resume(s.trainer, &err));
    stop at = {DISTILL_PHASE_TRAINING, 4, 0};
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_in, &at, NULL, &err));
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small_files) == 0);
    int32_t rc = distill_trainer_run(s.trainer, &err);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_INT(rc, DISTILL_E_IO);
    CHECK_HAS(err.message, "could not be written");
    CHECK_HAS(err.message, "step-00000004");
    CHECK(!strstr(err.message, ".tmp."));
    CHECK_HAS(logged, "no checkpoint of step 3");
    CHECK(!strstr(logged, ".tmp."));
    CHECK_INT(count_checkpoints(out, "step-"), 1);
    CHECK_INT(count_checkpoints(out, "tmp"), 0);
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, NULL, NULL, NULL, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err)); /* there is room again: nothing was lost */
    char *result = small_read(test_path(out, "result.json"), NULL);
    CHECK_HAS(result, "no checkpoint of step 3");
    free(result);
    small_close(&s);
    REQUIRE_OK(open_run(&s, out, "", &err));
    CHECK_OK(distill_trainer_resume(s.trainer, &err));
    small_close(&s);
}

TEST_MAIN(TEST_CASE(anywhere) TEST_CASE(last_phase) TEST_CASE(refused) TEST_CASE(told) TEST_CASE(other_eval)
              TEST_CASE(leftovers) TEST_CASE(best_lost) TEST_CASE(evaluated_once) TEST_CASE(saving_is_told)
                  TEST_CASE(newest_whole) TEST_CASE(old_stays) TEST_CASE(by_time) TEST_CASE(failed_step)
                      TEST_CASE(no_teacher) TEST_CASE(no_room))
