/* chat_json.c - a chat as JSON, as the chat APIs have it, becomes text. */
#include "chat/chat_parts.h"

#include <string.h>
#include <time.h>

/* The civil date of a count of days since 1970-01-01: years begin in March, so that a leap day is a year's last. */
static void civil(int64_t days, dk_jinja_date *out)
{
    days += 719468; /* since 0000-03-01 */
    const int64_t era = days / 146097, day = days % 146097;
    const int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    const int64_t of_year = day - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
    out->day = (int32_t)(of_year - (153 * month + 2) / 5 + 1);
    out->month = (int32_t)(month < 10 ? month + 3 : month - 9);
    out->year = (int32_t)(year + era * 400 + (out->month <= 2));
}

void dk_chat_today(dk_jinja_date *out)
{
    const int64_t now = (int64_t)time(NULL), second = now % 86400;
    civil(now / 86400, out);
    out->hour = (int32_t)(second / 3600);
    out->minute = (int32_t)(second / 60 % 60);
    out->second = (int32_t)(second % 60);
}

static const dk_node *member(const dk_node *map, const char *key)
{
    const dk_node *node = dk_node_get(map, key);
    return node && node->type != DK_NODE_NULL ? node : NULL;
}

static int32_t check_keys(const dk_node *root, dk_error *err)
{
    static const char *const known[] = {"messages", "tools", "chat_template", "chat_template_kwargs"};
    for (size_t i = 0; i < root->size; i++) {
        int32_t found = 0;
        for (size_t k = 0; k < sizeof known / sizeof *known; k++) found |= !strcmp(root->items[i]->key, known[k]);
        if (!found)
            return dk_fail(err, DK_E_INVALID,
                           "\"%.40s\" of a chat is not known; known are messages, tools, chat_template and "
                           "chat_template_kwargs",
                           root->items[i]->key);
    }
    return DK_OK;
}

static int32_t open_template(dk_host *host, const dk_tokenizer *tok, const dk_node *given, dk_chat_template **out,
                             dk_error *err)
{
    if (!given) return dk_chat_of_tokenizer(host, tok, out, err);
    if (given->type != DK_NODE_TEXT)
        return dk_fail(err, DK_E_INVALID, "\"chat_template\" must be a name or the text of a template");
    if (dk_chat_is_name(given->text)) return dk_chat_by_name(host, given->text, tok, out, err);
    return dk_chat_open(host, "\"chat_template\"", given->text, given->size, tok, out, err);
}

static int32_t read_messages(const dk_node *root, dk_chat_talk *talk, dk_error *err)
{
    const dk_node *messages = root->type == DK_NODE_LIST ? root : member(root, "messages");
    if (!messages || messages->type != DK_NODE_LIST)
        return dk_fail(err, DK_E_INVALID, "a chat must be a list of messages, or an object with \"messages\"");
    if (!messages->size)
        return dk_fail(err, DK_E_INVALID, "the list of messages is empty, and a chat has at least one");
    talk->messages = (const dk_node *const *)messages->items;
    talk->count = (int64_t)messages->size;
    return DK_OK;
}

/* What the template does not read would change nothing, in silence. */
static int32_t read_more(const dk_chat_template *chat, const dk_node *root, dk_chat_talk *talk, dk_error *err)
{
    if (root->type == DK_NODE_LIST) return DK_OK;
    talk->tools = member(root, "tools");
    talk->variables = member(root, "chat_template_kwargs");
    if (talk->tools && (talk->tools->type != DK_NODE_LIST || !dk_chat_reads(chat, "tools")))
        return dk_fail(err, DK_E_INVALID, "\"tools\" must be a list, and of use to the chat template");
    if (talk->variables && talk->variables->type != DK_NODE_MAP)
        return dk_fail(err, DK_E_INVALID, "\"chat_template_kwargs\" must be an object");
    for (size_t i = 0; talk->variables && i < talk->variables->size; i++)
        if (!dk_chat_reads(chat, talk->variables->items[i]->key))
            return dk_fail(err, DK_E_INVALID, "the chat template does not read \"%.40s\" of chat_template_kwargs",
                           talk->variables->items[i]->key);
    return DK_OK;
}

static int32_t check_text(dk_host *host, const dk_chat_template *chat, const dk_chat_talk *talk, const dk_chat *made,
                          dk_error *err)
{
    if (!made->size)
        return dk_fail(err, DK_E_INVALID, "the chat template makes no text of %s",
                       talk->count == 1 ? "this message" : "these messages");
    if (made->absent_count)
        dk_log(host, DK_LOG_WARN, "chat", "nothing of message %lld%s is in the text: the chat template leaves it out",
               (long long)made->absent, made->absent_count > 1 ? " and of others" : "");
    return dk_chat_check_keys(host, chat, talk, made, err);
}

/* ---- a chat that is too long ---- */

static int32_t has_role(const dk_node *message, const char *role)
{
    const dk_node *node = message->type == DK_NODE_MAP ? member(message, "role") : NULL;
    return node && node->type == DK_NODE_TEXT && !strcmp(node->text, role);
}

static int64_t head_of(const dk_chat_talk *talk)
{
    int64_t head = 0;
    while (head < talk->count &&
           (has_role(talk->messages[head], "system") || has_role(talk->messages[head], "developer")))
        head++;
    return head;
}

/* A turn is what a user says with all that comes behind it. What a talk begins with stays. */
static int32_t leave_out(dk_host *host, int64_t turns, dk_chat_talk *talk, const dk_node ***kept, int64_t *left,
                         dk_error *err)
{
    const int64_t head = head_of(talk);
    int64_t from = head;
    int32_t rc;
    for (int64_t seen = 0; seen < turns; seen++) {
        do from++;
        while (from < talk->count && !has_role(talk->messages[from], "user"));
        if (from >= talk->count) return dk_fail(err, DK_E_END, "there is no turn that could be left out");
    }
    DK_TRY(dk_new(host, talk->count + 1, kept, err));
    for (int64_t i = 0; i < head; i++) (*kept)[i] = talk->messages[i];
    for (int64_t i = from; i < talk->count; i++) (*kept)[head + i - from] = talk->messages[i];
    *left = from - head;
    talk->count -= from - head;
    talk->messages = *kept;
out:
    return rc;
}

int32_t dk_chat_of_json(dk_host *host, const dk_tokenizer *tok, const char *json, int32_t prompt, int32_t open_last,
                        dk_chat *out, dk_error *err)
{
    int64_t left = 0;
    return dk_chat_of_later(host, tok, json, 0, prompt, open_last, out, &left, err);
}

int32_t dk_chat_of_later(dk_host *host, const dk_tokenizer *tok, const char *json, int64_t turns, int32_t prompt,
                         int32_t open_last, dk_chat *out, int64_t *left, dk_error *err)
{
    const dk_node **kept = NULL;
    dk_document *document = NULL;
    dk_chat_template *chat = NULL;
    dk_jinja_date today;
    dk_chat made = {0};
    dk_chat_talk talk = {.prompt = prompt, .open_last = open_last, .date = &today};
    int32_t rc;
    dk_chat_today(&today);
    DK_TRY(dk_json_parse(host, json, strlen(json), "messages", &document, err));
    const dk_node *root = dk_document_root(document);
    if (root->type == DK_NODE_MAP) DK_TRY(check_keys(root, err));
    DK_TRY(read_messages(root, &talk, err));
    DK_TRY(leave_out(host, turns, &talk, &kept, left, err));
    DK_TRY(open_template(host, tok, root->type == DK_NODE_MAP ? member(root, "chat_template") : NULL, &chat, err));
    DK_TRY(read_more(chat, root, &talk, err));
    DK_TRY(dk_chat_render(host, chat, &talk, &made, err));
    DK_TRY(check_text(host, chat, &talk, &made, err));
    *out = made;
    made = (dk_chat){0};
out:
    dk_chat_free(&made);
    dk_chat_template_release(chat);
    dk_document_free(document);
    dk_free(host, kept);
    return rc;
}
