/* metrics.jsonl: lines of later steps and a torn last line go when a run goes on from a checkpoint. */
#include "base/file.h"
#include "run/run_state.h"
#include "test.h"

static dk_host *new_host(void)
{
    dk_host *host = NULL;
    dk_error err;
    CHECK_OK(dk_host_create(NULL, &host, &err));
    return host;
}

TEST(rewind)
{
    static const char before[] =
        "{\"step\":1,\"loss\":2}\n{\"step\":1,\"eval\":{}}\n{\"step\":2,\"loss\":2}\n{\"step\":2,\"eval\":{}}\n"
        "{\"step\":3,\"loss\":1}\n{\"step\":2";
    const char *folder = test_folder("metrics");
    dk_host *host = new_host();
    di_output output = {.host = host, .path = dk_strdup(host, folder), .metrics = 1, .log_every = 1};
    char *text = NULL;
    size_t size = 0;
    dk_error err;
    REQUIRE_OK(di_metrics_rewind(&output, 2, 2, &err)); /* no file is fine */
    REQUIRE_OK(dk_file_replace(host, test_path(folder, "metrics.jsonl"), before, sizeof before - 1, &err));
    REQUIRE_OK(di_metrics_rewind(&output, 2, 2, &err));
    REQUIRE_OK(dk_file_read(host, test_path(folder, "metrics.jsonl"), 1000, &text, &size, &err));
    CHECK_STR(text,
              "{\"step\":1,\"loss\":2}\n{\"step\":1,\"eval\":{}}\n{\"step\":2,\"loss\":2}\n{\"step\":2,\"eval\":{}}\n");
    dk_free(host, text);
    REQUIRE_OK(di_metrics_rewind(&output, 2, 1, &err)); /* the evaluation of step 2 is made again */
    REQUIRE_OK(dk_file_read(host, test_path(folder, "metrics.jsonl"), 1000, &text, &size, &err));
    CHECK_STR(text, "{\"step\":1,\"loss\":2}\n{\"step\":1,\"eval\":{}}\n{\"step\":2,\"loss\":2}\n");
    dk_free(host, text);
    dk_free(host, output.path);
    dk_host_release(host);
}

TEST(evaluation_line)
{
    const char *folder = test_folder("metrics_eval");
    dk_host *host = new_host();
    di_trainer trainer = {.counters = {.step = 12}};
    di_run run = {.host = host, .trainer = &trainer};
    di_evaluation evaluation = {.tokens = 4, .nats = 0, .text_bytes = -1};
    char *text = NULL;
    size_t size = 0;
    dk_error err;
    dk_strbuf_init(&run.warnings, host);
    run.output = (di_output){.host = host, .path = dk_strdup(host, folder), .metrics = 1};
    di_metrics_evaluation(&run, &evaluation, NULL);
    REQUIRE_OK(dk_file_read(host, test_path(folder, "metrics.jsonl"), 1000, &text, &size, &err));
    CHECK_HAS(text, "{\"step\":12,\"eval\":{\"tokens\":4,\"perplexity\":1");
    CHECK(text && text[size - 1] == '\n');
    CHECK(!text || !strstr(text, "forward_kl")); /* there was no teacher */
    CHECK_INT(run.warnings.size, 0);
    dk_free(host, run.output.path);
    run.output.path = dk_strdup(host, test_path(folder, "gone"));
    di_metrics_evaluation(&run, &evaluation, NULL); /* no reason to stop a run, but said */
    CHECK_HAS(run.warnings.data, "a line of metrics is missing");
    dk_free(host, text);
    dk_free(host, run.output.path);
    dk_strbuf_free(&run.warnings);
    dk_host_release(host);
}

TEST_MAIN(TEST_CASE(rewind) TEST_CASE(evaluation_line))
