#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#pragma GCC target("avx2,fma,f16c")
#define SIMD_NEEDS __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
#else
#define SIMD_NEEDS 0
#endif
#include "simd_cases.h"
