/* A warm step allocates nothing, whatever kind of step it is: counted at the host's own allocator, over the end of an
 * epoch. */
#include "small.h"

typedef struct counter {
    _Atomic int64_t calls;
} counter;

static void *take(void *user, size_t size, size_t align)
{
    ((counter *)user)->calls++;
    return align > 16 ? aligned_alloc(align, (size + align - 1) / align * align) : malloc(size);
}

static void give(void *user, void *ptr, size_t size, size_t align)
{
    (void)user, (void)size, (void)align;
    free(ptr);
}

enum { EPOCH = 10, STEPS = 2 * EPOCH + 4 };

static void check_kind(const char *what, const char *yaml)
{
    counter count = {0};
    distill_allocator allocator = {.struct_size = sizeof allocator, .user = &count, .alloc = take, .free = give};
    distill_progress now;
    distill_error err;
    small s;
    if (strstr(yaml, "bf16") && !small_own_products()) return; /* CBLAS has no such products */
    REQUIRE(small_models("warm_step"));
    memset(&s, 0, sizeof s);
    REQUIRE_OK(small_env(&s, &allocator, yaml, &err));
    REQUIRE_OK(distill_env_set_threads(s.env, 3, NULL, NULL, NULL, &err));
    REQUIRE_OK(small_handles(&s, &err));
    REQUIRE_OK(distill_options_set_i64(s.options, "train.steps", STEPS, &err));
    REQUIRE_OK(distill_trainer_create(s.env, s.teacher, s.student, s.train, s.eval, s.options, &s.trainer, &err));
    CHECK(count.calls > 100);
    int64_t before = 0;
    for (int i = 0; i < STEPS; i++) {
        if (i == EPOCH + 2) before = count.calls;
        DISTILL_INIT(&now);
        REQUIRE_OK(distill_trainer_step(s.trainer, &now, &err));
    }
    if (count.calls != before)
        FAIL("%s: %d allocations in %d warm steps", what, (int)(count.calls - before), STEPS - EPOCH - 2);
    small_close(&s);
}

TEST(nothing_is_allocated)
{
    check_kind("fp32", "");
    check_kind("bf16", "train: {precision: bf16}\n");
    check_kind("packed windows", "data: {pack: true}\n");
    check_kind("packed windows in bf16", "data: {pack: true}\ntrain: {precision: bf16}\n");
    check_kind("a strip of few rows", "train: {loss_memory: 65536}\n");
    check_kind("activations recomputed", "train: {activation_checkpointing: true, precision: bf16}\n");
    check_kind("labels alone", "loss: {hard_label_weight: 1}\n");
    check_kind("two losses", "loss: {type: reverse_kl, hard_label_weight: 0.5}\n");
    check_kind("micro-batches of one", "train: {micro_batch_size: 1}\n");
}

TEST_MAIN(TEST_CASE(nothing_is_allocated))
