/* Lines of texts with probabilities: any bytes give texts whose probabilities sum to 1, or an error. */
#include <math.h>

#include "base/file.h"
#include "classifier/classifier_parts.h"
#include "test.h"

static int32_t read_lines(dk_host *host, const di_source_text *source, dk_error *err)
{
    di_class_names names = {0};
    di_labelled texts = {0};
    int32_t rc;
    DK_TRY(di_class_names_gather(host, source, 1, &names, err));
    di_labelled_init(&texts, host, &names);
    DK_TRY(di_labelled_add(&texts, source, err));
    for (int64_t r = 0; r < texts.row_count; r++) {
        double sum = 0;
        for (int64_t j = 0; j < names.count; j++) sum += (double)texts.probabilities[r * names.count + j];
        if (!(fabs(sum - 1) < 1e-3)) __builtin_trap();
    }
    for (int64_t i = 0; i < texts.count; i++)
        if (texts.answers[i] < 0 || texts.answers[i] >= names.count) __builtin_trap();
out:
    di_labelled_free(&texts);
    di_class_names_free(&names);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    di_source_text source = {0};
    dk_host *host = NULL;
    dk_error err;
    char path[1100];
    if (size > 8192 || dk_host_create(NULL, &host, &err)) return 0;
    snprintf(path, sizeof path, "%s/lines.jsonl", TEST_TMP);
    if (!dk_file_replace(host, path, data, size, &err) && !di_source_open(host, path, &source, &err))
        (void)read_lines(host, &source, &err);
    di_source_free(host, &source);
    dk_host_release(host);
    return 0;
}
