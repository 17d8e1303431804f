/* cached.c - a teacher whose targets are kept in a file: what is there is read, what is not is asked of the teacher
 * that it was made of, and added. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/ranks.h"
#include "base/file.h"
#include "base/hash.h"
#include "teacher/cached.h"

static void free_state(di_teacher *t)
{
    di_cached *cached = t->state;
    dk_error err;
    if (!cached) return;
    const int32_t told = cached->cache && di_cache_failed(cached->cache);
    if (cached->cache && di_cache_flush(cached->cache, &err) && !told)
        dk_log(t->host, DK_LOG_ERROR, "cache", "%s", err.message);
    di_cache_free(cached->cache);
    di_teacher_release(cached->from);
    dk_free(t->host, cached);
}

static void describe(const di_teacher *t, di_facts *out)
{
    const di_cached *cached = t->state;
    const di_cache_header *header = di_cache_get_header(cached->cache);
    if (cached->from) *out = di_teacher_facts(cached->from);
    out->vocab_size = header->vocab;
    out->vocab_valid = header->vocab_valid;
}

static const distill_target *form(const di_teacher *t)
{
    const di_cached *cached = t->state;
    return &cached->form;
}

/* Of what the file says of itself, the teacher's hash among it. */
static int32_t hash(const di_teacher *t, char hex[65], dk_error *err)
{
    const di_cached *cached = t->state;
    uint8_t header[DI_CACHE_HEADER], digest[32];
    dk_sha256 sha;
    (void)err;
    di_cache_header_write(di_cache_get_header(cached->cache), header);
    dk_sha256_begin(&sha);
    dk_sha256_add(&sha, header, sizeof header);
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, hex);
    return DK_OK;
}

static void settings(const di_teacher *t, dk_strbuf *json)
{
    const di_cached *cached = t->state;
    const di_cache_header *header = di_cache_get_header(cached->cache);
    char teacher[65];
    dk_hex(header->teacher, sizeof header->teacher, teacher);
    dk_strbuf_printf(json, ",\"tier\":\"%s\",\"made_of\":\"%s\",\"width\":%u,\"seed\":%llu", di_tier_name(header->tier),
                     teacher, (unsigned)header->width, (unsigned long long)header->seed);
    dk_strbuf_puts(json, ",\"target_temperature\":");
    dk_strbuf_f64(json, header->temperature);
}

static di_teacher *from_of(const di_teacher *t)
{
    const di_cached *cached = t->state;
    return cached->from;
}

static dk_model *model_of(const di_teacher *t)
{
    const di_cached *cached = t->state;
    return cached->from ? di_teacher_model(cached->from) : NULL;
}

static int32_t no_writer(const di_teacher *t, dk_error *err)
{
    return dk_fail(err, DK_E_UNSUPPORTED, "%s: a target cache alone does not write text: give its teacher, too",
                   t->path);
}

static int32_t generate(di_teacher *t, const distill_batch *prompts, const di_options *options,
                        const distill_options *user_options, const di_reader *reader, dk_error *err)
{
    const di_cached *cached = t->state;
    if (!cached->from) return no_writer(t, err);
    return di_teacher_generate_to(cached->from, prompts, options, user_options, reader, err);
}

static int32_t write_ids(di_teacher *t, const dk_tokens *prompts, const dk_generate_args *args, dk_error *err)
{
    const di_cached *cached = t->state;
    return cached->from ? di_teacher_write(cached->from, prompts, args, err) : no_writer(t, err);
}

/* What is written is read once: a file would grow by it without end. */
static int32_t new_text(const di_teacher *t, dk_error *err)
{
    const di_cached *cached = t->state;
    if (!cached->from)
        return dk_fail(err, DK_E_OPTION,
                       "%s: a target cache has nothing of text that was just written: give its teacher, too "
                       "(teacher.path beside teacher.cache)",
                       t->path);
    if (cached->form.kind == DISTILL_DENSE) return DK_OK;
    return dk_fail(err, DK_E_OPTION,
                   "%s: text that was just written is scored over the full vocabulary, and this target cache has tier "
                   "%s: make it of tier full or hidden, or leave teacher.cache out",
                   t->path, di_tier_name(di_cache_get_header(cached->cache)->tier));
}

static uint32_t goes_by(const di_teacher *t)
{
    const di_cached *cached = t->state;
    return di_cache_get_header(cached->cache)->key_parts;
}

static int32_t in_caller(const di_teacher *t)
{
    (void)t;
    return 1;
}

/* Tier full keeps logits less the highest. */
static int32_t shifted(const di_teacher *t)
{
    return di_cache_get_header(((const di_cached *)t->state)->cache)->tier == DI_TIER_FULL;
}

static const di_teacher_kind cached_kind = {.name = "a target cache",
                                            .no_place =
                                                "a file of targets keeps what a teacher says, not how it came to it; "
                                                "give the teacher itself (teacher.path without teacher.cache)",
                                            .type = "cached",
                                            .free = free_state,
                                            .describe = describe,
                                            .form = form,
                                            .goes_by = goes_by,
                                            .new_text = new_text,
                                            .shifted = shifted,
                                            .hash = hash,
                                            .settings = settings,
                                            .from = from_of,
                                            .model = model_of,
                                            .session_flops = di_cached_flops,
                                            .session = di_cached_session,
                                            .session_free = di_cached_session_free,
                                            .in_caller = in_caller,
                                            .forward = di_cached_forward,
                                            .hidden = di_cached_hidden,
                                            .generate = generate,
                                            .write = write_ids};

int32_t di_teacher_is_cached(const di_teacher *t) { return t->kind == &cached_kind; }

const uint8_t *di_teacher_cached_tokenizer(const di_teacher *t)
{
    static const uint8_t none[32];
    const di_cached *cached = t->state;
    if (!di_teacher_is_cached(t)) return NULL;
    const uint8_t *known = di_cache_get_header(cached->cache)->tokenizer;
    return memcmp(known, none, sizeof none) == 0 ? NULL : known;
}

/* *left counts down to the one that is looked for, whoever names it. */
static const di_cached *find_cached(const di_teacher *t, int64_t *left)
{
    const di_cached *found = di_teacher_is_cached(t) && !(*left)-- ? t->state : NULL;
    di_member_view view;
    if (!found && t->kind->from && t->kind->from(t)) found = find_cached(t->kind->from(t), left);
    for (int64_t i = 0; !found && t->kind->member && t->kind->member(t, NULL, i, &view); i++)
        found = find_cached(view.teacher, left);
    return found;
}

static int32_t is_first(const di_teacher *t, int64_t number, const di_cached *cached)
{
    for (int64_t i = 0; i < number; i++)
        if (find_cached(t, &(int64_t){i})->cache == cached->cache) return 0;
    return 1;
}

int32_t di_teacher_cache_at(const di_teacher *t, int64_t index, di_cache **cache, di_teacher **from)
{
    const di_cached *cached;
    for (int64_t i = 0, seen = 0; (cached = find_cached(t, &(int64_t){i})); i++) {
        if (!is_first(t, i, cached) || seen++ < index) continue;
        *cache = cached->cache;
        if (from) *from = cached->from;
        return 1;
    }
    return 0;
}

int32_t di_teacher_reaches(const di_teacher *t, const di_cache *cache, const char *source, const char *tag)
{
    const di_cached *cached = di_teacher_is_cached(t) ? t->state : NULL;
    di_member_view view;
    int64_t only = -1;
    if (cached && (cached->cache == cache || !cached->from)) return cached->cache == cache;
    if (cached) return di_teacher_reaches(cached->from, cache, source, tag);
    if (t->kind->routes && t->kind->routes(t, source, tag, &only, NULL)) return 0;
    for (int64_t i = 0; t->kind->member && t->kind->member(t, NULL, i, &view); i++)
        if ((only < 0 || i == only) && di_teacher_reaches(view.teacher, cache, source, tag)) return 1;
    return 0;
}

int32_t di_teacher_caches(const di_teacher *t, di_cache_fn fn, void *user, dk_error *err)
{
    di_cache *cache;
    int32_t rc = DK_OK;
    for (int64_t i = 0; !rc && di_teacher_cache_at(t, i, &cache, NULL); i++) rc = fn(user, cache, err);
    return rc;
}

static int32_t flush(void *user, di_cache *cache, dk_error *err)
{
    (void)user;
    return di_cache_flush(cache, err);
}

int32_t di_teacher_flush(const di_teacher *t, dk_error *err) { return di_teacher_caches(t, flush, NULL, err); }

/* ---- the header that is wanted ---- */

/* teacher.cache, or the same of an entry of teachers. */
typedef struct wishes {
    const di_options *options;
    const char *entry; /* NULL = section teacher */
    char key[160];
} wishes;

static const char *key_of(wishes *s, const char *key)
{
    if (s->entry) snprintf(s->key, sizeof s->key, "teachers.%.100s%.50s", s->entry, strchr(key, '.'));
    else snprintf(s->key, sizeof s->key, "%.100s", key);
    return s->key;
}

static int32_t is_set(wishes *s, const char *name) { return di_options_is_set(s->options, key_of(s, name)); }

static void set_tier(wishes *s, int32_t tier, int32_t all, di_cache_header *h)
{
    const int32_t sparse = tier == DI_TIER_TOP_K || tier == DI_TIER_SAMPLED;
    if (all) {
        h->bits = h->width = h->step = 0;
        h->seed = 0;
        h->entropy = tier == DI_TIER_SAMPLED;
    }
    h->tier = tier;
    if (!sparse) h->temperature = 1;
    else if (all || is_set(s, "teacher.cache.temperature"))
        h->temperature = di_options_f64(s->options, key_of(s, "teacher.cache.temperature"));
    if (tier == DI_TIER_HIDDEN && (all || is_set(s, "teacher.cache.precision")))
        h->bits = di_options_is(s->options, key_of(s, "teacher.cache.precision"), "bf16") ? 16 : 32;
    if (tier == DI_TIER_FULL) h->bits = 16;
    if (tier == DI_TIER_TOP_K && (all || is_set(s, "teacher.cache.k")))
        h->width = (uint32_t)di_options_i64(s->options, key_of(s, "teacher.cache.k"));
    if (tier == DI_TIER_TOP_K && (all || is_set(s, "teacher.cache.steps_per_nat")))
        h->step = (uint32_t)di_options_i64(s->options, key_of(s, "teacher.cache.steps_per_nat"));
    if (tier == DI_TIER_SAMPLED && (all || is_set(s, "teacher.cache.draws")))
        h->width = (uint32_t)di_options_i64(s->options, key_of(s, "teacher.cache.draws"));
    if (tier == DI_TIER_SAMPLED && (all || is_set(s, "teacher.cache.seed")))
        h->seed = (uint64_t)di_options_i64(s->options, key_of(s, "teacher.cache.seed"));
}

static int32_t has_states(const di_teacher *t) { return t && di_teacher_model(t) && t->kind->hidden; }

/* file NULL = there is none yet. What the options leave open is as the file has it; auto loses nothing where it can. */
static void set_from_options(wishes *s, const di_teacher *from, const di_cache_header *file, di_cache_header *h)
{
    const char *name = di_options_text(s->options, key_of(s, "teacher.cache.tier"));
    int32_t tier = di_tier_find(name);
    if (file) *h = *file;
    if (!strcmp(name, "auto")) tier = file ? file->tier : has_states(from) ? DI_TIER_HIDDEN : DI_TIER_TOP_K;
    set_tier(s, tier, !file || tier != file->tier, h);
}

static int32_t hash_bytes(const di_teacher *t, uint8_t out[32], dk_error *err)
{
    static const char digits[] = "0123456789abcdef";
    char hex[65];
    int32_t rc;
    DK_TRY(di_teacher_hash(t, hex, err));
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)((strchr(digits, hex[2 * i]) - digits) << 4 | (strchr(digits, hex[2 * i + 1]) - digits));
out:
    return rc;
}

static int32_t set_from_teacher(wishes *s, const char *path, di_teacher *from, di_cache_header *h, dk_error *err)
{
    const di_facts facts = di_teacher_facts(from);
    const int32_t kind = di_teacher_form(from)->kind;
    int32_t rc;
    if ((kind != DISTILL_DENSE && kind != DISTILL_HIDDEN) || facts.vocab_size < 1)
        return dk_fail(err, DK_E_UNSUPPORTED, "%s: targets are made of logits, and this teacher gives %s", path,
                       di_kind_name(kind));
    if (h->tier == DI_TIER_HIDDEN && !has_states(from))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: tier hidden keeps the states of a model in this process: this teacher is none, take full, "
                       "top_k or sampled",
                       path);
    if (h->tier == DI_TIER_FULL && di_teacher_formed(from))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: what %s says at one temperature does not tell what it says at another: take top_k or "
                       "sampled instead of full",
                       path, from->kind->name);
    h->vocab = facts.vocab_size;
    h->vocab_valid = facts.vocab_valid;
    if (h->tier == DI_TIER_HIDDEN) h->width = (uint32_t)facts.hidden_size;
    if (h->tier == DI_TIER_FULL) h->width = (uint32_t)facts.vocab_size;
    if (h->tier == DI_TIER_TOP_K && h->width > h->vocab_valid)
        return dk_fail(err, DK_E_OPTION, "%s is %u, above the %lld ids that count", key_of(s, "teacher.cache.k"),
                       (unsigned)h->width, (long long)h->vocab_valid);
    h->key_parts = di_teacher_goes_by(from);
    memset(h->tokenizer, 0, sizeof h->tokenizer);
    if (from->tokenizer) dk_tokenizer_hash(from->tokenizer, h->tokenizer);
    DK_TRY(hash_bytes(from, h->teacher, err));
out:
    return rc;
}

static int32_t read_header(dk_host *host, const char *path, di_cache_header *out, int32_t *there, dk_error *err)
{
    dk_mapping map = {0};
    int32_t rc = DK_OK;
    *there = 0;
    if (!dk_path_exists(path)) return DK_OK;
    DK_TRY(dk_map_open(host, path, 1, &map, err));
    if (map.size < DI_CACHE_HEADER &&
        (map.size == 0 || memcmp(map.data, DI_CACHE_MAGIC, map.size < 8 ? map.size : 8) == 0))
        goto out; /* its writer was killed at once */
    DK_TRY(di_cache_header_read(map.data, map.size, path, out, err));
    *there = 1;
out:
    dk_map_close(&map);
    return rc;
}

/* ---- how one comes to be ---- */

/* look: nothing is made or written. */
static int32_t open_cache(di_teacher *t, di_cached *cached, wishes *s, int32_t look, dk_error *err)
{
    const int32_t skip = di_options_flag(s->options, key_of(s, "teacher.cache.skip_damaged"));
    const int32_t flags = skip ? DI_CACHE_SKIP_DAMAGED | DI_CACHE_IGNORE_INDEX : 0; /* what is damaged is not there */
    di_cache_header file, wanted = {0};
    int32_t there, rc;
    DK_TRY(read_header(t->host, t->path, &file, &there, err));
    set_from_options(s, cached->from, there ? &file : NULL, &wanted);
    if (cached->from) {
        DK_TRY(set_from_teacher(s, t->path, cached->from, &wanted, err));
        if (there) DK_TRY(di_cache_header_match(&file, &wanted, t->path, err));
        if (look) {
            DK_TRY(there ? di_cache_open(t->host, t->path, flags, &cached->cache, err)
                         : di_cache_open_unmade(t->host, t->path, &wanted, &cached->cache, err));
        } else if (there && faccessat(AT_FDCWD, t->path, W_OK, AT_EACCESS)) { /* it may hold all that is asked for */
            dk_log(t->host, DK_LOG_INFO, "cache", "%s: cannot be written: what it lacks is an error", t->path);
            DK_TRY(di_cache_open(t->host, t->path, flags, &cached->cache, err));
        } else {
            DK_TRY(di_cache_open_to_add(t->host, t->path, &wanted, flags, &cached->cache, err));
        }
        goto out;
    }
    if (!there && dk_path_exists(t->path))
        DK_TRY(dk_fail(err, DK_E_FORMAT,
                       "%s: ends inside its header of %d bytes, and there is no teacher to make it of", t->path,
                       DI_CACHE_HEADER));
    if (!there)
        DK_TRY(dk_fail(err, DK_E_NOT_FOUND, "%s: there is no target cache, and no teacher to make one of", t->path));
    if (file.tier == DI_TIER_HIDDEN)
        DK_TRY(dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: keeps hidden states, of which the teacher's head makes logits: give the teacher, too",
                       t->path));
    DK_TRY(di_cache_header_match(&file, &wanted, t->path, err));
    DK_TRY(di_cache_open(t->host, t->path, flags, &cached->cache, err));
out:
    return rc;
}

int32_t di_teacher_cache_header(const char *path, di_teacher *from, const di_options *options, di_cache_header *out,
                                int32_t *there, dk_error *err)
{
    wishes s = {.options = options};
    di_cache_header file = {0};
    int32_t rc;
    *there = 0;
    memset(out, 0, sizeof *out);
    if (path) DK_TRY(read_header(from->host, path, &file, there, err));
    set_from_options(&s, from, *there ? &file : NULL, out);
    DK_TRY(set_from_teacher(&s, path ? path : "teacher.cache", from, out, err));
    if (*there) DK_TRY(di_cache_header_match(&file, out, path, err));
    DK_TRY(di_cache_header_check(out, path ? path : "teacher.cache", err));
out:
    return rc;
}

static void make_form(di_cached *cached)
{
    const di_cache_header *header = di_cache_get_header(cached->cache);
    const int32_t sparse = header->tier == DI_TIER_TOP_K || header->tier == DI_TIER_SAMPLED;
    cached->shape[1] = sparse ? header->width : header->vocab;
    cached->values = di_tensor_of(NULL, DISTILL_FLOAT, 32, 2, cached->shape);
    DISTILL_INIT(&cached->form);
    cached->form.kind = header->tier == DI_TIER_TOP_K     ? DISTILL_TOPK
                        : header->tier == DI_TIER_SAMPLED ? DISTILL_SAMPLED
                                                          : DISTILL_DENSE;
    cached->form.values = &cached->values;
    if (header->entropy) cached->form.entropy = &cached->values;
    cached->form.temperature = header->temperature;
    cached->form.vocab_valid = header->vocab_valid;
}

/* What each rank asks is held; rank 0 lacks a file that it can write: then it says so when it lacks something. */
static int32_t fill_together(const di_teacher *t, const di_cached *cached, dk_error *err)
{
    di_cache *inner;
    if (di_teacher_cache_at(cached->from, 0, &inner, NULL))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: its teachers keep their targets, too (%s), and several ranks fill one file at a time: fill "
                       "that first, by a recipe of its own, or do it in one process",
                       t->path, di_cache_path(inner));
    if (dk_rank(t->host) || di_cache_can_add(cached->cache)) di_cache_hold(cached->cache);
    return DK_OK;
}

int32_t di_teacher_cached_entry(dk_backend *backend, const char *path, di_teacher *from, const di_options *options,
                                const char *entry, int32_t caches, di_teacher **out, dk_error *err)
{
    const int32_t look = caches == DI_CACHES_LOOK || (caches == DI_CACHES_TOGETHER && dk_rank(backend->host)) ||
                         (caches == DI_CACHES_ADD && dk_ranks(backend->host) > 1);
    wishes s = {.options = options, .entry = entry};
    di_teacher *t = NULL;
    di_cached *cached = NULL;
    int32_t rc;
    if (from && di_teacher_changes(from))
        return dk_fail(err, DK_E_UNSUPPORTED,
                       "%s: the weights of this teacher, or of its members, change over the steps, and a target that "
                       "is kept does not: keep those of members that stay",
                       path);
    DK_TRY(di_teacher_create(backend, &cached_kind, path, &t, err));
    DK_TRY(dk_new(t->host, 1, &cached, err));
    t->state = cached;
    if (from) {
        cached->from = di_teacher_retain(from);
        cached->version = di_teacher_version(from);
    }
    DK_TRY(open_cache(t, cached, &s, look, err));
    if (from && caches == DI_CACHES_TOGETHER) DK_TRY(fill_together(t, cached, err));
    if (from && from->tokenizer) t->tokenizer = dk_tokenizer_retain(from->tokenizer);
    make_form(cached);
    *out = t;
    t = NULL;
out:
    di_teacher_release(t);
    return rc;
}

int32_t di_teacher_cached(dk_backend *backend, const char *path, di_teacher *from, const di_options *options,
                          di_teacher **out, dk_error *err)
{
    return di_teacher_cached_entry(backend, path, from, options, NULL, 0, out, err);
}

int32_t di_teacher_keep(dk_backend *backend, const di_options *options, int32_t look, di_teacher **teacher,
                        dk_error *err)
{
    const char *path = di_options_text(options, "teacher.cache.path");
    di_teacher *kept = NULL;
    if (!path || (*teacher && di_teacher_is_cached(*teacher) && strcmp((*teacher)->path, path) == 0)) return DK_OK;
    const int32_t rc = di_teacher_cached_entry(backend, path, *teacher, options, NULL, look, &kept, err);
    if (rc) return rc;
    di_teacher_release(*teacher);
    *teacher = kept;
    return DK_OK;
}
