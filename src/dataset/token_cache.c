#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "dataset/dataset_parts.h"
#include "dataset/token_file.h"

static void add_text(dk_sha256 *sha, const char *text)
{
    dk_sha256_add(sha, text ? text : "", text ? strlen(text) + 1 : 1);
}

/* Where a template is a file: its size and when it was written. */
static void add_file(dk_sha256 *sha, const char *path)
{
    struct stat info;
    if (!path || stat(path, &info) || !S_ISREG(info.st_mode)) return;
    const int64_t numbers[] = {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
    dk_sha256_add(sha, numbers, sizeof numbers);
}

int32_t di_token_cache_key(dk_host *host, const char *path, const char *format, const dk_tokenizer *tokenizer,
                           const di_options *options, uint8_t key[32], dk_error *err)
{
    struct stat info;
    uint8_t hash[32];
    dk_sha256 sha;
    (void)host;
    if (stat(path, &info)) return dk_fail(err, DK_E_NOT_FOUND, "%s: cannot be examined", path);
    int64_t numbers[] = {info.st_size,
                         info.st_mtim.tv_sec,
                         info.st_mtim.tv_nsec,
                         di_options_flag(options, "data.prompt_loss"),
                         di_options_is(options, "data.preferences", "chosen"),
                         dk_tokenizer_bos(tokenizer),
                         dk_tokenizer_eos(tokenizer),
                         dk_tokenizer_adds_bos(tokenizer)};
    dk_tokenizer_hash(tokenizer, hash);
    dk_sha256_begin(&sha);
    add_text(&sha, "tokens 5");
    add_text(&sha, path);
    add_text(&sha, format);
    dk_sha256_add(&sha, numbers, sizeof numbers);
    dk_sha256_add(&sha, hash, sizeof hash);
    add_text(&sha, di_options_text(options, "data.separator"));
    add_text(&sha, di_options_text(options, "data.chat_template"));
    add_text(&sha, di_options_text(options, "data.chat_date"));
    add_file(&sha, di_options_text(options, "data.chat_template"));
    add_text(&sha, di_options_text(options, "data.special_in_text"));
    add_text(&sha, dk_tokenizer_chat_template(tokenizer));
    dk_sha256_end(&sha, key);
    return DK_OK;
}

/* FOLDER/NAME.<first 8 digits of the path's hash>.tokens: sources of the same name do not meet. */
static char *cache_path(dk_host *host, const char *folder, const char *path)
{
    char digits[17], name[300];
    uint64_t hash = dk_hash64(path, strlen(path));
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(hash >> (8 * i));
    dk_hex(bytes, sizeof bytes, digits);
    snprintf(name, sizeof name, "%.200s.%.8s.tokens", dk_path_name(path), digits);
    return dk_path_join(host, folder, name);
}

/* Messages name the source, not its tokens. */
static int32_t rename_store(di_store *store, const char *path, dk_error *err)
{
    char *name = dk_strdup(store->host, path);
    if (!name) return dk_fail_nomem(err, strlen(path));
    dk_free(store->host, store->name);
    store->name = name;
    return DK_OK;
}

int32_t di_token_cache_open(dk_host *host, const char *folder, const char *path, const uint8_t key[32],
                            dk_tokenizer *tokenizer, di_store **out, dk_error *err)
{
    char *file = cache_path(host, folder, path);
    di_store *store = NULL;
    dk_error problem;
    int32_t rc = DK_OK;
    *out = NULL;
    if (!file) return dk_fail_nomem(err, strlen(folder));
    dk_error_clear(&problem);
    if (dk_path_exists(file) != 1) goto out;
    rc = di_token_file_open(host, file, tokenizer, key, &store, &problem);
    if (rc == DK_E_FORMAT || rc == DK_E_MISMATCH || rc == DK_E_UNSUPPORTED) {
        dk_log(host, rc == DK_E_FORMAT ? DK_LOG_WARN : DK_LOG_INFO, "dataset", "tokenising again: %s", problem.message);
        rc = DK_OK;
        goto out;
    }
    if (rc != DK_OK) {
        if (err) *err = problem;
        goto out;
    }
    DK_TRY(rename_store(store, path, err));
    *out = store;
    store = NULL;
out:
    di_store_release(store);
    dk_free(host, file);
    return rc;
}

int32_t di_token_cache_keep(const char *folder, const char *path, const uint8_t key[32], dk_tokenizer *tokenizer,
                            di_store **store, dk_error *err)
{
    dk_host *host = (*store)->host;
    char *file = cache_path(host, folder, path);
    di_store *mapped = NULL;
    int32_t rc;
    if (!file) return dk_fail_nomem(err, strlen(folder));
    DK_TRY(dk_dir_create(host, folder, err));
    DK_TRY(di_token_file_write(*store, key, file, err));
    if ((*store)->spools[0].map) {
        DK_TRY(di_token_file_open(host, file, tokenizer, key, &mapped, err));
        DK_TRY(rename_store(mapped, path, err));
        di_store_release(*store);
        *store = mapped;
        mapped = NULL;
    }
out:
    if (rc != DK_OK) dk_error_context(err, "data.token_cache");
    di_store_release(mapped);
    dk_free(host, file);
    return rc;
}
