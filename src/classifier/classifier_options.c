/* classifier_options.c - what the options say to the training of a classifier, and which of them are of language models
 * and refused. */
#include <string.h>

#include "base/hash.h"
#include "classifier/classifier_parts.h"

static int32_t is_jsonl(const char *format) { return !format || !strcmp(format, "auto") || !strcmp(format, "jsonl"); }

/* An option of a file that nothing would read; NULL = it has none. */
static const char *unread_of(const di_options *file)
{
    if (di_options_is_set(file, "source")) return "source";
    if (di_options_is_set(file, "separator")) return "separator";
    if (di_options_is_set(file, "chat_template")) return "chat_template";
    return di_options_is_set(file, "prompt_loss") ? "prompt_loss" : NULL;
}

/* A file is its path, and no more. */
static int32_t check_files(const di_options *o, const char *list, dk_error *err)
{
    for (int64_t i = 0; i < di_options_list_size(o, list); i++) {
        const di_options *file = di_options_item(o, list, i);
        const char *format = di_options_text(file, "format"), *unread = unread_of(file);
        if (unread)
            return dk_fail(err, DK_E_OPTION, "%s.%lld.%s is of language models: a classifier reads the file alone",
                           list, (long long)i, unread);
        if (!is_jsonl(format))
            return dk_fail(err, DK_E_OPTION, "%s.%lld.format is %s: a classifier reads JSONL", list, (long long)i,
                           format);
    }
    return DK_OK;
}

int32_t di_classifier_check_options(const di_options *o, int32_t given, dk_error *err)
{
    static const struct {
        const char *key, *why;
    } unread[] = {
        {"train.micro_batch_size", "is of language models: a classifier computes its batch at once"},
        {"train.projection_rate", "is of losses on features, which a classifier has none of"},
        {"train.balance.by", "is of language models: a classifier's terms keep their weights"},
        {"train.on_policy.lambda", "is of students that write: a classifier writes nothing"},
        {"train.eval_teachers", "is of several teachers: a classifier's texts have one distribution each"},
        {"train.optimizer", "none leaves the update to a host: a classifier's is the library's"},
        {"train.moments", "is of language models: a classifier's are fp32"},
        {"train.loss_memory", "is of language models: a classifier's logits are one batch"},
        {"train.precision", "is of matrix products, which a classifier has none of"},
        {"train.activation_checkpointing", "is of language models"},
        {"train.eval_tokens", "is of language models: all held-out texts are measured"},
        {"train.eval_precision", "is of matrix products, which a classifier has none of"},
        {"train.keep_best", "would choose weights by the texts that the promise is made on: give train.steps"},
        {"train.early_stop_patience", "would choose weights by the texts that the promise is made on"},
        {"output.format", "is of language models: a classifier is a folder with safetensors"},
        {"output.timing_seconds", "is of language models: a classifier writes no text"},
        {"output.samples", "is of language models: a classifier writes no text"},
        {"output.type", "is of language models: classifier.type says f32, f16 or int8"},
        {"data.pack", "is of tokens: a classifier's texts stay apart"},
        {"data.sequence_length", "is of tokens: a classifier reads whole texts"},
        {"data.separator", "is of plain text: a classifier reads JSONL"},
        {"data.chat_template", "is of messages: a classifier reads one text"},
        {"data.prompt_loss", "is of tokens"},
        {"data.chat_date", "is of messages: a classifier reads one text"},
        {"data.special_in_text", "is of tokens: a classifier reads characters"},
        {"data.preferences", "is of pairs: a classifier reads one text"},
        {"data.token_cache", "is of tokens"},
        {"data.too_long", "is of tokens"},
    };
    const int64_t sections = 1 << DI_DATA | 1 << DI_LOSS | 1 << DI_TRAIN | 1 << DI_CLASSIFIER | 1 << DI_OUTPUT;
    int32_t rc;
    DK_TRY(di_options_check(o, sections, err));
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++)
        DK_TRY(di_options_refuse(o, unread[i].key, unread[i].why, err));
    DK_TRY(check_files(o, "data.train", err));
    DK_TRY(check_files(o, "data.eval", err));
    if (!is_jsonl(di_options_text(o, "data.format")))
        return dk_fail(err, DK_E_OPTION, "data.format is %s: a classifier reads JSONL",
                       di_options_text(o, "data.format"));
    if (di_options_is_set(o, "data.mix"))
        return dk_fail(err, DK_E_OPTION, "data.mix is of tokens: give texts a \"weight\" each");
    if (given && di_options_is_set(o, "data.train"))
        return dk_fail(err, DK_E_OPTION, "data.train is given beside samples, which are learnt from: leave one out");
    if (di_options_i64(o, "classifier.ngrams.characters") &&
        di_options_i64(o, "classifier.ngrams.characters_from") > di_options_i64(o, "classifier.ngrams.characters"))
        return dk_fail(err, DK_E_OPTION,
                       "classifier.ngrams.characters_from is %lld, above classifier.ngrams.characters %lld",
                       (long long)di_options_i64(o, "classifier.ngrams.characters_from"),
                       (long long)di_options_i64(o, "classifier.ngrams.characters"));
out:
    return rc;
}

int32_t di_classifier_check_promise(const di_options *options, int64_t held_out, dk_error *err)
{
    if (held_out || !di_options_is_set(options, "classifier.agreement") ||
        di_options_f64(options, "classifier.agreement") == 0)
        return DK_OK;
    return dk_fail(err, DK_E_OPTION,
                   "classifier.agreement is promised on held-out texts: give data.eval or data.eval_fraction");
}

void di_classifier_read_ngrams(const di_options *o, di_ngrams *out)
{
    *out = (di_ngrams){.words = (int32_t)di_options_i64(o, "classifier.ngrams.words"),
                       .characters_least = (int32_t)di_options_i64(o, "classifier.ngrams.characters_from"),
                       .characters_most = (int32_t)di_options_i64(o, "classifier.ngrams.characters"),
                       .bits = (int32_t)di_options_i64(o, "classifier.ngrams.bits"),
                       .lowercase = di_options_flag(o, "classifier.ngrams.lowercase"),
                       .counts = di_options_is(o, "classifier.ngrams.counts", "binary") ? DI_COUNT_BINARY
                                 : di_options_is(o, "classifier.ngrams.counts", "tf")   ? DI_COUNT_TF
                                                                                        : DI_COUNT_LOG_TF};
}

int32_t di_classifier_settings_hash(const di_options *options, dk_host *host, uint64_t *out, dk_error *err)
{
    static const char *const free_keys[] = {"train.log_every", "train.eval_every", "train.checkpoint_every",
                                            "train.checkpoint_minutes", "train.checkpoint_keep"};
    const int64_t sections = 1 << DI_LOSS | 1 << DI_TRAIN | 1 << DI_CLASSIFIER;
    di_options *copy = NULL;
    dk_strbuf yaml;
    int32_t rc;
    dk_strbuf_init(&yaml, host);
    DK_TRY(di_options_copy(options, host, sections, &copy, err));
    for (size_t i = 0; i < sizeof free_keys / sizeof *free_keys; i++)
        DK_TRY(di_options_set_str(copy, free_keys[i], NULL, err));
    DK_TRY(di_options_write_yaml(copy, 1, &yaml, err));
    dk_strbuf_printf(&yaml, "shuffle %d fraction ", (int)di_options_flag(options, "data.shuffle"));
    dk_strbuf_f64(&yaml, di_options_f64(options, "data.eval_fraction"));
    DK_TRY(dk_strbuf_check(&yaml, err));
    *out = dk_hash64(yaml.data, yaml.size);
out:
    dk_strbuf_free(&yaml);
    di_options_free(copy);
    return rc;
}
