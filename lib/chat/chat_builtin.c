/* The formats that have a name, for models that bring no template. */
#include "chat/chat_parts.h"

#include <string.h>

#define ROLES                                                                                                         \
    "{%- for message in messages %}"                                                                                  \
    "{%- if message.role not in ['system', 'user', 'assistant'] %}"                                                   \
    "{{- raise_exception('message ' ~ loop.index ~ \" has the role '\" ~ message.role ~ \"', known are system, user " \
    "and assistant\") }}"                                                                                             \
    "{%- endif %}"                                                                                                    \
    "{%- endfor %}"
/* Turns alternate behind a system message. */
#define TURNS                                                                                                          \
    ROLES                                                                                                              \
    "{%- set first = 1 if messages and messages[0].role == 'system' else 0 %}"                                         \
    "{%- for message in messages[first:] %}"                                                                           \
    "{%- set role = 'assistant' if loop.index0 % 2 else 'user' %}"                                                     \
    "{%- if message.role != role %}"                                                                                   \
    "{{- raise_exception('message ' ~ (loop.index + first) ~ \" has the role '\" ~ message.role ~ \"', but must be \"" \
    " ~ role ~ ': turns alternate') }}"                                                                                \
    "{%- endif %}"                                                                                                     \
    "{%- endfor %}"

static const char chatml[] = ROLES "{%- for message in messages %}"
                                   "{{- '<|im_start|>' + message.role + '\\n' }}"
                                   "{%- if message.role == 'assistant' %}"
                                   "{%- generation %}{{- message.content + '<|im_end|>' }}{%- endgeneration %}"
                                   "{%- else %}{{- message.content + '<|im_end|>' }}{%- endif %}"
                                   "{{- '\\n' }}"
                                   "{%- endfor %}"
                                   "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";

static const char llama3[] =
    ROLES "{{- bos_token or '<|begin_of_text|>' }}"
          "{%- for message in messages %}"
          "{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}"
          "{%- if message.role == 'assistant' %}"
          "{%- generation %}{{- message.content | trim + '<|eot_id|>' }}{%- endgeneration %}"
          "{%- else %}{{- message.content | trim + '<|eot_id|>' }}{%- endif %}"
          "{%- endfor %}"
          "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}";

/* System text and first question are stripped as one text. */
static const char llama2[] = TURNS
    "{%- set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' if first else '' %}"
    "{%- for message in messages[first:] %}"
    "{%- if message.role == 'user' %}"
    "{{- (bos_token or '<s>') + '[INST] ' + ((system if loop.first else '') + message.content) | trim + ' [/INST]' }}"
    "{%- else %}"
    "{%- generation %}{{- ' ' + message.content | trim + ' ' + (eos_token or '</s>') }}{%- endgeneration %}"
    "{%- endif %}"
    "{%- endfor %}";

static const char mistral[] = TURNS
    "{{- bos_token or '<s>' }}"
    "{%- for message in messages[first:] %}"
    "{%- if message.role == 'user' %}"
    "{{- '[INST] ' + (messages[0].content + '\\n\\n' if first and loop.first else '') + message.content + ' [/INST]' }}"
    "{%- else %}"
    "{%- generation %}{{- ' ' + message.content + (eos_token or '</s>') }}{%- endgeneration %}"
    "{%- endif %}"
    "{%- endfor %}";

const char *dk_chat_names(void) { return "chatml, llama2, llama3, mistral"; }

int32_t dk_chat_is_name(const char *name) { return dk_chat_builtin(name) != NULL; }

const char *dk_chat_builtin(const char *name)
{
    static const struct {
        const char *name, *jinja;
    } formats[] = {{"chatml", chatml}, {"llama2", llama2}, {"llama3", llama3}, {"mistral", mistral}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(formats[i].name, name)) return formats[i].jinja;
    return NULL;
}
