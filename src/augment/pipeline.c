/* pipeline.c - steps are found, given what they need, and made; records go through them. */
#include "augment/pipeline.h"

#include <string.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/ranks.h"
#include "format/open_tokenizer.h"

/* ---- what operators need ---- */

static int32_t read_needs(const di_options *options, uint32_t *needs, dk_error *err)
{
    const int64_t count = di_options_list_size(options, "augment.steps");
    const char *hosted;
    int32_t rc = DK_OK;
    *needs = 0;
    if (!count) return dk_fail(err, DK_E_OPTION, "augment.steps is missing: a list of {label: answer, ...} and so on");
    for (int64_t i = 0; i < count; i++) {
        const di_operator_row *row;
        DK_TRY(di_operator_find(di_options_item(options, "augment.steps", i), i, &row, &hosted, err));
        if (row) *needs |= row->needs;
        if (row && i && row->needs & DI_MAKES_SEEDS)
            return dk_fail(err, DK_E_OPTION,
                           "augment.steps.%lld: %s %s makes samples of nothing, and is the first step or none",
                           (long long)i, row->verb, row->name);
    }
out:
    return rc;
}

static int32_t take_teacher(const di_augment_args *args, uint32_t needs, di_pipeline *p, dk_error *err)
{
    int32_t rc;
    if (args->teacher) p->teacher = di_teacher_retain(args->teacher);
    else DK_TRY(di_teacher_from_options(args->backend, args->options, NULL, &p->teacher, err));
    if (needs & DI_NEEDS_TEACHER && !p->teacher)
        return dk_fail(err, DK_E_OPTION, "teacher.path is missing: a step of augment.steps asks a teacher");
    rc = DK_OK;
out:
    return rc;
}

/* The teacher's own, or where it has none (a teacher of callbacks) the one that augment.tokenizer names. */
static int32_t take_tokenizer(const di_augment_args *args, uint32_t needs, di_pipeline *p, dk_error *err)
{
    const char *path = di_options_text(args->options, "augment.tokenizer");
    dk_tokenizer *own = p->teacher ? di_teacher_tokenizer(p->teacher) : NULL;
    if (own && path)
        return dk_fail(err, DK_E_OPTION, "augment.tokenizer: the teacher has one of its own: leave it out");
    if (own) p->tokenizer = dk_tokenizer_retain(own);
    else if (path) return dk_open_tokenizer(p->host, path, &p->tokenizer, err);
    else if (needs & DI_NEEDS_TEACHER)
        return dk_fail(err, DK_E_OPTION,
                       "augment.tokenizer is missing: the teacher has none of its own, and samples are words");
    return DK_OK;
}

/* The chat template is the tokenizer's own, or the one that data.chat_template names. */
static int32_t take_encoder(const di_augment_args *args, uint32_t needs, di_pipeline *p, dk_error *err)
{
    int32_t rc;
    if (!p->tokenizer) return DK_OK;
    DK_TRY(di_encoder_init(&p->encoder, p->host, p->tokenizer, args->options, err));
    if (p->encoder.chat || !(needs & DI_NEEDS_CHAT)) return DK_OK;
    if (err) *err = p->encoder.chat_problem;
    rc = p->encoder.chat_problem.code;
out:
    return rc;
}

/* ---- steps ---- */

/* All targets stand in one file, whose rows have one width. */
static int32_t take_keep(di_pipeline *p, const di_step *step, dk_error *err)
{
    const int64_t keep = di_options_i64(step->options, "keep_logprobs");
    if (keep && p->keep && keep != p->keep)
        return di_step_fail(step, err, "keep_logprobs %lld is not the %lld of another step: targets have one width",
                            (long long)keep, (long long)p->keep);
    if (keep) p->keep = keep;
    return DK_OK;
}

static int32_t open_link(const di_augment_args *args, const char *out, const char *hash, int64_t index, di_pipeline *p,
                         dk_error *err)
{
    di_link *link = &p->links[index];
    const char *hosted = NULL;
    int32_t rc;
    link->step = (di_step){.host = p->host,
                           .backend = args->backend,
                           .recipe = args->options,
                           .options = di_options_item(args->options, "augment.steps", index),
                           .number = index + 1,
                           .seed = (uint64_t)di_options_i64(args->options, "augment.seed"),
                           .teacher = p->teacher,
                           .tokenizer = p->tokenizer,
                           .encoder = p->tokenizer ? &p->encoder : NULL,
                           .chat = p->encoder.chat,
                           .date = p->encoder.date.year ? &p->encoder.date : NULL,
                           .writing = args->writing,
                           .user_options = args->user_options,
                           .in = args->in,
                           .out = out,
                           .pulse = &p->pulse,
                           .calls = dk_ranks(p->host) > 1 ? &p->calls : NULL};
    memcpy(link->step.teacher_hash, hash, sizeof link->step.teacher_hash);
    DK_TRY(di_operator_find(link->step.options, index, &link->row, &hosted, err));
    link->step.verb = link->row ? link->row->verb : "name";
    link->step.name = link->row ? link->row->name : hosted;
    link->functions = link->row ? link->row->functions : &di_hosted_operator_functions;
    if (hosted && !(link->step.hosted = di_hosted_list_find(args->hosted, hosted)))
        return dk_fail(err, DK_E_OPTION, "augment.steps.%lld.name \"%.60s\" is no operator that this program added",
                       (long long)index, hosted);
    DK_TRY(take_keep(p, &link->step, err));
    DK_TRY(link->functions->create(&link->step, &link->state, err));
    if (link->row && link->row->needs & DI_MAKES_SEEDS) p->makes = link->functions->makes(link->state);
out:
    return rc;
}

int32_t di_pipeline_open(const di_augment_args *args, const char *out, di_pipeline *p, dk_error *err)
{
    const int64_t count = di_options_list_size(args->options, "augment.steps");
    char hash[65] = "";
    uint32_t needs;
    int32_t rc;
    memset(p, 0, sizeof *p);
    p->host = p->calls.host = args->backend->host;
    DK_TRY(read_needs(args->options, &needs, err));
    DK_TRY(take_teacher(args, needs, p, err));
    DK_TRY(take_tokenizer(args, needs, p, err));
    DK_TRY(take_encoder(args, needs, p, err));
    if (p->teacher) DK_TRY(di_teacher_hash(p->teacher, hash, err));
    DK_TRY(dk_new(p->host, count, &p->links, err));
    for (; p->count < count; p->count++) DK_TRY(open_link(args, out, hash, p->count, p, err));
out:
    if (rc) di_pipeline_close(p);
    return rc;
}

void di_pipeline_close(di_pipeline *p)
{
    for (int64_t i = 0; i < p->count; i++) {
        di_link *link = &p->links[i];
        if (link->state) link->functions->free(link->state);
        di_reasons_free(p->host, &link->reasons);
    }
    if (p->host) dk_free(p->host, p->links);
    di_rank_calls_free(&p->calls);
    di_encoder_free(&p->encoder);
    dk_tokenizer_release(p->tokenizer);
    di_teacher_release(p->teacher);
    memset(p, 0, sizeof *p);
}

int64_t di_pipeline_cut(const di_pipeline *p, int64_t from)
{
    for (int64_t i = from + 1; i < p->count; i++)
        if (p->links[i].row && p->links[i].row->needs & DI_IS_BARRIER) return i;
    return p->count;
}

/* ---- what the result hangs on ---- */

/* The bytes of every file that a step names, and what it says of itself. */
static int32_t hash_step(const di_link *link, dk_sha256 *sha, dk_error *err)
{
    const char *own = link->functions->identity ? link->functions->identity(link->state) : "";
    int32_t rc = DK_OK;
    dk_sha256_add(sha, own, strlen(own));
    for (int64_t i = 0; i < di_option_count(); i++) {
        const di_option_info *option = di_option_at(i);
        dk_mapping map;
        if (option->type != DI_OPTION_PATH || strncmp(option->name, "augment.steps.N.", 16) != 0) continue;
        const char *path = di_options_text(link->step.options, option->name + 16);
        if (!path || dk_path_exists(path) != 1) continue;
        DK_TRY(dk_map_open(link->step.host, path, 1, &map, err));
        dk_sha256_add(sha, map.data, (size_t)map.size);
        dk_map_close(&map);
    }
out:
    return rc;
}

int32_t di_pipeline_hash(const di_pipeline *p, const di_options *options, char hex[65], dk_error *err)
{
    static const char *const keys[] = {
        "augment.steps",  "augment.seed",         "data.format",      "data.separator",   "data.special_in_text",
        "data.chat_date", "data.sequence_length", "data.prompt_loss", "data.preferences", "generate"};
    uint8_t digest[32];
    dk_sha256 sha;
    dk_strbuf text;
    int32_t rc = DK_OK;
    dk_sha256_begin(&sha);
    dk_strbuf_init(&text, p->host);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        dk_strbuf_printf(&text, "\n%s=", keys[i]);
        DK_TRY(di_options_get(options, keys[i], &text, err));
    }
    if (p->encoder.chat) dk_strbuf_puts(&text, dk_chat_source(p->encoder.chat));
    DK_TRY(dk_strbuf_check(&text, err));
    dk_sha256_add(&sha, text.data, text.size);
    if (p->tokenizer) {
        dk_tokenizer_hash(p->tokenizer, digest);
        dk_sha256_add(&sha, digest, sizeof digest);
    }
    for (int64_t i = 0; i < p->count; i++) DK_TRY(hash_step(&p->links[i], &sha, err));
    dk_sha256_end(&sha, digest);
    dk_hex(digest, sizeof digest, hex);
out:
    dk_strbuf_free(&text);
    return rc;
}

/* ---- records through steps ---- */

static int32_t pass_link(di_link *link, di_record **in, int64_t count, di_flow *flow, dk_error *err)
{
    int32_t rc = DK_OK;
    flow->reasons = &link->reasons;
    if (count) rc = link->functions->apply(link->state, in, count, flow, err);
    for (int64_t i = 0; i < count; i++) di_record_free(in[i]);
    link->in += count;
    link->out += flow->count;
    return rc;
}

int32_t di_pipeline_pass(di_pipeline *p, int64_t first, int64_t last, di_record **in, int64_t count, di_flow *flow,
                         dk_error *err)
{
    di_flow other = {.host = p->host, .aside = flow->aside};
    int32_t rc = DK_OK;
    for (int64_t i = first; i < last; i++) {
        if (in == flow->records) flow->count = 0; /* they go into the next step, which frees them */
        DK_TRY(pass_link(&p->links[i], in, count, &other, err));
        const di_flow swap = *flow; /* what came out of this step goes into the next one */
        *flow = other;
        other = swap;
        flow->tokens += other.tokens;
        other.tokens = other.count = 0;
        in = flow->records;
        count = flow->count;
    }
out:
    if (rc && first < last) flow->tokens += other.tokens;
    di_flow_clear(&other);
    dk_free(p->host, other.records);
    return rc;
}
