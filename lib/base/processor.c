#include "base/processor.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <stdio.h>
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

/* Leaf 1: a family of 15 and a model go on in their extended fields. */
static void family_of(uint32_t *family, uint32_t *model)
{
    uint32_t signature = read_leaf(1, 0).a;
    *family = signature >> 8 & 15;
    *model = signature >> 4 & 15;
    if (*family == 15 || *family == 6) *model += (signature >> 16 & 15) << 4;
    if (*family == 15) *family += signature >> 20 & 255;
}

void dk_processor_name(char out[DK_PROCESSOR_NAME])
{
    uint32_t text[13] = {0}, family, model; /* leaves 0x80000002 to 4 are 48 characters */
    for (uint32_t i = 0; i < 3; i++) {
        leaf l = read_leaf(0x80000002U + i, 0);
        const uint32_t part[4] = {l.a, l.b, l.c, l.d};
        memcpy(text + 4 * i, part, sizeof part);
    }
    const char *name = (const char *)text;
    while (*name == ' ') name++;
    family_of(&family, &model);
    snprintf(out, DK_PROCESSOR_NAME, "%.40s, family %u, model %u", name, (unsigned)family, (unsigned)model);
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
int32_t dk_processor_has_avx512_vnni(void) { return read_leaf(7, 0).c >> 11 & 1; }
int32_t dk_processor_has_avx_vnni(void) { return read_leaf(7, 1).a >> 4 & 1; }

/* What the system saves of a thread: XCR0, where OSXSAVE says that it may be read. */
static uint32_t saved_states(void)
{
    uint32_t low, high;
    if (!(read_leaf(1, 0).c >> 27 & 1)) return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int32_t has_tiles_and(uint32_t products)
{
    enum { TILE = 1 << 24, STATES = 3 << 17 };
    return (read_leaf(7, 0).d & (products | TILE)) == (products | TILE) && (saved_states() & STATES) == STATES;
}

int32_t dk_processor_has_amx_bf16(void) { return has_tiles_and(1 << 22); }
int32_t dk_processor_has_amx_int8(void) { return has_tiles_and(1 << 25); }
#else
#include <stdio.h>

void dk_processor_name(char out[DK_PROCESSOR_NAME]) { snprintf(out, DK_PROCESSOR_NAME, "unknown processor"); }
int32_t dk_processor_is_amd(void) { return 0; }
int32_t dk_processor_has_avx512_bf16(void) { return 0; }
int32_t dk_processor_has_avx512_vnni(void) { return 0; }
int32_t dk_processor_has_avx_vnni(void) { return 0; }
int32_t dk_processor_has_amx_bf16(void) { return 0; }
int32_t dk_processor_has_amx_int8(void) { return 0; }
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

int32_t dk_processor_has_neon_dot(void) { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
#else
int32_t dk_processor_has_neon_dot(void) { return 0; }
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
