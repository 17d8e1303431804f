#include "fail_alloc.h"
#include "test.h"

static int destroyed;
static void on_destroy(void *user)
{
    (void)user;
    destroyed++;
}

TEST(memory)
{
    dk_error err;
    dk_host *host;
    fail_alloc memory = {0};
    dk_allocator allocator = fail_allocator(&memory);
    allocator.destroy = on_destroy;
    destroyed = 0;
    REQUIRE_OK(dk_host_create(&allocator, &host, &err));
    int64_t before = dk_host_allocations(host);
    unsigned char *bytes = dk_calloc(host, 100, 3);
    REQUIRE(bytes != NULL);
    CHECK_INT((uintptr_t)bytes % 64, 0);
    for (int i = 0; i < 300; i++) CHECK(!bytes[i]);
    memset(bytes, 7, 300);
    bytes = dk_realloc(host, bytes, 1000, 1);
    CHECK(bytes && bytes[0] == 7 && bytes[299] == 7);
    memory.left = 0;
    CHECK(!dk_realloc(host, bytes, 5000, 1)); /* the old block stands */
    CHECK_INT(bytes[299], 7);
    memory.left = -1;
    CHECK(!dk_alloc(host, UINT64_MAX / 2, 3));
    CHECK(!dk_alloc(host, (uint64_t)INT64_MAX, 1));
    void *nothing = dk_alloc(host, 0, 8);
    CHECK(nothing != NULL);
    char *text = dk_strndup(host, "hello", 4);
    CHECK_STR(text, "hell");
    CHECK_INT(dk_host_allocations(host) - before, 4);
    dk_free(host, text);
    dk_free(host, nothing);
    dk_free(host, bytes);
    dk_free(host, NULL);
    CHECK(dk_host_retain(host) == host);
    dk_host_release(host);
    CHECK_INT(destroyed, 0);
    dk_host_release(host);
    dk_host_release(NULL);
    CHECK_INT(destroyed, 1);
    CHECK_INT(memory.blocks, 0);
    CHECK_INT(memory.bytes, 0);
}

static void *dirty_alloc(void *user, size_t size, size_t align)
{
    void *ptr = aligned_alloc(align, size);
    (void)user;
    return ptr ? memset(ptr, 0x55, size) : NULL;
}

static void dirty_free(void *user, void *ptr, size_t size, size_t align)
{
    (void)user, (void)size, (void)align;
    free(ptr);
}

TEST(large_blocks_are_zeros) /* also the second time, and from a process's allocator, whose blocks hold anything */
{
    const dk_allocator dirty = {NULL, dirty_alloc, dirty_free, NULL};
    const size_t size = (size_t)33 << 20;
    dk_error err;
    for (int i = 0; i < 4; i++) {
        dk_host *host;
        int64_t sum = 0;
        REQUIRE_OK(dk_host_create(i < 2 ? NULL : &dirty, &host, &err));
        unsigned char *bytes = dk_calloc(host, size, 1);
        REQUIRE(bytes != NULL);
        CHECK_INT(dk_is_fresh(host, bytes), i < 2);
        for (size_t k = 0; k < size; k += 61) sum += bytes[k];
        CHECK_INT(sum, 0);
        memset(bytes, 7, size);
        bytes = dk_realloc(host, bytes, 2 * size, 1);
        REQUIRE(bytes != NULL);
        CHECK(bytes[0] == 7 && bytes[size - 1] == 7);
        dk_free(host, bytes);
        dk_host_release(host);
    }
}

TEST(create_fails)
{
    dk_error err;
    dk_host *host = NULL;
    fail_alloc memory = {0};
    dk_allocator allocator = fail_allocator(&memory);
    allocator.destroy = on_destroy;
    memory.left = 0;
    destroyed = 0;
    CHECK_INT(dk_host_create(&allocator, &host, &err), DK_E_NOMEM);
    CHECK_INT(destroyed, 1);
    allocator.alloc = NULL;
    CHECK_INT(dk_host_create(&allocator, &host, &err), DK_E_INVALID);
    CHECK_INT(destroyed, 2);
    CHECK(!host);
}

TEST(new_names_the_bytes)
{
    dk_error err;
    dk_host *host;
    double *numbers = NULL;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    CHECK_OK(dk_new(host, 10, &numbers, &err));
    CHECK(numbers && numbers[9] == 0);
    dk_free(host, numbers);
    CHECK_INT(dk_new(host, INT64_MAX / 8, &numbers, &err), DK_E_NOMEM);
    CHECK_HAS(err.message, "9223372036854775800 bytes");
    dk_host_release(host);
}

static char logged[256];
static int log_calls;
static void on_log(void *user, int32_t level, const char *component, const char *message)
{
    (void)user;
    log_calls++;
    snprintf(logged, sizeof logged, "%d %s %s", (int)level, component, message);
}

TEST(log_and_cancel)
{
    dk_error err;
    dk_host *host;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    dk_log(host, DK_LOG_ERROR, "x", "nobody listens");
    destroyed = log_calls = 0;
    dk_host_set_logger(host, DK_LOG_WARN, on_log, NULL, on_destroy);
    dk_log(host, DK_LOG_INFO, "data", "quiet");
    CHECK_INT(log_calls, 0);
    dk_log(host, DK_LOG_WARN, "data", "skipped %d", 3);
    CHECK_STR(logged, "2 data skipped 3");
    dk_host_set_logger(host, 0, NULL, NULL, NULL);
    CHECK_INT(destroyed, 1);
    CHECK_INT(dk_host_cancelled(host), 0);
    dk_host_cancel(host, 5);
    CHECK_INT(dk_host_cancelled(host), 1);
    dk_host_cancel(host, 0);
    CHECK_INT(dk_host_cancelled(host), 0);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(memory) TEST_CASE(large_blocks_are_zeros) TEST_CASE(create_fails) TEST_CASE(new_names_the_bytes)
              TEST_CASE(log_and_cancel))
