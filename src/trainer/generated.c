#include "trainer/generated.h"

#include <string.h>

/* ---- memory ---- */

static int32_t more_texts(di_texts *x, int64_t count, dk_error *err)
{
    di_text *items = NULL;
    int64_t *offsets = NULL, *most = NULL;
    int32_t rc = DK_OK;
    if (count <= x->capacity) return DK_OK;
    if (count < 2 * x->capacity) count = 2 * x->capacity;
    DK_TRY(dk_new(x->host, count, &items, err));
    DK_TRY(dk_new(x->host, count + 1, &offsets, err));
    DK_TRY(dk_new(x->host, count, &most, err));
    if (x->count) memcpy(items, x->items, (size_t)x->count * sizeof *items);
    dk_free(x->host, x->items);
    dk_free(x->host, x->offsets);
    dk_free(x->host, x->most);
    x->items = items;
    x->offsets = offsets;
    x->most = most;
    x->capacity = count;
    return DK_OK;
out:
    dk_free(x->host, items);
    dk_free(x->host, offsets);
    dk_free(x->host, most);
    return rc;
}

static int32_t more_tokens(di_texts *x, int64_t count, dk_error *err)
{
    int32_t *ids = NULL, *prompts = NULL, rc = DK_OK;
    float *log_probs = NULL;
    if (count <= x->token_capacity) return DK_OK;
    if (count < 2 * x->token_capacity) count = 2 * x->token_capacity;
    DK_TRY(dk_new(x->host, count, &ids, err));
    DK_TRY(dk_new(x->host, count, &prompts, err));
    DK_TRY(dk_new(x->host, count, &log_probs, err));
    if (x->tokens) memcpy(ids, x->ids, (size_t)x->tokens * sizeof *ids);
    if (x->tokens) memcpy(log_probs, x->log_probs, (size_t)x->tokens * sizeof *log_probs);
    dk_free(x->host, x->log_probs);
    x->log_probs = log_probs;
    dk_free(x->host, x->ids);
    dk_free(x->host, x->prompts);
    x->ids = ids;
    x->prompts = prompts;
    x->token_capacity = count;
    return DK_OK;
out:
    dk_free(x->host, ids);
    dk_free(x->host, prompts);
    dk_free(x->host, log_probs);
    return rc;
}

void di_texts_clear(di_texts *x) { x->count = x->tokens = 0; }

void di_texts_free(di_texts *x)
{
    if (!x->host) return;
    dk_free(x->host, x->items);
    dk_free(x->host, x->ids);
    dk_free(x->host, x->log_probs);
    dk_free(x->host, x->prompts);
    dk_free(x->host, x->offsets);
    dk_free(x->host, x->most);
}

/* ---- prompts ---- */

/* The first row of a sequence, from *row on; -1 = it has none. */
static int64_t first_row(const di_batch *data, int64_t sequence, int64_t *row)
{
    while (*row < data->rows && data->row_sequence[*row] < sequence) ++*row;
    return *row < data->rows && data->row_sequence[*row] == sequence ? *row : -1;
}

/* Where all is learnt nothing says what is asked for: then it is the beginning, but not the whole. */
static int64_t prompt_of(const di_batch *data, int64_t sequence, int64_t row, const di_prompt_rules *rules)
{
    const int64_t begin = data->offsets[sequence], count = data->offsets[sequence + 1] - begin;
    const int64_t label = data->row[row] + 1 - begin;
    if (label > 1) return label;
    return rules->plain < count ? rules->plain : count - 1;
}

static void add_prompt(di_texts *x, const di_batch *data, int64_t sequence, int64_t row, int64_t prompt, int64_t room)
{
    const int32_t *ids = data->ids + data->offsets[sequence];
    const int64_t at = x->count ? x->offsets[x->count] : 0;
    x->offsets[0] = 0;
    memcpy(x->prompts + at, ids, (size_t)prompt * sizeof *ids);
    memcpy(x->ids + x->tokens, ids, (size_t)prompt * sizeof *ids);
    memset(x->log_probs + x->tokens, 0, (size_t)prompt * sizeof *x->log_probs); /* not those of a text before it */
    x->items[x->count] = (di_text){.first = x->tokens,
                                   .prompt = prompt,
                                   .room = room,
                                   .weight = data->weights[row],
                                   .origin = data->origins[sequence]};
    x->most[x->count] = room;
    x->tokens += prompt + room;
    x->offsets[++x->count] = at + prompt;
}

int32_t di_texts_take_prompts(di_texts *x, const di_batch *data, const di_prompt_rules *rules, int64_t *full,
                              dk_error *err)
{
    int32_t rc;
    *full = 0;
    di_texts_clear(x);
    DK_TRY(more_texts(x, data->sequences, err));
    DK_TRY(more_tokens(x, data->offsets[data->sequences] + data->sequences * rules->most, err));
    for (int64_t s = 0, at = 0; s < data->sequences; s++) {
        const int64_t row = first_row(data, s, &at);
        if (row < 0) continue;
        const int64_t prompt = prompt_of(data, s, row, rules), left = rules->longest - prompt;
        if (left > 0) add_prompt(x, data, s, row, prompt, left < rules->most ? left : rules->most);
        else ++*full;
    }
out:
    return rc;
}

int32_t di_texts_add(di_texts *x, const di_text *like, const int32_t *ids, const float *log_probs, dk_error *err)
{
    const int64_t count = like->prompt + like->written;
    int32_t rc;
    DK_TRY(more_texts(x, x->count + 1, err));
    DK_TRY(more_tokens(x, x->tokens + count, err));
    memcpy(x->ids + x->tokens, ids, (size_t)count * sizeof *ids);
    if (log_probs) memcpy(x->log_probs + x->tokens, log_probs, (size_t)count * sizeof *log_probs);
    x->items[x->count] = *like;
    x->items[x->count].first = x->tokens;
    x->items[x->count++].room = like->written;
    x->tokens += count;
out:
    return rc;
}

/* ---- the batch ---- */

static int32_t make_room(const di_texts *x, di_batch **out, dk_error *err)
{
    di_batch *batch = NULL;
    int64_t texts = x->count, tokens = x->tokens;
    if (*out && (*out)->max_sequences >= texts && (*out)->max_tokens >= tokens) return DK_OK;
    if (*out && (*out)->max_sequences > texts) texts = (*out)->max_sequences;
    if (*out && (*out)->max_tokens > tokens) tokens = (*out)->max_tokens;
    const int32_t rc = di_batch_plan(x->host, texts, tokens, texts, &batch, err);
    if (rc != DK_OK) return rc;
    di_batch_free(*out);
    *out = batch;
    return DK_OK;
}

int32_t di_texts_batch(const di_texts *x, int64_t window_tokens, int64_t window_sequences, di_batch **out,
                       dk_error *err)
{
    int32_t rc = make_room(x, out, err);
    if (rc != DK_OK) return rc;
    di_batch *batch = *out;
    di_batch_clear(batch);
    for (int64_t i = 0; i < x->count; i++) {
        const di_text *text = &x->items[i];
        const int64_t first = batch->window_first[batch->windows], count = text->prompt + text->written;
        const int64_t tokens = batch->offsets[batch->sequences] - batch->offsets[first];
        if (tokens && (tokens + count > window_tokens || batch->sequences - first == window_sequences))
            di_batch_end_window(batch);
        di_batch_add_text(batch, x->ids + text->first, count, text->prompt, text->weight, text->origin);
    }
    if (x->count) di_batch_end_window(batch);
    return DK_OK;
}
