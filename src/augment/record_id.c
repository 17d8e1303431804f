/* record_id.c - ids of what is made. A file that an earlier run wrote has ids like these; what is made of it now
 * takes the next generation, so that no two samples are called the same. */
#include <string.h>

#include "augment/record.h"

static const char digits[] = "0123456789";

void di_record_make_id(const char *parent, int64_t generation, int64_t step, int64_t number, dk_strbuf *out)
{
    dk_strbuf_printf(out, "%s/", parent);
    if (generation > 1) dk_strbuf_printf(out, "%lld:", (long long)generation);
    dk_strbuf_printf(out, "%lld.%lld", (long long)step, (long long)number);
}

void di_record_blank_id(int64_t generation, int64_t number, dk_strbuf *out)
{
    dk_strbuf_puts(out, "made");
    if (generation > 1) dk_strbuf_printf(out, ":%lld", (long long)generation);
    dk_strbuf_printf(out, "#%lld", (long long)number);
}

/* The number at text, where `behind` follows; 0 = there is none. */
static int64_t number_before(const char *text, char behind, const char **next)
{
    const size_t size = strspn(text, digits);
    int64_t value = 0;
    if (!size || text[size] != behind || !dk_parse_i64(text, size, &value)) return 0;
    *next = text + size + 1;
    return value;
}

/* "3.0" or "2:3.0", up to the next slash or the end. */
static int64_t of_piece(const char *text)
{
    int64_t generation = number_before(text, ':', &text);
    const size_t step = strspn(text, digits), number = step && text[step] == '.' ? strspn(text + step + 1, digits) : 0;
    const char *end = text + step + 1 + number;
    if (!number || (*end && *end != '/')) return 0;
    return generation ? generation : 1;
}

static int64_t of_blank(const char *id)
{
    if (strncmp(id, "made", 4) != 0) return 0;
    if (id[4] == '#') return 1;
    return id[4] == ':' ? number_before(id + 5, '#', &id) : 0;
}

int64_t di_id_generation(const char *id)
{
    int64_t most = of_blank(id);
    for (const char *at = strchr(id, '/'); at; at = strchr(at + 1, '/')) {
        const int64_t one = of_piece(at + 1);
        if (one > most) most = one;
    }
    return most;
}
