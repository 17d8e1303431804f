/* A classifier's files: a line of config.json, then model.safetensors. Any bytes give a classifier that answers, or an
 * error. */
#include "classifier/classifier_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    dk_host *host = NULL;
    dk_backend *backend = NULL;
    di_classifier *c = NULL;
    float *shares = NULL;
    di_verdict verdict;
    dk_error err;
    if (!end || dk_host_create(NULL, &host, &err)) return 0;
    if (!dk_backend_cpu(host, &backend, &err) &&
        !di_classifier_parse(backend, (const char *)data, (size_t)(end - data), end + 1,
                             size - (size_t)(end - data) - 1, "", &c, &err) &&
        !dk_new(host, c->classes, &shares, &err))
        (void)di_classifier_predict(c, "some text", 9, shares, &verdict, &err);
    dk_free(host, shares);
    di_classifier_free(c);
    if (backend) dk_backend_free(backend);
    dk_host_release(host);
    return 0;
}
