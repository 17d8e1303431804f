/* serve_template.c - a chat template for models that bring none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"

json_t *serve_template_read(const char *name)
{
    static const char *const formats[] = {"chatml", "llama2", "llama3", "mistral"};
    size_t size;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(name, formats[i])) return json_string(name);
    FILE *file = fopen(name, "rb");
    if (!file) {
        cli_message("--chat-template %s: %s; chatml, llama2, llama3, mistral or a file with a template is wanted", name,
                    strerror(errno));
        return NULL;
    }
    char *text = cli_read(file, name, 1 << 20, &size);
    fclose(file);
    json_t *value = text ? json_stringn(text, size) : NULL;
    if (text && !value) cli_message("%s: is not UTF-8, and so no chat template", name);
    free(text);
    return value;
}
