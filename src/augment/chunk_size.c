/* chunk_size.c - where a teacher writes, a chunk is three times what was made before it, within bounds. */
#include "augment/chunk_size.h"

enum { FIRST = 32, MOST = 512, MOST_TOKENS = 16384 };
static const double most_seconds = 60;

static int64_t least(int64_t a, double b) { return b < (double)a ? (int64_t)b : a; }

/* Half of what a budget has room for, at the mean of a sample so far: the last chunks have one. */
static int64_t within(int64_t size, double left, double spent, double samples)
{
    return left > 0 && spent > 0 ? least(size, left / spent * samples / 2) : size;
}

int64_t di_chunk_size(const di_chunk_facts *f)
{
    const double samples = (double)f->samples, tokens = (double)f->tokens;
    int64_t size = FIRST;
    if (f->tokens > 0) {
        size = f->samples < MOST / 3 ? 3 * f->samples : MOST;
        size = least(size, MOST_TOKENS * samples / tokens);
        if (!f->tokens_left) size = least(size, most_seconds * samples / f->seconds);
        if (size < FIRST) size = FIRST;
    }
    size = within(size, (double)f->tokens_left, tokens, samples);
    return size > 1 ? size : 1;
}

int64_t di_chunk_in_time(int64_t size, const di_chunk_facts *f)
{
    size = within(size, f->seconds_left, f->seconds, (double)f->samples);
    return size > 1 ? size : 1;
}
