/* fpenv.h - the floating-point environment in which all arithmetic runs: round to nearest, no traps, denormals kept.
 *
 * A host's thread may flush denormals or trap; results must not depend on whose thread computes them. Every exported
 * function that computes enters it at its door; job.c does for workers, and products do before they call CBLAS. */
#ifndef DK_BASE_FPENV_H
#define DK_BASE_FPENV_H

#include <stdint.h>

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#define DK_FP_DEFAULT 0x1f80u /* MXCSR after reset: all exceptions masked, nearest, no flush to zero */
static inline uint32_t dk_fp_enter(void)
{
    uint32_t saved = _mm_getcsr();
    if (saved != DK_FP_DEFAULT) _mm_setcsr(DK_FP_DEFAULT);
    return saved;
}
static inline void dk_fp_leave(uint32_t saved)
{
    if ((saved & ~0x3fu) != DK_FP_DEFAULT) _mm_setcsr(saved); /* the low six bits are flags that arithmetic sets */
}
#elif defined(__aarch64__) && defined(__GNUC__)
#define DK_FP_DEFAULT 0u /* FPCR after reset */
static inline void dk_fp_set(uint32_t value) { __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)value)); }
static inline uint32_t dk_fp_enter(void)
{
    uint64_t saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    if (saved != DK_FP_DEFAULT) dk_fp_set(DK_FP_DEFAULT);
    return (uint32_t)saved;
}
static inline void dk_fp_leave(uint32_t saved)
{
    if (saved != DK_FP_DEFAULT) dk_fp_set(saved);
}
#else
static inline uint32_t dk_fp_enter(void) { return 0; }
static inline void dk_fp_leave(uint32_t saved) { (void)saved; }
#endif

#endif
