/* What work costs: clocks that go forward, memory that a large block shows in. */
#include "meter/meter.h"
#include "test.h"

TEST(usage)
{
    static volatile char *block;
    enum { BYTES = 96 << 20 };
    dk_host *host;
    di_meter meter;
    dk_error err;
    REQUIRE_OK(dk_host_create(NULL, &host, &err));
    REQUIRE_OK(di_meter_start(host, NULL, 1, &meter, &err));
    di_cost before = di_meter_read(&meter), after;
    CHECK(before.wall >= 0 && before.cpu >= 0 && before.peak_memory > 0);
    if (!(block = malloc(BYTES))) return;
    for (size_t i = 0; i < BYTES; i += 512) block[i] = (char)i;
    after = di_meter_read(&meter);
    free((void *)block);
    CHECK(after.wall > before.wall && after.cpu > before.cpu);
    CHECK(after.peak_memory >= before.peak_memory);
    CHECK(after.peak_memory >= BYTES);
    di_meter_end(&meter);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(usage))
