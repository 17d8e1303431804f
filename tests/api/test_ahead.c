/* Two batches in flight: a teacher that takes its time is told of the next micro-batch before the student works on this
 * one; each batch ends once, whatever happens; and the numbers are those of a teacher that is told of nothing. */
#include <pthread.h>

#include "small.h"

enum { EVENTS = 4096, BEGIN = 1, SCORE = 2, END = 3 };

typedef struct slow { /* a host's teacher with a thread of its own for each batch that it was told of */
    int events[EVENTS], numbers[EVENTS], count; /* what came, of which batch */
    const distill_batch *flying[4];
    pthread_t threads[4];
    int64_t sums[4]; /* what a thread makes of its batch */
    int flying_number[4], begun, ended, fail_at;
} slow;

typedef struct job {
    const distill_batch *batch;
    int64_t *sum;
} job;

static void *work(void *argument)
{
    job *j = argument;
    for (int64_t i = 0; i < j->batch->offsets[j->batch->sequences]; i++) *j->sum += j->batch->ids[i];
    free(j);
    return NULL;
}

static void note(slow *s, int event, int number)
{
    if (s->count == EVENTS) exit(3);
    s->events[s->count] = event;
    s->numbers[s->count++] = number;
}

static int place_of(const slow *s, const distill_batch *batch)
{
    for (int i = 0; i < 4; i++)
        if (s->flying[i] == batch) return i;
    return -1;
}

static int32_t begin(void *user, const distill_batch *batch)
{
    slow *s = user;
    const int place = place_of(s, NULL);
    job *j = malloc(sizeof *j);
    if (s->begun + 1 == s->fail_at) {
        free(j);
        return -7;
    }
    if (!CHECK(place >= 0) || !j) exit(3);
    s->flying[place] = batch;
    s->flying_number[place] = s->begun;
    s->sums[place] = 0;
    j->batch = batch;
    j->sum = &s->sums[place];
    note(s, BEGIN, s->begun++);
    return pthread_create(&s->threads[place], NULL, work, j) ? -1 : DISTILL_CB_OK;
}

static void end(void *user, const distill_batch *batch)
{
    slow *s = user;
    const int place = place_of(s, batch);
    if (!CHECK(place >= 0)) return;
    pthread_join(s->threads[place], NULL);
    int64_t sum = 0;
    for (int64_t i = 0; i < batch->offsets[batch->sequences]; i++) sum += batch->ids[i];
    CHECK_INT(s->sums[place], sum); /* the batch stood still */
    note(s, END, s->flying_number[place]);
    s->flying[place] = NULL;
    s->ended++;
}

static int32_t score(void *user, const distill_batch *batch, int64_t first, int64_t count, distill_target *out)
{
    slow *s = user;
    const int64_t stride = out->values->strides ? out->values->strides[0] : out->values->shape[1];
    const int place = place_of(s, batch);
    if (s->begun && CHECK(place >= 0) && !first) note(s, SCORE, s->flying_number[place]);
    for (int64_t r = 0; r < count; r++)
        for (int64_t v = 0; v < SMALL_VOCAB; v++)
            ((float *)out->values->data)[r * stride + v] =
                v == (batch->ids[batch->rows[first + r]] * 5 + 3) % SMALL_VOCAB ? 4.0f : (float)(v % 3);
    return DISTILL_CB_OK;
}

/* A trainer of 6 steps, a window of 4 samples in micro-batches as asked. */
static int32_t open_slow(small *s, slow *host, int told, const char *more, distill_error *err)
{
    static const int64_t width[1] = {SMALL_VOCAB};
    distill_tensor values = {.device_type = DISTILL_CPU,
                             .ndim = 1,
                             .dtype_code = DISTILL_FLOAT,
                             .dtype_bits = 32,
                             .dtype_lanes = 1,
                             .shape = width};
    distill_teacher_callbacks table;
    distill_target form;
    memset(host, 0, sizeof *host);
    DISTILL_INIT(&table);
    DISTILL_INIT(&form);
    form.kind = DISTILL_DENSE;
    form.values = &values;
    table.user = host;
    table.score = score;
    table.form = &form;
    table.begin = told ? begin : NULL;
    table.end = told ? end : NULL;
    int32_t rc = small_parts(s, NULL, more, err);
    distill_teacher_free(s->teacher);
    s->teacher = NULL;
    if (!rc) rc = distill_teacher_from_callbacks(s->env, &table, NULL, &s->teacher, err);
    if (!rc) rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, NULL, s->options, &s->trainer, err);
    return rc;
}

static int find(const slow *s, int event, int number)
{
    for (int i = 0; i < s->count; i++)
        if (s->events[i] == event && s->numbers[i] == number) return i;
    return -1;
}

static void check_order(const slow *s, int micro_batches)
{
    CHECK_INT(s->begun, micro_batches);
    for (int k = 0; k < micro_batches; k++) {
        const int begun = find(s, BEGIN, k), scored = find(s, SCORE, k), ended = find(s, END, k);
        CHECK(begun >= 0 && begun < scored && scored < ended);
        if (k + 1 == micro_batches) continue;
        CHECK(find(s, BEGIN, k + 1) < scored); /* the next one is under way before this one's rows are asked for */
        CHECK(find(s, BEGIN, k + 1) < ended);
    }
}

TEST(next_begins_before_this_ends)
{
    static slow told, plain;
    static const char *const sizes[] = {"train: {micro_batch_size: 2}\n", "train: {micro_batch_size: 4}\n"};
    distill_error err;
    REQUIRE(small_models("ahead"));
    for (int m = 0; m < 2; m++) {
        small a, b;
        REQUIRE_OK(open_slow(&a, &told, 1, sizes[m], &err));
        REQUIRE_OK(open_slow(&b, &plain, 0, sizes[m], &err));
        CHECK_OK(distill_trainer_run(a.trainer, &err));
        CHECK_OK(distill_trainer_run(b.trainer, &err));
        check_order(&told, m ? 6 : 12); /* nothing beyond the last step */
        CHECK(small_same_bits(a.student, b.student));
        CHECK_INT(told.ended, told.begun);
        CHECK_INT(plain.count, 0);
        small_close(&a);
        small_close(&b);
    }
}

TEST(undone_steps_end_what_they_began)
{
    static slow told, plain;
    distill_progress progress;
    distill_error err;
    small a, b;
    REQUIRE(small_models("ahead"));
    REQUIRE_OK(open_slow(&a, &told, 1, NULL, &err));
    REQUIRE_OK(open_slow(&b, &plain, 0, NULL, &err));
    DISTILL_INIT(&progress);
    for (int step = 0; step < 6; step++) {
        distill_forward forward;
        DISTILL_INIT(&forward);
        if (step == 2) { /* a window that is begun and cancelled leaves nothing in flight */
            CHECK_OK(distill_trainer_forward(a.trainer, 0, &forward, &err));
            CHECK_INT(told.begun - told.ended, 2);
            distill_trainer_cancel(a.trainer, 1);
            CHECK_INT(distill_trainer_backward(a.trainer, NULL, 0, &err), DISTILL_E_CANCELLED);
            distill_trainer_cancel(a.trainer, 0);
            CHECK_INT(told.ended, told.begun);
        }
        if (step == 4) { /* begin refuses: the step fails and is undone */
            told.fail_at = told.begun + 1;
            CHECK_INT(distill_trainer_step(a.trainer, &progress, &err), DISTILL_E_CALLBACK);
            CHECK_INT(err.user_code, -7);
            CHECK_HAS(err.message, "begin");
            told.fail_at = 0;
            CHECK_INT(told.ended, told.begun);
        }
        CHECK_OK(distill_trainer_step(a.trainer, &progress, &err));
        CHECK_OK(distill_trainer_step(b.trainer, &progress, &err));
    }
    CHECK(small_same_bits(a.student, b.student));
    CHECK_INT(distill_trainer_step(a.trainer, &progress, &err), DISTILL_E_END);
    small_close(&a);
    small_close(&b);
    CHECK_INT(told.ended, told.begun);
}

TEST(freed_in_the_middle)
{
    static slow told;
    distill_progress progress;
    distill_error err;
    small a;
    REQUIRE(small_models("ahead"));
    REQUIRE_OK(open_slow(&a, &told, 1, NULL, &err));
    DISTILL_INIT(&progress);
    CHECK_OK(distill_trainer_step(a.trainer, &progress, &err));
    CHECK_INT(told.begun - told.ended, 1);
    small_close(&a);
    CHECK_INT(told.ended, told.begun);
}

TEST_MAIN(TEST_CASE(next_begins_before_this_ends) TEST_CASE(undone_steps_end_what_they_began)
              TEST_CASE(freed_in_the_middle))
