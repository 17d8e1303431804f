/* The machine's limits: each kernel does what it counts, and a measurement is whole or says why not. */
#include "test.h"

#include "compute/cpu/limits/limits.h"

TEST(kernels_count_what_they_do)
{
    int32_t count, ran = 0, fp32 = 0;
    const dk_limit_kernel *kernels = dk_limit_kernels(&count);
    for (int32_t i = 0; i < count; i++) {
        CHECK(kernels[i].kind >= 0 && kernels[i].kind < DK_LIMIT_KINDS);
        if (!kernels[i].has()) continue;
        double once = kernels[i].run(100);
        CHECK(once > 0);
        CHECK_NEAR(kernels[i].run(700), 7 * once, 0);
        fp32 += kernels[i].kind == DK_LIMIT_FP32;
        ran++;
    }
    CHECK(ran > 0 && fp32 > 0);
}

TEST(a_stream_adds_two_blocks)
{
    enum { COUNT = 4096 / 4 };
    float *x = aligned_alloc(64, 3 * COUNT * sizeof *x);
    REQUIRE(x);
    for (int i = 0; i < 2 * COUNT; i++) x[i] = (float)i;
    dk_limit_stream((uint8_t *)x, (uint8_t *)(x + COUNT), (uint8_t *)(x + 2 * COUNT), COUNT * 4);
    for (int i = 0; i < COUNT; i++) CHECK(x[2 * COUNT + i] == (float)(2 * i + COUNT));
    free(x);
}

TEST(measures_all_kinds_that_there_are)
{
    int32_t count, there[DK_LIMIT_KINDS] = {0};
    const dk_limit_kernel *kernels = dk_limit_kernels(&count);
    dk_host *host;
    dk_limits limits;
    dk_error err;
    for (int32_t i = 0; i < count; i++) there[kernels[i].kind] |= kernels[i].has();
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(dk_host_set_threads(host, 2, NULL, NULL, NULL, &err));
    REQUIRE_OK(dk_limits_measure(host, &limits, &err));
    CHECK_INT(limits.threads, 2);
    for (int32_t k = 0; k < DK_LIMIT_KINDS; k++) {
        CHECK_INT(limits.product[k].by != NULL, there[k]);
        CHECK((limits.product[k].rate > 0) == there[k]);
    }
    CHECK(limits.read > 0 && limits.stream > 0);
    dk_host_cancel(host, 1);
    CHECK_INT(dk_limits_measure(host, &limits, &err), DK_E_CANCELLED);
    dk_host_release(host);
}

static void *no_large_block(void *user, size_t size, size_t align)
{
    (void)user;
    return size > 1 << 28 ? NULL : aligned_alloc(align, (size + align - 1) / align * align);
}

static void give_back(void *user, void *ptr, size_t size, size_t align)
{
    (void)user, (void)size, (void)align;
    free(ptr);
}

TEST(too_little_memory)
{
    const dk_allocator small = {.alloc = no_large_block, .free = give_back};
    dk_host *host;
    dk_limits limits;
    dk_error err;
    REQUIRE_OK(dk_host_create(&small, &host, &err));
    CHECK_INT(dk_limits_measure(host, &limits, &err), DK_E_NOMEM);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(kernels_count_what_they_do) TEST_CASE(a_stream_adds_two_blocks)
              TEST_CASE(measures_all_kinds_that_there_are) TEST_CASE(too_little_memory))
