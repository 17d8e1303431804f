/* serve_key.c - API keys: never on the command line, where every user of the machine could read them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

static int add_key(serve_keys *keys, const char *text, size_t size, const char *where)
{
    while (size && strchr(" \t\r", text[size - 1])) size--;
    while (size && strchr(" \t", *text)) text++, size--;
    if (!size) return 1;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] <= 0x20 || (unsigned char)text[i] > 0x7E)
            return cli_message(
                       "%s: a key has letters, digits and signs of ASCII alone, without blanks, and nothing beside it",
                       where),
                   0;
    if (keys->count == SERVE_KEYS) return cli_message("%s: more than %d keys", where, SERVE_KEYS), 0;
    char *key = cli_memory(NULL, size + 1);
    memcpy(key, text, size);
    key[size] = 0;
    keys->of[keys->count++] = key;
    return 1;
}

static int add_lines(serve_keys *keys, const char *text, const char *where)
{
    char place[300];
    for (int line = 1; *text; line++) {
        size_t size = strcspn(text, "\n");
        snprintf(place, sizeof place, "%.256s, line %d", where, line);
        if (!add_key(keys, text, size, place)) return 0;
        text += size + (text[size] == '\n');
    }
    return keys->count ? 1 : (cli_message("%s: has no key", where), 0);
}

int serve_keys_read(serve_keys *keys, const char *path, const char *variable)
{
    size_t size;
    if (variable) {
        const char *value = getenv(variable);
        if (!value) return cli_message("--api-key-env %s: there is no such variable", variable), 0;
        return add_lines(keys, value, variable);
    }
    if (!path) return 1;
    FILE *file = fopen(path, "rb");
    if (!file) return cli_message("--api-key-file %s: %s", path, strerror(errno)), 0;
    char *text = cli_read(file, path, 1 << 16, &size);
    fclose(file);
    int good = text && (strlen(text) == size ? add_lines(keys, text, path) : (cli_message("%s: has a NUL", path), 0));
    free(text);
    return good;
}

/* The time depends on the length of what was given alone. */
static unsigned differs(const char *given, size_t given_size, const char *key)
{
    const size_t size = strlen(key);
    unsigned difference = size != given_size;
    for (size_t i = 0; i < given_size; i++) difference |= (unsigned char)given[i] ^ (unsigned char)key[i % size];
    return difference;
}

int serve_keys_fit(const serve_keys *keys, const char *given)
{
    int fit = !keys->count;
    if (!given || strncasecmp(given, "Bearer ", 7) != 0) return fit;
    given += 7;
    const size_t size = strlen(given);
    for (int i = 0; i < keys->count; i++) fit |= !differs(given, size, keys->of[i]);
    return fit;
}

void serve_keys_free(serve_keys *keys)
{
    for (int i = 0; i < keys->count; i++) free(keys->of[i]);
    keys->count = 0;
}
