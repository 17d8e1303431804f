/* A GGUF model in several files: name-00001-of-00003.gguf, ... The first has the metadata, each says which it is. */
#include "format/format_parts.h"

#include "base/notes.h"

#include <stdio.h>
#include <string.h>

enum { ENDING = 20, PART_LIMIT = 9999 }; /* bytes of -00001-of-00003.gguf; no tool splits into more */

/* "-00001-of-00003.gguf" at the end of a path: 1 with the numbers. */
static int32_t read_ending(const char *path, int64_t *number, int64_t *count)
{
    static const char pattern[] = "-00000-of-00000.gguf";
    size_t size = strlen(path);
    const char *end = path + size - ENDING;
    if (size <= ENDING) return 0;
    *number = *count = 0;
    for (int i = 0; i < ENDING; i++) {
        int64_t *digits = i < 9 ? number : count;
        if (pattern[i] != '0' ? end[i] != pattern[i] : end[i] < '0' || end[i] > '9') return 0;
        if (pattern[i] == '0') *digits = *digits * 10 + end[i] - '0';
    }
    return 1;
}

int32_t dk_gguf_is_part(const char *path)
{
    int64_t number = 0, count = 0;
    return read_ending(path, &number, &count) && count > 1;
}

/* The path of another part, for dk_free. */
static char *path_of_part(const dk_checkpoint *checkpoint, int64_t number, int64_t count)
{
    size_t size = strlen(checkpoint->path);
    char *out = dk_strdup(checkpoint->host, checkpoint->path);
    if (out) snprintf(out + size - ENDING, ENDING + 1, "-%05d-of-%05d.gguf", (int)number, (int)count);
    return out;
}

static int32_t read_numbers(const dk_checkpoint *checkpoint, int64_t *number, int64_t *count, dk_error *err)
{
    int32_t rc;
    DK_TRY(dk_metadata_i64(checkpoint, "split.count", 0, PART_LIMIT, 0, count, err));
    DK_TRY(dk_metadata_i64(checkpoint, "split.no", 0, PART_LIMIT, 0, number, err));
    *number += 1;
out:
    return rc;
}

int32_t dk_gguf_refuse_part(const dk_checkpoint *checkpoint, dk_error *err)
{
    int64_t number = 0, count = 0;
    int32_t rc = read_numbers(checkpoint, &number, &count, err);
    if (rc || count < 2) return rc;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "%s: is part %lld of %lld; give the path of the first, so that the others are found beside it",
                   checkpoint->path, (long long)number, (long long)count);
}

/* The first part's name and its metadata say the same. */
static int32_t check_first(const dk_checkpoint *checkpoint, int64_t number, int64_t count, dk_error *err)
{
    int32_t rc = DK_OK;
    char *first = NULL;
    int64_t named = 0, of = 0;
    if (!read_ending(checkpoint->path, &named, &of) || named != number || of != count)
        return dk_fail(err, DK_E_FORMAT,
                       "%s: says that it is part %lld of %lld, so its name must end in -%05lld-of-%05lld.gguf, and the "
                       "other parts must lie beside it",
                       checkpoint->path, (long long)number, (long long)count, (long long)number, (long long)count);
    if (number == 1) return DK_OK;
    first = path_of_part(checkpoint, 1, count);
    rc = first ? dk_fail(err, DK_E_UNSUPPORTED, "%s: is part %lld of %lld; open the first, %s", checkpoint->path,
                         (long long)number, (long long)count, dk_path_name(first))
               : dk_fail_nomem(err, strlen(checkpoint->path) + 1);
    dk_free(checkpoint->host, first);
    return rc;
}

/* Names stay where they are; data stay in the mapping, which moves too. */
static int32_t take_over(dk_checkpoint *whole, dk_checkpoint *part, dk_error *err)
{
    int32_t rc = DK_OK, file = whole->file_count;
    for (int64_t i = 0; i < part->tensor_count; i++) {
        dk_tensor tensor = part->tensors[i];
        tensor.file = file;
        DK_TRY(dk_checkpoint_add_tensor(whole, tensor.name, strlen(tensor.name), &tensor, err));
    }
    whole->files[whole->file_count++] = part->files[0];
    part->file_count = 0;
out:
    return rc;
}

static int32_t same_text(dk_slice a, dk_slice b) { return a.size == b.size && !memcmp(a.data, b.data, a.size); }

static int32_t same_value(const dk_metadata *a, const dk_metadata *b)
{
    if (a->type != b->type) return 0;
    if (a->type == DK_META_TEXT) return same_text(a->text, b->text);
    if (a->type != DK_META_LIST) return a->i64 == b->i64 && a->f64 == b->f64;
    int32_t same = a->count == b->count && a->item_code == b->item_code;
    for (int64_t i = 0; same && a->texts && i < a->count; i++) same = same_text(a->texts[i], b->texts[i]);
    for (int64_t i = 0; same && a->items && i < a->count; i++)
        same = dk_metadata_item_f64(a, i) == dk_metadata_item_f64(b, i);
    return same;
}

/* Every key of a model stands in the first part; what another one says once more is the same, or it is of another
 * model. */
static int32_t meet_keys(dk_checkpoint *whole, const dk_checkpoint *part, dk_error *err)
{
    for (int64_t i = 0; i < part->metadata_count; i++) {
        const dk_metadata *said = &part->metadata[i], *first = dk_metadata_find(whole, said->key);
        if (!strcmp(said->key, "split.no")) continue;
        if (first && !same_value(first, said))
            return dk_fail(err, DK_E_MISMATCH,
                           "%s: metadata key '%.80s' is another one than in the first part: are the "
                           "parts of two models?",
                           part->path, said->key);
        if (!first && strncmp(said->key, "split.", 6) != 0)
            dk_note(&whole->notes, "%s: metadata key '%.80s' stands in a part that is not the first; it is not used",
                    part->path, said->key);
    }
    return DK_OK;
}

static int32_t add_part(dk_checkpoint *whole, int64_t number, int64_t count, uint32_t flags, dk_error *err)
{
    int32_t rc;
    int64_t said = 0, of = 0;
    dk_checkpoint *part = NULL;
    char *path = path_of_part(whole, number, count);
    if (!path) DK_TRY(dk_fail_nomem(err, strlen(whole->path) + 1));
    if (!dk_path_exists(path))
        DK_TRY(dk_fail(err, DK_E_NOT_FOUND, "%s: part %lld of %lld, %s, is not there; put it into the same folder",
                       whole->path, (long long)number, (long long)count, dk_path_name(path)));
    DK_TRY(dk_checkpoint_new(whole->host, path, 1, &part, err));
    DK_TRY(dk_map_open(whole->host, path, flags & DK_OPEN_MMAP ? 1 : 0, &part->files[0], err));
    part->file_count = 1;
    if (!dk_gguf_magic(&part->files[0]))
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: is part %lld of %lld by its name, but no GGUF file", path,
                       (long long)number, (long long)count));
    DK_TRY(dk_gguf_read(part, 0, err));
    DK_TRY(dk_checkpoint_sort(part, err));
    DK_TRY(read_numbers(part, &said, &of, err));
    if (said != number || of != count)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: is part %lld of %lld by its name, but says that it is part %lld of %lld",
                       path, (long long)number, (long long)count, (long long)said, (long long)of));
    DK_TRY(meet_keys(whole, part, err));
    DK_TRY(take_over(whole, part, err));
out:
    dk_checkpoint_close(part);
    dk_free(whole->host, path);
    return rc;
}

static int32_t make_room(dk_checkpoint *checkpoint, int64_t count, dk_error *err)
{
    int32_t rc;
    dk_mapping *files = NULL;
    char **names = NULL;
    DK_TRY(dk_new(checkpoint->host, count, &files, err));
    DK_TRY(dk_new(checkpoint->host, count, &names, err));
    files[0] = checkpoint->files[0];
    dk_free(checkpoint->host, checkpoint->files);
    dk_free(checkpoint->host, checkpoint->file_names);
    checkpoint->files = files;
    checkpoint->file_names = names;
    names = NULL;
    files = NULL;
out:
    dk_free(checkpoint->host, files);
    dk_free(checkpoint->host, names);
    return rc;
}

static int32_t check_tensors(const dk_checkpoint *checkpoint, dk_error *err)
{
    int64_t said = 0;
    int32_t rc = dk_metadata_i64(checkpoint, "split.tensors.count", 0, INT32_MAX, checkpoint->tensor_count, &said, err);
    if (rc || said == checkpoint->tensor_count) return rc;
    return dk_fail(err, DK_E_FORMAT, "%s: split.tensors.count is %lld, but %d file%s hold%s %lld tensors",
                   checkpoint->path, (long long)said, (int)checkpoint->file_count,
                   checkpoint->file_count > 1 ? "s" : "", checkpoint->file_count > 1 ? "" : "s",
                   (long long)checkpoint->tensor_count);
}

int32_t dk_gguf_add_parts(dk_checkpoint *checkpoint, uint32_t flags, dk_error *err)
{
    int32_t rc;
    int64_t number = 0, count = 0;
    DK_TRY(read_numbers(checkpoint, &number, &count, err));
    if (count < 2 && number > 1)
        DK_TRY(dk_fail(err, DK_E_FORMAT, "%s: says that it is part %lld of %lld", checkpoint->path, (long long)number,
                       (long long)count));
    if (count > 1) DK_TRY(check_first(checkpoint, number, count, err));
    if (flags & DK_OPEN_VOCABULARY) goto out;
    if (count > 1) DK_TRY(make_room(checkpoint, count, err));
    for (int64_t i = 2; i <= count; i++) DK_TRY(add_part(checkpoint, i, count, flags, err));
    if (count > 1) DK_TRY(dk_checkpoint_sort(checkpoint, err));
    DK_TRY(check_tensors(checkpoint, err));
out:
    return rc;
}
