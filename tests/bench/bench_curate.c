/* bench_curate: MinHash signatures a core makes in a second of texts of 200 words, by instruction set; and near
 * duplicates looked up and kept among so many. Not a test: prints numbers and always succeeds. argv[1]: samples. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "augment/curate/near.h"
#include "base/random.h"
#include "bench_time.h"
#include "compute/compute.h"

enum { WORDS = 200, TEXT = 4096 };

static size_t make_text(uint64_t seed, char out[TEXT])
{
    size_t used = 0;
    for (uint64_t i = 0; i < WORDS; i++) {
        const uint64_t draw = dk_random_u64(seed, DK_STREAM_TEST, i);
        for (uint64_t letters = 2 + draw % 7, k = 0; k < letters; k++)
            out[used++] = (char)('a' + (draw >> (8 + 5 * k)) % 26);
        out[used++] = ' ';
    }
    return used;
}

static void signatures(dk_host *host, int32_t isa, const char *name)
{
    di_minhash minhash;
    uint32_t signature[DI_MINHASH_SIZE];
    int64_t count;
    char text[TEXT];
    double best;
    dk_error err;
    const size_t size = make_text(1, text);
    di_minhash_init(&minhash, host, (di_shingles){0, 3}, isa);
    TIME(best, 1.0,
         for (int i = 0; i < 100; i++) if (di_minhash_text(&minhash, text, size, signature, &count, &err))
             give_up(&err));
    printf("signatures, %-8s %8.0f samples/s of %lld shingles, %zu bytes\n", name, 100 / best, (long long)count, size);
    di_minhash_free(&minhash);
}

static int64_t resident(void) /* KiB */
{
    long long pages = 0, all;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%lld %lld", &all, &pages) != 2) pages = 0;
    if (file) fclose(file);
    return (int64_t)pages * 4;
}

static void near_duplicates(dk_host *host, int32_t isa, int64_t samples)
{
    di_near *near = NULL;
    di_near_found found;
    char text[TEXT];
    double spent = 0;
    dk_error err;
    if (di_near_open(host, "bench_curate.kept", 0.8, (di_shingles){0, 3}, isa, NULL, &near, &err)) give_up(&err);
    for (int64_t i = 1; i <= samples; i++) {
        const size_t size = make_text((uint64_t)i, text);
        const double start = thread_seconds();
        if (di_near_add(near, text, size, &found, &err)) give_up(&err);
        spent += thread_seconds() - start;
        if (i % (samples / 8) == 0)
            printf("near duplicates, %8lld kept: %8.0f samples/s so far, %lld KiB resident\n", (long long)i,
                   (double)i / spent, (long long)resident());
    }
    di_near_close(near);
    remove("bench_curate.kept");
}

int main(int argc, char **argv)
{
    dk_host *host = NULL;
    dk_error err;
    int32_t isa = DK_ISA_PORTABLE;
    if (dk_host_create(NULL, &host, &err)) give_up(&err);
    signatures(host, DK_ISA_PORTABLE, "portable");
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx2")) signatures(host, isa = DK_ISA_AVX2, "avx2");
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        signatures(host, isa = DK_ISA_AVX512, "avx512");
#endif
    near_duplicates(host, isa, argc > 1 ? atoll(argv[1]) : 80000);
    dk_host_release(host);
    return 0;
}
