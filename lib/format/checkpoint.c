#include "format/format_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *dk_shape_text(int32_t rank, const int64_t *shape, char out[DK_SHAPE_TEXT])
{
    size_t at = 1;
    out[0] = '[';
    for (int32_t i = 0; i < rank && at < DK_SHAPE_TEXT - 24; i++)
        at += (size_t)snprintf(out + at, DK_SHAPE_TEXT - at, "%s%lld", i ? ", " : "", (long long)shape[i]);
    memcpy(out + at, "]", 2);
    return out;
}

int32_t dk_tensor_bytes(const char *file, const dk_tensor *tensor, uint64_t *out, dk_error *err)
{
    char shape[DK_SHAPE_TEXT];
    int64_t block = dk_dtype_find(tensor->dtype)->block;
    int64_t count = 1, last = tensor->rank ? tensor->shape[tensor->rank - 1] : 1;
    for (int32_t i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] < 0 || (tensor->shape[i] && count > INT64_MAX / 512 / tensor->shape[i]))
            return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s' has the impossible shape %s", file, tensor->name,
                           dk_shape_text(tensor->rank, tensor->shape, shape));
        else count *= tensor->shape[i];
    if (last % block)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: tensor '%s' has rows of %lld entries, but type %s comes in blocks of %lld", file,
                       tensor->name, (long long)last, tensor->type_name, (long long)block);
    *out = (uint64_t)dk_dtype_bytes(tensor->dtype, count);
    return DK_OK;
}

/* ---- what is in it ---- */
const char *dk_checkpoint_path(const dk_checkpoint *checkpoint) { return checkpoint->path; }

const dk_strbuf *dk_checkpoint_notes(const dk_checkpoint *checkpoint) { return &checkpoint->notes; }

int32_t dk_checkpoint_is_gguf(const dk_checkpoint *checkpoint) { return checkpoint->gguf; }

int64_t dk_checkpoint_count(const dk_checkpoint *checkpoint) { return checkpoint->tensor_count; }

const dk_tensor *dk_checkpoint_at(const dk_checkpoint *checkpoint, int64_t index)
{
    return &checkpoint->tensors[index];
}

int32_t dk_checkpoint_files(const dk_checkpoint *checkpoint) { return checkpoint->file_count; }

const dk_mapping *dk_checkpoint_file(const dk_checkpoint *checkpoint, int32_t file) { return &checkpoint->files[file]; }

static int by_tensor_name(const void *a, const void *b)
{
    return strcmp(((const dk_tensor *)a)->name, ((const dk_tensor *)b)->name);
}

static int by_metadata_key(const void *a, const void *b)
{
    return strcmp(((const dk_metadata *)a)->key, ((const dk_metadata *)b)->key);
}

const dk_tensor *dk_checkpoint_find(const dk_checkpoint *checkpoint, const char *name)
{
    dk_tensor key = {.name = name};
    if (!checkpoint->tensor_count) return NULL;
    return bsearch(&key, checkpoint->tensors, (size_t)checkpoint->tensor_count, sizeof key, by_tensor_name);
}

int64_t dk_metadata_count(const dk_checkpoint *checkpoint) { return checkpoint->metadata_count; }

const dk_metadata *dk_metadata_at(const dk_checkpoint *checkpoint, int64_t index)
{
    return &checkpoint->metadata[index];
}

const dk_metadata *dk_metadata_find(const dk_checkpoint *checkpoint, const char *key)
{
    dk_metadata wanted = {.key = key};
    if (!checkpoint->metadata_count) return NULL;
    return bsearch(&wanted, checkpoint->metadata, (size_t)checkpoint->metadata_count, sizeof wanted, by_metadata_key);
}

/* ---- building ---- */
int32_t dk_checkpoint_new(dk_host *host, const char *path, int32_t files, dk_checkpoint **out, dk_error *err)
{
    int32_t rc;
    dk_checkpoint *made = NULL;
    DK_TRY(dk_new(host, 1, &made, err));
    made->host = dk_host_retain(host);
    dk_strbuf_init(&made->notes, host);
    DK_TRY(dk_new(host, files, &made->files, err));
    DK_TRY(dk_new(host, files, &made->file_names, err));
    made->path = dk_strdup(host, path);
    if (!made->path) DK_TRY(dk_fail_nomem(err, strlen(path) + 1));
    *out = made;
    made = NULL;
out:
    dk_checkpoint_close(made);
    return rc;
}

static int32_t grow(dk_host *host, void **items, int64_t *capacity, int64_t count, size_t size, dk_error *err)
{
    if (count < *capacity) return DK_OK;
    int64_t wanted = *capacity ? 2 * *capacity : 64;
    void *grown = dk_realloc(host, *items, (uint64_t)wanted, size);
    if (!grown) return dk_fail_nomem(err, (uint64_t)wanted * size);
    *items = grown;
    *capacity = wanted;
    return DK_OK;
}

int32_t dk_checkpoint_add_tensor(dk_checkpoint *checkpoint, const char *name, size_t name_size, const dk_tensor *tensor,
                                 dk_error *err)
{
    void *items = checkpoint->tensors;
    int32_t rc =
        grow(checkpoint->host, &items, &checkpoint->tensor_capacity, checkpoint->tensor_count, sizeof *tensor, err);
    checkpoint->tensors = items;
    if (rc) return rc;
    dk_tensor *added = &checkpoint->tensors[checkpoint->tensor_count];
    *added = *tensor;
    added->name = dk_strndup(checkpoint->host, name, name_size);
    if (!added->name) return dk_fail_nomem(err, name_size + 1);
    checkpoint->tensor_count++;
    return DK_OK;
}

int32_t dk_checkpoint_add_metadata(dk_checkpoint *checkpoint, const char *key, size_t key_size,
                                   const dk_metadata *metadata, dk_error *err)
{
    void *items = checkpoint->metadata;
    int32_t rc = grow(checkpoint->host, &items, &checkpoint->metadata_capacity, checkpoint->metadata_count,
                      sizeof *metadata, err);
    checkpoint->metadata = items;
    if (rc) return rc;
    dk_metadata *added = &checkpoint->metadata[checkpoint->metadata_count];
    *added = *metadata;
    added->key = dk_strndup(checkpoint->host, key, key_size);
    if (!added->key) return dk_fail_nomem(err, key_size + 1);
    checkpoint->metadata_count++;
    return DK_OK;
}

int32_t dk_checkpoint_sort(dk_checkpoint *checkpoint, dk_error *err)
{
    dk_tensor *tensors = checkpoint->tensors;
    dk_metadata *metadata = checkpoint->metadata;
    if (tensors) qsort(tensors, (size_t)checkpoint->tensor_count, sizeof *tensors, by_tensor_name);
    if (metadata) qsort(metadata, (size_t)checkpoint->metadata_count, sizeof *metadata, by_metadata_key);
    for (int64_t i = 1; i < checkpoint->tensor_count; i++)
        if (!strcmp(tensors[i].name, tensors[i - 1].name))
            return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s' is there twice", checkpoint->path, tensors[i].name);
    for (int64_t i = 1; i < checkpoint->metadata_count; i++)
        if (!strcmp(metadata[i].key, metadata[i - 1].key))
            return dk_fail(err, DK_E_FORMAT, "%s: metadata key '%s' is there twice", checkpoint->path, metadata[i].key);
    return DK_OK;
}

static int by_place(const void *a, const void *b)
{
    const dk_tensor *left = a, *right = b;
    const uint8_t *x = left->data, *y = right->data;
    if (x != y) return x < y ? -1 : 1;
    return left->bytes < right->bytes ? -1 : left->bytes > right->bytes;
}

int32_t dk_checkpoint_check_layout(dk_checkpoint *checkpoint, const char *name, int64_t first, const uint8_t *start,
                                   const uint8_t *end, int32_t gaps, dk_error *err)
{
    const uint8_t *at = start;
    int64_t count = checkpoint->tensor_count - first;
    if (count) qsort(checkpoint->tensors + first, (size_t)count, sizeof *checkpoint->tensors, by_place);
    for (int64_t i = first; i < checkpoint->tensor_count; i++) {
        const dk_tensor *tensor = &checkpoint->tensors[i];
        const uint8_t *data = tensor->data;
        if (data < at)
            return dk_fail(err, DK_E_FORMAT, "%s: tensor '%s' overlaps the data of another one", name, tensor->name);
        if (data > at && !gaps)
            return dk_fail(err, DK_E_FORMAT, "%s: %lld bytes before tensor '%s' belong to nothing", name,
                           (long long)(data - at), tensor->name);
        at = data + tensor->bytes;
    }
    if (at < end && !gaps)
        return dk_fail(err, DK_E_FORMAT, "%s: %lld bytes behind the last tensor belong to nothing", name,
                       (long long)(end - at));
    return DK_OK;
}

void dk_checkpoint_close(dk_checkpoint *checkpoint)
{
    if (!checkpoint) return;
    dk_host *host = checkpoint->host;
    for (int64_t i = 0; i < checkpoint->tensor_count; i++)
        dk_free(host, (void *)(uintptr_t)checkpoint->tensors[i].name);
    for (int64_t i = 0; i < checkpoint->metadata_count; i++) {
        dk_free(host, (void *)(uintptr_t)checkpoint->metadata[i].key);
        dk_free(host, (void *)(uintptr_t)checkpoint->metadata[i].texts);
    }
    for (int32_t i = 0; i < checkpoint->file_count; i++) {
        dk_map_close(&checkpoint->files[i]);
        dk_free(host, checkpoint->file_names[i]);
    }
    dk_free(host, checkpoint->tensors);
    dk_free(host, checkpoint->metadata);
    dk_free(host, checkpoint->files);
    dk_free(host, checkpoint->file_names);
    dk_strbuf_free(&checkpoint->notes);
    dk_free(host, checkpoint->path);
    dk_free(host, checkpoint);
    dk_host_release(host);
}
