/* The folders that are written of small models of every family, from folders and through GGUF files, against what
 * transformers read in the same folders, byte for byte: figures that tests/families/check_transformers.py stored. */
#include "base/hash.h"
#include "model/export_gguf.h"
#include "stored_cases.h"
#include "test_files.h"

#define LOGIT_TOLERANCE 5e-5

/* ---- what is written ---- */
static void add_file(dk_sha256 *sha, dk_host *host, const char *folder, const char *name)
{
    char *data = NULL;
    size_t size = 0;
    dk_error err = {0};
    REQUIRE_OK(dk_file_read(host, path_in(folder, name), (uint64_t)1 << 30, &data, &size, &err));
    dk_sha256_add(sha, data, size);
    dk_free(host, data);
}

static void check_bytes(const stored_case *c, dk_host *host, const char *folder)
{
    dk_sha256 sha;
    uint8_t digest[32];
    char hex[65];
    dk_sha256_begin(&sha);
    add_file(&sha, host, folder, "config.json");
    add_file(&sha, host, folder, "model.safetensors");
    dk_sha256_end(&sha, digest);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (strcmp(hex, stored_text(c, "sha256")) != 0)
        FAIL("%s from a %s as %s: config.json or model.safetensors is not what transformers read (SHA-256 %s)", c->name,
             stored_text(c, "from"), c->type, hex);
}

static int32_t through_gguf(fixture *f, dk_model **model, const char *path, dk_error *err)
{
    const dk_model_options options = {.use_mmap = 1};
    dk_strbuf notes;
    dk_strbuf_init(&notes, f->host);
    int32_t rc = dk_model_export_gguf(*model, NULL, NULL, path, DK_F32, &notes, err);
    dk_strbuf_free(&notes);
    dk_model_free(*model);
    *model = NULL;
    return rc ? rc : dk_model_open(f->backend, path, &options, model, err);
}

/* The model, written as a folder of a type and opened again. */
static int rewritten(const stored_case *c, fixture *f, const char *folder, dk_dtype dtype)
{
    const dk_model_options options = {.use_mmap = 1};
    dk_model *model = NULL;
    dk_error err = {0};
    if (!fixture_begin(f, ON_CPU)) return 0;
    int rc = dk_model_open(f->backend, c->folder, &options, &model, &err);
    if (!rc && strcmp(stored_text(c, "from"), "gguf") == 0)
        rc = through_gguf(f, &model, path_in(folder, "m.gguf"), &err);
    if (!rc) rc = dk_model_save(model, folder, dtype, &err);
    dk_model_free(model);
    if (!rc) rc = dk_model_open(f->backend, folder, &options, &f->model, &err);
    if (rc) FAIL("%s as %s: %d %s", c->name, c->type, rc, err.message);
    return !rc;
}

/* ---- what is read in it ---- */
static void check_logits(const stored_case *c, fixture *f)
{
    const dk_node *ids = dk_node_get(c->node, "ids"), *want = dk_node_get(c->node, "last_logits");
    int64_t vocab = f->model->config.vocab_size;
    double *logits = stored_logits(c, f), worst = 0;
    REQUIRE(logits && want && (int64_t)want->size == vocab);
    const double *z = logits + ((int64_t)ids->size - 1) * vocab;
    for (int64_t i = 0; i < vocab; i++) {
        double off = fabs(z[i] - stored_number(want->items[i]));
        if (!(off <= worst)) worst = off;
    }
    if (!(worst <= LOGIT_TOLERANCE))
        FAIL("%s from a %s as %s: logits are %g from transformers'", c->name, stored_text(c, "from"), c->type, worst);
    free(logits);
}

static void check_case(const stored_case *c)
{
    fixture f;
    const char *folder = test_folder("written");
    const dk_dtype dtype = strcmp(c->type, "f32") == 0 ? DK_F32 : strcmp(c->type, "bf16") == 0 ? DK_BF16 : DK_F16;
    CHECK(dtype != DK_F16 || strcmp(c->type, "f16") == 0);
    if (rewritten(c, &f, folder, dtype)) {
        check_bytes(c, f.host, folder);
        check_logits(c, &f);
    }
    fixture_end(&f);
}

TEST(folders_say_what_transformers_reads_in_them)
{
    CHECK(stored_check(TEST_DATA "/families/transformers.json", check_case) >= 60);
}

TEST_MAIN(TEST_CASE(folders_say_what_transformers_reads_in_them))
