#include "format/format_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/strbuf.h"

#include <string.h>

#define SHARD_BYTES (4ull << 30)

typedef struct entry { /* a tensor in order of names */
    const dk_tensor_spec *spec;
    int64_t index;
    uint64_t bytes;
    int64_t shard;
} entry;

typedef struct job {
    dk_host *host;
    const char *folder;
    const dk_safetensors_args *args;
    entry *entries;
    int64_t count, shards;
    uint64_t total;
    uint8_t *piece;
} job;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const entry *)a)->spec->name, ((const entry *)b)->spec->name);
}

static int32_t measure(entry *of, dk_error *err)
{
    const dk_tensor_spec *spec = of->spec;
    dk_tensor tensor = {
        .name = spec->name, .dtype = spec->dtype, .rank = spec->rank, .type_name = dk_safetensors_type(spec->dtype)};
    if (!tensor.type_name)
        return dk_fail(err, DK_E_INVALID, "tensor '%s': safetensors files have no type %s", spec->name,
                       dk_dtype_name(spec->dtype));
    memcpy(tensor.shape, spec->shape, sizeof tensor.shape);
    return dk_tensor_bytes("safetensors", &tensor, &of->bytes, err);
}

/* Sorted by name; a new shard begins where the next tensor would make the one at hand too large. */
static int32_t plan(job *work, dk_error *err)
{
    int32_t rc;
    uint64_t limit = work->args->shard_bytes ? work->args->shard_bytes : SHARD_BYTES, used = 0;
    DK_TRY(dk_new(work->host, work->count ? work->count : 1, &work->entries, err));
    for (int64_t i = 0; i < work->count; i++) {
        work->entries[i] = (entry){.spec = &work->args->tensors[i], .index = i};
        DK_TRY(measure(&work->entries[i], err));
    }
    qsort(work->entries, (size_t)work->count, sizeof *work->entries, by_name);
    work->shards = 1;
    for (int64_t i = 0; i < work->count; i++) {
        entry *of = &work->entries[i];
        if (i && !by_name(of, of - 1)) DK_TRY(dk_fail(err, DK_E_INVALID, "tensor '%s' is given twice", of->spec->name));
        if (used && of->bytes > limit - (used < limit ? used : limit)) {
            work->shards++;
            used = 0;
        }
        of->shard = work->shards - 1;
        used += of->bytes;
        work->total += of->bytes;
    }
out:
    return rc;
}

static void shard_name(const job *work, int64_t shard, char out[64])
{
    if (work->shards == 1) snprintf(out, 64, "model.safetensors");
    else snprintf(out, 64, "model-%05lld-of-%05lld.safetensors", (long long)shard + 1, (long long)work->shards);
}

static void put_header(const job *work, int64_t shard, dk_strbuf *out)
{
    uint64_t at = 0;
    dk_strbuf_puts(out, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int64_t i = 0; i < work->count; i++) {
        const entry *of = &work->entries[i];
        if (of->shard != shard) continue;
        dk_strbuf_puts(out, ",");
        dk_strbuf_json(out, of->spec->name, strlen(of->spec->name));
        dk_strbuf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", dk_safetensors_type(of->spec->dtype));
        for (int32_t d = 0; d < of->spec->rank; d++)
            dk_strbuf_printf(out, "%s%lld", d ? "," : "", (long long)of->spec->shape[d]);
        dk_strbuf_printf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)at,
                         (unsigned long long)(at + of->bytes));
        at += of->bytes;
    }
    dk_strbuf_puts(out, "}");
    while (out->size % 8 && !out->failed) dk_strbuf_puts(out, " ");
}

static int32_t write_data(const job *work, const entry *of, dk_writer *writer, dk_error *err)
{
    int32_t rc = DK_OK;
    for (uint64_t at = 0; at < of->bytes;) {
        uint64_t size = of->bytes - at < DK_TENSOR_PIECE ? of->bytes - at : DK_TENSOR_PIECE;
        DK_TRY(work->args->fill(work->args->user, of->index, at, work->piece, size, err));
        DK_TRY(dk_writer_write(writer, work->piece, size, err));
        at += size;
    }
out:
    return rc;
}

static int32_t write_shard(const job *work, int64_t shard, dk_error *err)
{
    int32_t rc;
    char name[64];
    uint8_t length[8];
    dk_writer *writer = NULL;
    dk_strbuf header;
    dk_strbuf_init(&header, work->host);
    shard_name(work, shard, name);
    char *path = dk_path_join(work->host, work->folder, name);
    if (!path) DK_TRY(dk_fail_nomem(err, strlen(work->folder) + 64));
    put_header(work, shard, &header);
    DK_TRY(dk_strbuf_check(&header, err));
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)header.size >> (8 * i));
    DK_TRY(dk_writer_open(work->host, path, &writer, err));
    DK_TRY(dk_writer_write(writer, length, 8, err));
    DK_TRY(dk_writer_write(writer, header.data, header.size, err));
    for (int64_t i = 0; i < work->count; i++)
        if (work->entries[i].shard == shard) DK_TRY(write_data(work, &work->entries[i], writer, err));
    dk_writer *finished = writer;
    writer = NULL;
    DK_TRY(dk_writer_commit(finished, err));
out:
    dk_writer_abort(writer);
    dk_strbuf_free(&header);
    dk_free(work->host, path);
    return rc;
}

static int32_t write_index(const job *work, const char *path, dk_error *err)
{
    int32_t rc;
    char name[64];
    dk_strbuf text;
    dk_strbuf_init(&text, work->host);
    dk_strbuf_printf(&text, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {",
                     (unsigned long long)work->total);
    for (int64_t i = 0; i < work->count; i++) {
        shard_name(work, work->entries[i].shard, name);
        dk_strbuf_puts(&text, i ? ",\n    " : "\n    ");
        dk_strbuf_json(&text, work->entries[i].spec->name, strlen(work->entries[i].spec->name));
        dk_strbuf_printf(&text, ": \"%s\"", name);
    }
    dk_strbuf_puts(&text, "\n  }\n}\n");
    DK_TRY(dk_strbuf_check(&text, err));
    DK_TRY(dk_file_replace(work->host, path, text.data, text.size, err));
out:
    dk_strbuf_free(&text);
    return rc;
}

/* A shard of an earlier save in other pieces. */
static int32_t remove_stale(void *user, const char *name, int32_t is_dir, dk_error *err)
{
    const job *work = user;
    int32_t rc = DK_OK;
    char shard[64], *path;
    size_t size = strlen(name);
    if (is_dir || size != 32 || strncmp(name, "model-", 6) || strncmp(name + 11, "-of-", 4) ||
        strcmp(name + 20, ".safetensors") || strspn(name + 6, "0123456789") != 5 ||
        strspn(name + 15, "0123456789") != 5)
        return DK_OK;
    for (int64_t i = 0; work->shards > 1 && i < work->shards; i++) {
        shard_name(work, i, shard);
        if (!strcmp(shard, name)) return DK_OK;
    }
    if (!(path = dk_path_join(work->host, work->folder, name)))
        return dk_fail_nomem(err, strlen(work->folder) + size + 2);
    if (remove(path)) rc = dk_fail(err, DK_E_IO, "%s: is left from an earlier save and cannot be removed", path);
    dk_free(work->host, path);
    return rc;
}

/* Readers prefer model.safetensors to an index, so what an earlier save left under the other name has to go. */
static int32_t finish(job *work, dk_error *err)
{
    int32_t rc = DK_OK;
    char *index = dk_path_join(work->host, work->folder, "model.safetensors.index.json");
    char *single = dk_path_join(work->host, work->folder, "model.safetensors");
    if (!index || !single) DK_TRY(dk_fail_nomem(err, strlen(work->folder) + 64));
    if (work->shards > 1) DK_TRY(write_index(work, index, err));
    const char *stale = work->shards > 1 ? single : index;
    if (dk_path_exists(stale) && remove(stale))
        DK_TRY(dk_fail(err, DK_E_IO, "%s: is left from an earlier save and cannot be removed", stale));
    DK_TRY(dk_dir_list(work->host, work->folder, remove_stale, work, err));
out:
    dk_free(work->host, index);
    dk_free(work->host, single);
    return rc;
}

int32_t dk_safetensors_write(dk_host *host, const char *folder, const dk_safetensors_args *args, uint64_t *bytes,
                             dk_error *err)
{
    int32_t rc;
    job work = {.host = host, .folder = folder, .args = args, .count = args->count};
    DK_TRY(plan(&work, err));
    DK_TRY(dk_new(host, DK_TENSOR_PIECE, &work.piece, err));
    for (int64_t shard = 0; shard < work.shards; shard++) DK_TRY(write_shard(&work, shard, err));
    DK_TRY(finish(&work, err));
    if (bytes) *bytes = work.total;
out:
    dk_free(host, work.piece);
    dk_free(host, work.entries);
    return rc;
}
