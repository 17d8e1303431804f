/* Several ranks, as threads with an env each, against one: the same loss and weights to rounding, for one number of ranks
 * the same bits. */
#include "small.h"
#include "thread_ranks.h"

enum { STEPS = 12 };

typedef struct job {
    const char *more, *out; /* YAML; the output folder, or NULL */
    int32_t want, resume;
    const char *says; /* the message, where want is a failure */
    int64_t steps;
    distill_progress_fn progress;
    int32_t only; /* rank that has it; -1 = all */
    int64_t fails_rank, fails_at;
    void (*before)(small *s, int64_t rank);
    small ranks[THREAD_RANKS];
    distill_progress last[THREAD_RANKS];
    int64_t bytes[THREAD_RANKS], calls[THREAD_RANKS];
} job;

static int32_t note(void *user, const distill_progress *p)
{
    memcpy(user, p, sizeof *p);
    return DISTILL_CB_OK;
}

static int32_t join(small *s, thread_rank *r, distill_error *err)
{
    distill_communicator table;
    if (!r) return DISTILL_OK;
    DISTILL_INIT(&table);
    THREAD_COMMUNICATOR(&table, r);
    return distill_env_set_communicator(s->env, &table, err);
}

static int32_t open_rank(small *s, thread_rank *r, const job *j, distill_error *err)
{
    char yaml[2000];
    memset(s, 0, sizeof *s);
    snprintf(yaml, sizeof yaml, "train: {steps: %d, warmup_steps: 2}\n%s%s%s\n", (int)(j->steps ? j->steps : STEPS),
             j->out ? "output: '" : "", j->out ? j->out : "", j->out ? "'" : "");
    int32_t rc = small_env(s, NULL, yaml, err);
    if (!rc && j->more) rc = distill_options_parse(s->options, j->more, strlen(j->more), "more", err);
    if (!rc) rc = join(s, r, err);
    if (!rc) rc = small_handles(s, err);
    if (!rc && j->before) j->before(s, r ? r->rank : 0);
    if (!rc)
        rc = distill_trainer_create(s->env, s->teacher, s->student, s->train, s->eval, s->options, &s->trainer, err);
    return rc;
}

static void one_rank(thread_rank *r, void *user)
{
    job *j = user;
    const int64_t rank = r ? r->rank : 0;
    small *s = &j->ranks[rank];
    distill_error err;
    if (r && j->fails_at && j->fails_rank == rank) r->fails_at = j->fails_at;
    if (r) r->job->seconds = 20;
    int32_t rc = open_rank(s, r, j, &err);
    if (!rc) rc = distill_trainer_on_progress(s->trainer, note, &j->last[rank], NULL, &err);
    if (!rc && j->progress && (j->only < 0 || j->only == rank))
        rc = distill_trainer_on_progress(s->trainer, j->progress, &j->last[rank], NULL, &err);
    if (!rc && j->resume) rc = distill_trainer_resume(s->trainer, &err);
    if (!rc) rc = distill_trainer_run(s->trainer, &err);
    if (rc != j->want) FAIL("rank %d: %d %s", (int)rank, rc, err.message);
    else if (j->says) CHECK_HAS(err.message, j->says);
    if (r) j->bytes[rank] = r->bytes;
    if (r) j->calls[rank] = r->next;
}

static void run(job *j, int64_t ranks)
{
    memset(j->ranks, 0, sizeof j->ranks);
    if (ranks == 1) one_rank(NULL, j);
    else CHECK(thread_ranks_run(ranks, one_rank, j));
}

static void end(job *j)
{
    for (int i = 0; i < THREAD_RANKS; i++) small_close(&j->ranks[i]);
}

/* |a - b| / |b| over all weights. */
static double relative(distill_student *a, distill_student *b)
{
    double difference = 0, size = 0;
    const char *name;
    for (int64_t i = 0; (name = distill_student_parameter_name(a, i)); i++) {
        distill_tensor x, y;
        if (distill_student_parameter(a, name, DISTILL_WEIGHT, &x, NULL) ||
            distill_student_parameter(b, name, DISTILL_WEIGHT, &y, NULL))
            return -1;
        for (int64_t k = 0; k < small_elements(&x); k++) {
            const double p = (double)((const float *)x.data)[k], q = (double)((const float *)y.data)[k];
            difference += (p - q) * (p - q);
            size += q * q;
        }
    }
    return sqrt(difference / size);
}

static void compare(const char *more, int64_t steps, double loss, double weights)
{
    job one = {.more = more, .steps = steps}, several = one, again = one;
    run(&one, 1);
    for (int64_t ranks = 2; ranks <= 4; ranks++) {
        run(&several, ranks);
        if (test_failures) break;
        const double off = relative(several.ranks[0].student, one.ranks[0].student);
        if (!(off <= weights)) FAIL("%s: weights of %d ranks are off by %.3g", more, (int)ranks, off);
        if (!(fabs(several.last[0].loss - one.last[0].loss) <= loss * (1 + fabs(one.last[0].loss))))
            FAIL("%s: loss of %d ranks is %.9g, not %.9g", more, (int)ranks, several.last[0].loss, one.last[0].loss);
        CHECK_INT(several.last[0].tokens, one.last[0].tokens);
        for (int64_t r = 1; r < ranks; r++) {
            CHECK(small_same_bits(several.ranks[r].student, several.ranks[0].student));
            CHECK(several.last[r].loss == several.last[0].loss);
        }
        run(&again, ranks);
        CHECK(small_same_bits(several.ranks[0].student, again.ranks[0].student));
        end(&again);
        end(&several);
    }
    end(&one);
}

TEST(equal_to_one)
{
    REQUIRE(small_models("ranks"));
    compare("train: {batch_size: 8, micro_batch_size: 8}\n", 50, 1e-6, 2e-6); /* accumulation 1, 3, 8 on one rank */
    compare("train: {batch_size: 8, micro_batch_size: 3}\n", STEPS, 1e-6, 2e-6);
    compare("train: {batch_size: 8, micro_batch_size: 1}\n", STEPS, 1e-6, 2e-6);
    compare("train: {batch_size: 5}\ndata: {pack: true}\n", STEPS, 1e-6, 2e-6);
    compare("student: {freeze: ['model.embed_tokens.*', 'model.layers.0.*']}\n", STEPS, 1e-6, 2e-6);
    compare("train: {clip_norm: 0.5}\nloss: {type: jsd}\n", STEPS, 1e-6, 1e-5);
}

TEST(shares_and_wires)
{
    REQUIRE(small_models("ranks"));
    compare("train: {shard_optimizer: true}\n", STEPS, 1e-6, 2e-6);
    compare("train: {shard_optimizer: true, moments: bf16, beta2: 0.95}\n", STEPS, 1e-4, 1e-3);
    compare("train: {gradient_wire: bf16}\n", STEPS, 2e-2, 2e-2);
}

TEST_MAIN(TEST_CASE(equal_to_one) TEST_CASE(shares_and_wires))
