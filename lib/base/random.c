#include "base/random.h"

#include <math.h>

/* Philox 4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
static void philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4])
{
    uint32_t c0 = (uint32_t)counter, c1 = (uint32_t)(counter >> 32);
    uint32_t c2 = (uint32_t)stream, c3 = (uint32_t)(stream >> 32);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)c0 * 0xd2511f53u, p1 = (uint64_t)c2 * 0xcd9e8d57u;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

static uint64_t join(uint32_t low, uint32_t high) { return (uint64_t)high << 32 | low; }

static double to_unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

uint64_t dk_random_u64(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint32_t words[4];
    philox(seed, stream, counter, words);
    return join(words[0], words[1]);
}

double dk_random_uniform(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return to_unit(dk_random_u64(seed, stream, counter));
}

/* Box-Muller; 1 - u keeps the logarithm finite. */
double dk_random_normal(uint64_t seed, uint64_t stream, uint64_t counter)
{
    uint32_t words[4];
    philox(seed, stream, counter, words);
    double radius = sqrt(-2.0 * log(1.0 - to_unit(join(words[0], words[1]))));
    return radius * cos(6.283185307179586 * to_unit(join(words[2], words[3])));
}

enum { FEISTEL_ROUNDS = 8, FEISTEL_HALF_MIN = 3 };

/* A bijection of [0, 4^half): the round function's counter is (round, right half), its domain set apart by the
 * stream. */
static uint64_t feistel(uint64_t seed, uint64_t stream, uint64_t value, unsigned half)
{
    uint64_t mask = (UINT64_C(1) << half) - 1, left = value >> half, right = value & mask;
    for (uint64_t round = 0; round < FEISTEL_ROUNDS; round++) {
        uint64_t next = left ^ (dk_random_u64(seed, stream, round << 32 | right) & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

uint64_t dk_random_permute(uint64_t seed, uint64_t stream, uint64_t index, uint64_t n)
{
    unsigned half = FEISTEL_HALF_MIN;
    if (n < 2) return 0;
    while (half < 32 && (n - 1) >> (2 * half)) half++;
    index %= n;
    do index = feistel(seed, stream, index, half);
    while (index >= n);
    return index;
}
