/* Going on: a run that was stopped, killed or saved gives bitwise what an uninterrupted one gives. */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "small.h"

enum { STEPS = 12 };

static void pause_for(unsigned microseconds)
{
    struct timespec time = {0, 1000L * microseconds};
    nanosleep(&time, NULL);
}

static const char *output_folder(const char *name)
{
    const char *path = small_text("%s/%s", small_folder, name);
    char command[2200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command) ? NULL : path;
}

static int32_t open_run(small *s, const char *out, const char *more, distill_error *err)
{
    return small_open(
        s, small_text("output: '%s'\ntrain: {steps: %d, warmup_steps: 2%s}\n", out, STEPS, more ? more : ""), err);
}

/* The uninterrupted run; its student and metrics are what every other one is compared with. */
static small whole;
static char whole_out[600];

static int need_whole(void)
{
    distill_error err;
    if (whole.trainer) return 1;
    if (!small_models("resume")) return 0;
    snprintf(whole_out, sizeof whole_out, "%s", output_folder("whole"));
    int32_t rc = open_run(&whole, whole_out, NULL, &err);
    if (!rc) rc = distill_trainer_run(whole.trainer, &err);
    if (rc) FAIL("the whole run: %d %s", rc, err.message);
    return !rc;
}

/* Lines of steps without their times. */
static void check_metrics(const char *out)
{
    char *a = small_read(test_path(whole_out, "metrics.jsonl"), NULL),
         *b = small_read(test_path(out, "metrics.jsonl"), NULL);
    char *x = a, *y = b;
    int line = 0;
    while (x && y && *x && *y) {
        char *x_end = strstr(x, ",\"tokens_per_second\""), *y_end = strstr(y, ",\"tokens_per_second\"");
        line++;
        if (!x_end || !y_end || x_end - x != y_end - y || memcmp(x, y, (size_t)(x_end - x)) != 0) {
            FAIL("%s: line %d of metrics.jsonl differs: %.120s | %.120s", out, line, x, y);
            break;
        }
        x = strchr(x, '\n') ? strchr(x, '\n') + 1 : x + strlen(x);
        y = strchr(y, '\n') ? strchr(y, '\n') + 1 : y + strlen(y);
    }
    CHECK_INT(line, STEPS);
    if (x && y && (*x || *y)) FAIL("%s: metrics.jsonl has another number of lines", out);
    free(a);
    free(b);
}

static int32_t stop_at(void *user, const distill_progress *p)
{
    const int64_t *step = user;
    return p->phase == DISTILL_PHASE_TRAINING && p->step == *step ? DISTILL_CB_CANCEL : DISTILL_CB_OK;
}

static void resume_and_compare(const char *out)
{
    small s;
    distill_error err;
    REQUIRE_OK(open_run(&s, out, NULL, &err));
    int32_t rc = distill_trainer_resume(s.trainer, &err);
    if (rc && rc != DISTILL_E_NOT_FOUND) FAIL("%s: %d %s", out, rc, err.message);
    if (rc == DISTILL_E_NOT_FOUND) { /* killed before its first checkpoint */
        CHECK_HAS(err.message, out);
        CHECK_OK(distill_options_set(s.options, "output.overwrite", "true", &err));
        distill_trainer_free(s.trainer);
        s.trainer = NULL;
        REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    }
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    if (!small_same_bits(s.student, whole.student))
        FAIL("%s: off by %g", out, small_distance(s.student, whole.student));
    check_metrics(out);
    small_close(&s);
}

TEST(cancelled)
{
    static int64_t steps[] = {1, 5, 11};
    REQUIRE(need_whole());
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        small s;
        distill_error err;
        char out[600];
        snprintf(out, sizeof out, "%s", output_folder("cancelled"));
        REQUIRE_OK(open_run(&s, out, NULL, &err));
        REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at, &steps[i], NULL, &err));
        CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
        CHECK_HAS(err.message, "checkpoints");
        CHECK(!small_exists(test_path(out, "result.json")));
        small_close(&s);
        resume_and_compare(out);
    }
}

/* The same trainer goes on, too. */
TEST(goes_on)
{
    static int64_t step = 4;
    small s;
    distill_error err;
    REQUIRE(need_whole());
    REQUIRE_OK(small_open(&s, small_text("train: {steps: %d, warmup_steps: 2}\n", STEPS), &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at, &step, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, NULL, NULL, NULL, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    CHECK(small_same_bits(s.student, whole.student));
    CHECK_INT(distill_trainer_resume(s.trainer, &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "output.path");
    small_close(&s);
}

/* ---- killed ---- */

static int32_t linger(void *user, const distill_progress *p)
{
    (void)user, (void)p;
    pause_for(2000);
    return DISTILL_CB_OK;
}

static void child(const char *out)
{
    small s;
    if (open_run(&s, out, ", checkpoint_every: 1, checkpoint_keep: 2", NULL)) _exit(3);
    if (distill_trainer_on_progress(s.trainer, linger, NULL, NULL, NULL)) _exit(4);
    _exit(distill_trainer_run(s.trainer, NULL) ? 5 : 0);
}

static int lines_of(const char *path)
{
    char *text = small_read(path, NULL);
    int lines = 0;
    for (const char *at = text; at && (at = strchr(at, '\n')); at++) lines++;
    free(text);
    return lines;
}

static void kill_at(int line, unsigned microseconds)
{
    char out[600];
    int status = 0;
    snprintf(out, sizeof out, "%s", output_folder("killed"));
    fflush(NULL);
    pid_t pid = fork();
    if (!pid) child(out);
    REQUIRE(pid > 0);
    for (int i = 0; i < 20000 && lines_of(test_path(out, "metrics.jsonl")) < line; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            FAIL("the child ended early: %d", status);
            return;
        }
        pause_for(500);
    }
    pause_for(microseconds);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    if (!WIFSIGNALED(status) && (!WIFEXITED(status) || WEXITSTATUS(status))) FAIL("the child ended with %d", status);
    if (!small_exists(test_path(out, "result.json"))) resume_and_compare(out);
}

TEST(killed)
{
    static const unsigned waits[] = {0, 1500, 3000, 5000, 7000};
    REQUIRE(need_whole());
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) kill_at(1 + 2 * (int)i, waits[i]);
}

/* ---- save and load ---- */

static void steps_of(small *s, int count)
{
    distill_error err;
    for (int i = 0; i < count; i++) REQUIRE_OK(distill_trainer_step(s->trainer, NULL, &err));
}

TEST(save_and_load)
{
    small a, b;
    distill_error err;
    char path[600];
    REQUIRE(need_whole());
    snprintf(path, sizeof path, "%s", output_folder("saved"));
    const char *yaml = "train: {steps: 12, warmup_steps: 2}\n";
    REQUIRE_OK(small_open(&a, yaml, &err));
    steps_of(&a, 5);
    CHECK_OK(distill_trainer_save(a.trainer, path, &err));
    steps_of(&a, 7);
    CHECK(small_same_bits(a.student, whole.student));
    REQUIRE_OK(small_open(&b, yaml, &err));
    steps_of(&b, 2); /* of no consequence */
    REQUIRE_OK(distill_trainer_load(b.trainer, path, &err));
    steps_of(&b, 7);
    CHECK_INT(distill_trainer_step(b.trainer, NULL, &err), DISTILL_E_END);
    CHECK(small_same_bits(b.student, whole.student));
    REQUIRE_OK(distill_trainer_load(b.trainer, path, &err)); /* back again, in the same trainer */
    steps_of(&b, 7);
    CHECK(small_same_bits(b.student, whole.student));
    distill_forward forward;
    DISTILL_INIT(&forward);
    REQUIRE_OK(distill_trainer_load(b.trainer, path, &err));
    REQUIRE_OK(distill_trainer_forward(b.trainer, 0, &forward, &err));
    CHECK_INT(distill_trainer_save(b.trainer, path, &err), DISTILL_E_STAGE);
    CHECK_INT(distill_trainer_load(b.trainer, path, &err), DISTILL_E_STAGE);
    small_close(&a);
    small_close(&b);
}

static void flip(const char *path, size_t place)
{
    FILE *file = fopen(path, "r+b");
    int byte;
    REQUIRE(file);
    fseek(file, (long)place, SEEK_SET);
    byte = fgetc(file);
    fseek(file, (long)place, SEEK_SET);
    fputc(byte ^ 1, file);
    fclose(file);
}

/* A flipped bit in the middle of a file is refused with the file's name, and the trainer is as before. */
static void check_flip(small *s, distill_student *as, const char *checkpoint, const char *name, size_t place)
{
    distill_error err;
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", checkpoint, name);
    flip(path, place);
    int32_t rc = distill_trainer_load(s->trainer, checkpoint, &err);
    if (rc == DISTILL_OK) FAIL("%s: byte %zu was flipped and nobody noticed", name, place);
    else if (!strstr(err.message, name))
        FAIL("%s: byte %zu: the message does not name the file: %s", name, place, err.message);
    if (!small_same_bits(s->student, as)) FAIL("%s: byte %zu: weights changed", name, place);
    flip(path, place);
}

static void flip_some(small *s, distill_student *as, const char *checkpoint, const char *name)
{
    size_t size = 0;
    free(small_read(test_path(checkpoint, name), &size));
    if (!size) {
        FAIL("no %s", name);
        return;
    }
    check_flip(s, as, checkpoint, name, 0);
    check_flip(s, as, checkpoint, name, size / 2);
    check_flip(s, as, checkpoint, name, size - 2);
}

TEST(damaged)
{
    static const char *const files[] = {"student/config.json", "student/model.safetensors",
                                        "optimizer/model.safetensors"};
    small s, other;
    distill_error err;
    char path[600], copy[700];
    REQUIRE(need_whole());
    snprintf(path, sizeof path, "%s", output_folder("damaged"));
    REQUIRE_OK(small_open(&s, NULL, &err));
    REQUIRE_OK(small_open(&other, NULL, &err));
    steps_of(&s, 3);
    CHECK_OK(distill_trainer_save(s.trainer, path, &err));
    steps_of(&s, 1);
    steps_of(&other, 4);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) flip_some(&s, other.student, path, files[i]);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) { /* and a file that is gone */
        snprintf(copy, sizeof copy, "%s/%s", path, files[i]);
        REQUIRE(rename(copy, test_path(path, "aside")) == 0);
        CHECK(distill_trainer_load(s.trainer, path, &err) != DISTILL_OK);
        CHECK_HAS(err.message, files[i]);
        REQUIRE(rename(test_path(path, "aside"), copy) == 0);
    }
    CHECK_INT(distill_trainer_load(s.trainer, test_path(path, "nowhere"), &err), DISTILL_E_NOT_FOUND);
    CHECK_HAS(err.message, "nowhere");
    steps_of(&s, 2);
    steps_of(&other, 2);
    CHECK(small_same_bits(s.student, other.student)); /* moments and cursor are untouched too */
    small_close(&s);
    small_close(&other);
}

/* The state itself: a number or a key that changed must not go unnoticed. */
TEST(damaged_state)
{
    static const char *const fields[] = {"\"step\":", "\"optimizer_step\":", "\"tokens\":", "\"seed\":", "\"value\":"};
    small s;
    distill_error err;
    char path[600];
    REQUIRE(need_whole());
    snprintf(path, sizeof path, "%s", output_folder("damaged_state"));
    REQUIRE_OK(small_open(&s, NULL, &err));
    steps_of(&s, 3);
    CHECK_OK(distill_trainer_save(s.trainer, path, &err));
    char *state = small_read(test_path(path, "state.json"), NULL);
    REQUIRE(state);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char *at = strstr(state, fields[i]);
        if (!CHECK(at)) continue;
        check_flip(&s, s.student, path, "state.json", (size_t)(at - state) + strlen(fields[i]));
        check_flip(&s, s.student, path, "state.json", (size_t)(at - state) + 1);
    }
    free(state);
    small_close(&s);
}

TEST(others)
{
    static const char *const differs[][2] = {
        {"train: {seed: 2}\n", "train.seed"},
        {"train: {batch_size: 6}\n", "train.batch_size"},
        {"student: {freeze: ['*norm*']}\n", "student.freeze"},
        {"data: {sequence_length: 16}\n", "data"},
    };
    small s;
    distill_error err;
    char path[600];
    REQUIRE(need_whole());
    snprintf(path, sizeof path, "%s", output_folder("others"));
    REQUIRE_OK(small_open(&s, NULL, &err));
    CHECK_OK(distill_trainer_save(s.trainer, path, &err));
    small_close(&s);
    for (size_t i = 0; i < sizeof differs / sizeof *differs; i++) {
        REQUIRE_OK(small_open(&s, differs[i][0], &err));
        int32_t rc = distill_trainer_load(s.trainer, path, &err);
        if (rc != DISTILL_E_MISMATCH) FAIL("%s: %d %s", differs[i][0], rc, err.message);
        CHECK_HAS(err.message, differs[i][1]);
        small_close(&s);
    }
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    distill_dataset_free(s.train);
    s.train = NULL;
    REQUIRE_OK(small_dataset_seeded(&s, SMALL_SEQUENCES, 101, &s.train, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    CHECK_INT(distill_trainer_load(s.trainer, path, &err), DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "data");
    small_close(&s);
    REQUIRE_OK(small_parts(&s, NULL, NULL, &err));
    REQUIRE(small_config("deeper.json", 3));
    distill_student_free(s.student);
    s.student = NULL;
    REQUIRE_OK(
        distill_student_create(s.env, test_path(small_folder, "deeper.json"), NULL, s.options, &s.student, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, NULL, s.options, &s.trainer, &err));
    CHECK_INT(distill_trainer_load(s.trainer, path, &err), DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "layers.2");
    small_close(&s);
}

/* Checkpoints below output.path: the newest are kept. */
TEST(kept)
{
    small s;
    distill_error err;
    char out[600];
    REQUIRE(need_whole());
    snprintf(out, sizeof out, "%s", output_folder("kept"));
    REQUIRE_OK(open_run(&s, out, ", checkpoint_every: 2, checkpoint_keep: 3", &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    int count = 0;
    DIR *folder = opendir(test_path(out, "checkpoints"));
    REQUIRE(folder);
    for (struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.';
    closedir(folder);
    CHECK_INT(count, 3);
    CHECK(small_exists(test_path(out, "checkpoints/step-00000010/state.json")));
    CHECK(!small_exists(test_path(out, "checkpoints/step-00000004")));
    CHECK(small_same_bits(s.student, whole.student));
    small_close(&s);
}

/* ---- another thread ---- */

typedef struct stopper {
    const distill_trainer *trainer;
    const distill_env *env;
    int64_t steps;
} stopper;

static void *stop_soon(void *user)
{
    const stopper *s = user;
    pause_for(60000);
    if (s->trainer) distill_trainer_cancel(s->trainer, 1);
    else distill_env_cancel(s->env, 1);
    return NULL;
}

TEST(thread)
{
    REQUIRE(need_whole());
    for (int of_env = 0; of_env < 2; of_env++) {
        small s;
        distill_error err;
        pthread_t thread;
        char out[600];
        distill_progress p;
        snprintf(out, sizeof out, "%s", output_folder("thread"));
        REQUIRE_OK(small_open(&s, small_text("output: '%s'\ntrain: {steps: 100000, schedule: constant}\n", out), &err));
        stopper stop = {of_env ? NULL : s.trainer, s.env, 0};
        REQUIRE(pthread_create(&thread, NULL, stop_soon, &stop) == 0);
        CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
        pthread_join(thread, NULL);
        if (!of_env) CHECK_HAS(err.message, "checkpoint");
        CHECK_INT(distill_trainer_step(s.trainer, NULL, &err), DISTILL_E_CANCELLED); /* a level, not an event */
        if (of_env) distill_env_cancel(s.env, 0);
        else distill_trainer_cancel(s.trainer, 0);
        DISTILL_INIT(&p);
        CHECK_OK(distill_trainer_step(s.trainer, &p, &err));
        CHECK(p.step > 1 && p.step < 100000);
        small_close(&s);
        REQUIRE_OK(small_open(&s, small_text("output: '%s'\ntrain: {steps: 100000, schedule: constant}\n", out), &err));
        CHECK_OK(distill_trainer_resume(s.trainer, &err));
        distill_progress q;
        DISTILL_INIT(&q);
        CHECK_OK(distill_trainer_step(s.trainer, &q, &err));
        CHECK_INT(q.step, p.step);
        CHECK_NEAR(q.loss, p.loss, 0);
        small_close(&s);
    }
}

/* Moments of 8 bits: another run than that of fp32, near it, which goes on bitwise, and as itself alone. */
TEST(half_moments)
{
    static int64_t at = 5;
    small through, s;
    distill_error err;
    char out[600];
    REQUIRE(need_whole());
    REQUIRE_OK(open_run(&through, output_folder("half_through"), ", moments: bf16", &err));
    CHECK_OK(distill_trainer_run(through.trainer, &err));
    CHECK(!small_same_bits(through.student, whole.student));
    CHECK(small_distance(through.student, whole.student) < 1e-2);
    snprintf(out, sizeof out, "%s", output_folder("half"));
    REQUIRE_OK(open_run(&s, out, ", moments: bf16", &err));
    REQUIRE_OK(distill_trainer_on_progress(s.trainer, stop_at, &at, NULL, &err));
    CHECK_INT(distill_trainer_run(s.trainer, &err), DISTILL_E_CANCELLED);
    small_close(&s);
    REQUIRE_OK(open_run(&s, out, NULL, &err));
    CHECK_INT(distill_trainer_resume(s.trainer, &err), DISTILL_E_MISMATCH);
    CHECK_HAS(err.message, "has moments in bf16, and train.moments says f32: give the old value");
    small_close(&s);
    REQUIRE_OK(open_run(&s, out, ", moments: bf16", &err));
    CHECK_OK(distill_trainer_resume(s.trainer, &err));
    CHECK_OK(distill_trainer_run(s.trainer, &err));
    CHECK(small_same_bits(s.student, through.student));
    small_close(&s);
    small_close(&through);
    CHECK_INT(open_run(&s, output_folder("half_slow"), ", moments: bf16, beta2: 0.999", &err), DISTILL_E_OPTION);
    CHECK_HAS(err.message, "train.moments bf16 with train.beta2 0.999");
    CHECK_HAS(err.message, "lower it to 0.98");
    small_close(&s);
}

TEST(done) { small_close(&whole); }

TEST_MAIN(TEST_CASE(cancelled) TEST_CASE(goes_on) TEST_CASE(killed) TEST_CASE(save_and_load) TEST_CASE(damaged)
              TEST_CASE(damaged_state) TEST_CASE(others) TEST_CASE(kept) TEST_CASE(thread) TEST_CASE(half_moments)
                  TEST_CASE(done))
