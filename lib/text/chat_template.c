/* Which of the known formats a Jinja template is: it is not run, but its literals and expressions tell. */
#include "text/chat.h"

#include <stdio.h>
#include <string.h>

enum { TEMPLATE_LIMIT = 1 << 20 };
static const char *const names[] = {"chatml", "llama2", "llama3", "mistral"};

const char *dk_chat_names(void) { return "chatml, llama2, llama3, mistral"; }

const char *dk_chat_name(const dk_chat_template *chat)
{
    return chat->id >= DK_CHAT_CHATML && chat->id <= DK_CHAT_MISTRAL ? names[chat->id - 1] : "unknown";
}

static void spell(const dk_tokenizer *tok, int64_t id, const char *fallback, char *out, size_t cap)
{
    const char *text = tok && id >= 0 ? dk_tokenizer_id_text(tok, id, NULL) : NULL;
    snprintf(out, cap, "%s", text && strlen(text) < cap ? text : fallback);
}

static void begin(dk_chat_id id, const dk_tokenizer *tok, dk_chat_template *out)
{
    memset(out, 0, sizeof *out);
    out->id = id;
    spell(tok, tok ? dk_tokenizer_bos(tok) : -1,
          id == DK_CHAT_LLAMA3   ? "<|begin_of_text|>"
          : id == DK_CHAT_CHATML ? ""
                                 : "<s>",
          out->bos, sizeof out->bos);
    spell(tok, tok ? dk_tokenizer_eos(tok) : -1,
          id == DK_CHAT_CHATML   ? "<|im_end|>"
          : id == DK_CHAT_LLAMA3 ? "<|eot_id|>"
                                 : "</s>",
          out->eos, sizeof out->eos);
}

/* Reads a template without spaces outside of quotes and with one kind of quote, so that a few texts find what
 * matters. */
typedef struct reader {
    const char *at;
    char quote; /* the one that is open */
    int32_t escaped;
} reader;

static char next(reader *r)
{
    while (!r->quote && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')) r->at++;
    char c = *r->at;
    if (!c) return 0;
    r->at++;
    if (r->escaped) return r->escaped = 0, c;
    if (r->quote && c == '\\') return r->escaped = 1, c;
    if (r->quote && c == r->quote) return r->quote = 0, '\'';
    if (!r->quote && (c == '\'' || c == '"')) return r->quote = c, '\'';
    return c;
}

static int32_t has(const char *jinja, const char *part)
{
    reader here = {.at = jinja};
    while (*here.at) {
        reader ahead = here;
        const char *p = part;
        while (*p && next(&ahead) == *p) p++;
        if (!*p) return 1;
        next(&here);
    }
    return 0;
}

/* A literal of the template up to stop, its escapes read. Returns 0 when it does not end or does not fit. */
static int32_t read_literal(const char *text, const char *stop, char *out, size_t cap)
{
    size_t used = 0;
    for (; *text && strncmp(text, stop, strlen(stop)) != 0; text++) {
        char c = *text;
        if (c == '\'' || c == '"') return 0; /* an expression goes on here */
        if (c == '\\' && text[1]) c = *++text == 'n' ? '\n' : *text;
        if (used + 1 >= cap) return 0;
        out[used++] = c;
    }
    out[used] = 0;
    return *text != 0;
}

/* chatml's system text for conversations without one, as Qwen2.5 has it: '<|im_start|>system\nYou are
 * ...<|im_end|>'. */
static void read_default_system(const char *text, dk_chat_template *out)
{
    static const char opening[] = "<|im_start|>system\\n";
    for (const char *at = text; (at = strstr(at, opening)); at++)
        if (read_literal(at + sizeof opening - 1, "<|im_end|>", out->default_system, sizeof out->default_system))
            return;
    out->default_system[0] = 0;
}

static void read_mistral(const char *text, dk_chat_template *out)
{
    int32_t v = 0;
    if (has(text, "' [INST]")) v |= DK_CHAT_BEFORE_OPEN;
    if (has(text, "[INST] ")) v |= DK_CHAT_AFTER_OPEN;
    if (has(text, " [/INST]")) v |= DK_CHAT_BEFORE_CLOSE;
    if (has(text, "' '+message['content']") || has(text, "' '+message.content") || has(text, "' '+content"))
        v |= DK_CHAT_BEFORE_ANSWER;
    if (has(text, "eos_token+' '")) v |= DK_CHAT_AFTER_EOS;
    if (has(text, "loop.lastandsystem_message")) v |= DK_CHAT_SYSTEM_LAST;
    if (has(text, "|trim") || has(text, ".strip()")) v |= DK_CHAT_TRIM;
    if (!has(text, "'system'")) v |= DK_CHAT_NO_SYSTEM;
    out->variant = v;
}

static int32_t recognise(const char *text, const dk_tokenizer *tok, dk_chat_template *out)
{
    int32_t trims = has(text, "|trim") || has(text, ".strip()") ? DK_CHAT_TRIM : 0;
    if (has(text, "<|im_start|>") && has(text, "<|im_end|>")) {
        begin(DK_CHAT_CHATML, tok, out);
        int32_t thinks = has(text, "reasoning_content") && has(text, "</think>");
        if (thinks) trims = 0;
        out->variant = trims | (has(text, "bos_token") ? DK_CHAT_BOS : 0) | (thinks ? DK_CHAT_THINK : 0);
        read_default_system(text, out);
        return 1;
    }
    if (has(text, "<|start_header_id|>") && has(text, "<|eot_id|>")) {
        begin(DK_CHAT_LLAMA3, tok, out);
        out->variant =
            trims | (has(text, "CuttingKnowledgeDate") || has(text, "Cutting Knowledge Date") ? DK_CHAT_DATES : 0);
        return 1;
    }
    if (!has(text, "[INST]")) return 0;
    if (has(text, "<<SYS>>")) return begin(DK_CHAT_LLAMA2, tok, out), 1;
    begin(DK_CHAT_MISTRAL, tok, out);
    read_mistral(text, out);
    return 1;
}

int32_t dk_chat_recognise(const char *jinja, const dk_tokenizer *tok, dk_chat_template *out, dk_error *err)
{
    dk_chat_template found;
    if (strlen(jinja) > TEMPLATE_LIMIT)
        return dk_fail(err, DK_E_UNSUPPORTED, "a chat template of %zu bytes, at most %d", strlen(jinja),
                       TEMPLATE_LIMIT);
    if (!recognise(jinja, tok, &found))
        return dk_fail(err, DK_E_UNSUPPORTED, "the chat template is none of the known ones: %s", dk_chat_names());
    *out = found;
    return DK_OK;
}

int32_t dk_chat_of_tokenizer(const dk_tokenizer *tok, dk_chat_template *out, dk_error *err)
{
    const char *jinja = dk_tokenizer_chat_template(tok);
    if (!jinja)
        return dk_fail(err, DK_E_NOT_FOUND, "the tokenizer has no chat template; name one of %s", dk_chat_names());
    return dk_chat_recognise(jinja, tok, out, err);
}

int32_t dk_chat_by_name(const char *name, const dk_tokenizer *tok, dk_chat_template *out, dk_error *err)
{
    for (int32_t i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        const char *jinja = tok ? dk_tokenizer_chat_template(tok) : NULL;
        dk_chat_template own;
        if (jinja && recognise(jinja, tok, &own) && own.id == (dk_chat_id)(i + 1)) return *out = own, DK_OK;
        begin((dk_chat_id)(i + 1), tok, out);
        if (out->id == DK_CHAT_LLAMA3) out->variant = DK_CHAT_TRIM;
        if (out->id == DK_CHAT_MISTRAL)
            out->variant = DK_CHAT_AFTER_OPEN | DK_CHAT_BEFORE_CLOSE | DK_CHAT_BEFORE_ANSWER;
        return DK_OK;
    }
    return dk_fail(err, DK_E_INVALID, "chat template '%.40s' is unknown, known are %s", name, dk_chat_names());
}
