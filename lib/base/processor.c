#include "base/processor.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <string.h>

typedef struct leaf {
    uint32_t a, b, c, d;
} leaf;

static leaf read_leaf(uint32_t number, uint32_t part)
{
    leaf l = {0};
    (void)__get_cpuid_count(number, part, &l.a, &l.b, &l.c, &l.d); /* one that there is not stays zero */
    return l;
}

int32_t dk_processor_is_amd(void)
{
    leaf l = read_leaf(0, 0);
    char name[12];
    memcpy(name, &l.b, 4);
    memcpy(name + 4, &l.d, 4);
    memcpy(name + 8, &l.c, 4);
    return memcmp(name, "AuthenticAMD", sizeof name) == 0;
}

int32_t dk_processor_has_avx512_bf16(void) { return read_leaf(7, 1).a >> 5 & 1; }

/* What the system saves of a thread: XCR0, where OSXSAVE says that it may be read. */
static uint32_t saved_states(void)
{
    uint32_t low, high;
    if (!(read_leaf(1, 0).c >> 27 & 1)) return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

int32_t dk_processor_has_amx_bf16(void)
{
    enum { BF16 = 1 << 22, TILE = 1 << 24, STATES = 3 << 17 };
    return (read_leaf(7, 0).d & (BF16 | TILE)) == (BF16 | TILE) && (saved_states() & STATES) == STATES;
}
#else
int32_t dk_processor_is_amd(void) { return 0; }
int32_t dk_processor_has_avx512_bf16(void) { return 0; }
int32_t dk_processor_has_amx_bf16(void) { return 0; }
#endif

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

int32_t dk_processor_allow_tiles(void)
{
    enum { REQUEST = 0x1023 /* ARCH_REQ_XCOMP_PERM */, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}
#else
int32_t dk_processor_allow_tiles(void) { return dk_processor_has_amx_bf16(); }
#endif
