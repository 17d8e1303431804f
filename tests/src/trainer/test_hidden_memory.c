/* A backend that hides its memory trains, evaluates, scores, writes text and saves exactly as the CPU backend does:
 * only host_rows.c of src looks into a buffer, and there is a copy where it may not. */
#include "../teacher/model_fixture.h"
#include "evaluate/evaluate.h"
#include "hidden_memory.h"
#include "trainer/trainer_state.h"

enum { STEPS = 3, LOGITS = 11 * TINY_VOCAB, WRITTEN = 6 };

typedef struct outcome { /* all that a run shows */
    double loss, nats, kl;
    float logits[LOGITS];
    int32_t ids[WRITTEN];
    int64_t written;
    char hash[65];
} outcome;

static int32_t write_down(void *user, int64_t sequence, int32_t id, double log_prob, const char *text, size_t size,
                          int32_t finished)
{
    outcome *out = user;
    (void)sequence, (void)log_prob, (void)text, (void)size, (void)finished;
    if (out->written < WRITTEN) out->ids[out->written++] = id;
    return 0;
}

static void look(fixture *f, di_trainer *trainer, di_teacher *teacher, outcome *out)
{
    distill_batch batch = tiny_batch(), prompt = tiny_batch();
    di_evaluation result;
    di_teacher *student = NULL;
    dk_error err;
    prompt.sequences = 1;
    out->loss = trainer->counters.last_loss;
    CHECK_OK(di_student_as_teacher(trainer->student, &student, &err));
    di_evaluate_args args = {
        .backend = f->backend, .student = student, .teacher = teacher, .data = trainer->data.train, .memory = 4096};
    CHECK_OK(di_evaluate(&args, &result, &err));
    out->nats = result.nats;
    out->kl = result.kl_mean;
    CHECK_OK(score_with(student, &batch, out->logits, &err));
    CHECK_OK(di_options_set(f->options, "generate.max_tokens", "6", &err));
    CHECK_OK(di_teacher_generate(student, &prompt, f->options, NULL, write_down, out, &err));
    CHECK(out->written > 0);
    CHECK_OK(dk_model_hash(di_student_model(trainer->student), out->hash, &err));
    CHECK_OK(dk_model_save(di_student_model(trainer->student), f->folder, DK_F32, &err));
    di_teacher_release(student);
}

/* The host's loss in pull mode: logits minus 1 at the label, whatever that means. */
static void pull(di_trainer *trainer)
{
    distill_forward forward;
    distill_strip strip;
    dk_error err;
    DISTILL_INIT(&forward);
    CHECK_OK(di_trainer_forward(trainer, 0, &forward, &err));
    for (;;) {
        DISTILL_INIT(&strip);
        int32_t rc = di_trainer_next_rows(trainer, &strip, &err);
        if (rc == DK_E_END) break;
        REQUIRE_OK(rc);
        REQUIRE(strip.student);
        for (int64_t r = 0; r < strip.rows; r++)
            for (int64_t v = 0; v < strip.vocab; v++)
                strip.student[r * strip.student_stride + v] *= v == strip.labels[r] ? -0.01f : 0.01f;
    }
    CHECK_OK(di_trainer_backward(trainer, NULL, 0, &err));
    CHECK_OK(di_trainer_apply(trainer, NULL, &err));
}

static void run(const char *name, int hidden, outcome *out)
{
    static const char *const set[][2] = {
        {"data.sequence_length", "7"},     {"data.pack", "false"},     {"train.batch_size", "2"},
        {"train.micro_batch_size", "2"},   {"train.steps", "8"},       {"train.warmup_steps", "0"},
        {"loss.hard_label_weight", "0.5"}, {"loss.type", "forward_kl"}};
    distill_batch batch = tiny_batch();
    di_student *student = NULL, *other = NULL;
    di_teacher *teacher = NULL;
    di_dataset *data = NULL;
    di_trainer *trainer = NULL;
    dk_error err;
    fixture f;
    open_fixture(&f, name);
    if (hidden) hide_memory(f.backend);
    di_parts parts = {.backend = f.backend};
    CHECK_OK(di_options_set(f.options, "train.seed", "5", &err));
    CHECK_OK(di_student_create(f.backend, f.config, NULL, f.options, &other, &err));
    CHECK_OK(di_student_as_teacher(other, &teacher, &err));
    CHECK_OK(di_options_set(f.options, "train.seed", "6", &err));
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        CHECK_OK(di_options_set(f.options, set[i][0], set[i][1], &err));
    CHECK_OK(di_registry_create(f.host, &parts.registry, &err));
    CHECK_OK(di_student_create(f.backend, f.config, NULL, f.options, &student, &err));
    CHECK_OK(di_dataset_from_tokens(f.host, &batch, f.options, &data, &err));
    parts.student = student;
    parts.teacher = teacher;
    parts.train = data;
    CHECK_OK(di_trainer_create(&parts, f.options, &trainer, &err));
    REQUIRE(trainer);
    for (int k = 0; k < STEPS; k++) CHECK_OK(di_window_step(trainer, NULL, &err));
    int64_t before = dk_host_allocations(f.host);
    CHECK_OK(di_window_step(trainer, NULL, &err));
    CHECK_INT(dk_host_allocations(f.host), before); /* warm, copies included */
    pull(trainer);
    look(&f, trainer, teacher, out);
    if (hidden) {
        distill_tensor tensor;
        CHECK_INT(di_student_parameter(student, "model.norm.weight", DISTILL_WEIGHT, &tensor, &err), DK_E_UNSUPPORTED);
        CHECK_HAS(err.message, "that the host does not see");
    }
    di_trainer_free(trainer);
    di_student_release(student);
    di_teacher_release(teacher);
    di_student_release(other);
    di_dataset_release(data);
    di_registry_free(parts.registry);
    if (hidden) CHECK_INT(hidden_queues, 0);
    close_fixture(&f);
}

TEST(hidden_memory)
{
    static outcome seen, hidden;
    run("memory_seen", 0, &seen);
    run("memory_hidden", 1, &hidden);
    CHECK(seen.loss == hidden.loss && seen.nats == hidden.nats && seen.kl == hidden.kl && seen.kl > 0);
    CHECK(memcmp(seen.logits, hidden.logits, sizeof seen.logits) == 0);
    CHECK(memcmp(seen.ids, hidden.ids, sizeof seen.ids) == 0);
    CHECK_STR(hidden.hash, seen.hash);
}

TEST_MAIN(TEST_CASE(hidden_memory))
