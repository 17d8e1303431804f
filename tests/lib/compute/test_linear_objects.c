/* Linear objects: what they were made for, and which version of their parameters they hold. */
#include "compute_fixture.h"

typedef struct ground {
    dk_backend *backend;
    dk_queue queue;
    dk_buffer *buffer;
    dk_parameter weight, bias;
    dk_parameter *weights[1], *biases[1];
    dk_view x, y;
    dk_linear_spec spec;
} ground;

static void begin(ground *g, dk_backend *backend)
{
    dk_error err;
    *g = (ground){.backend = backend};
    CHECK_OK(dk_queue_open(&g->queue, backend, &err));
    CHECK_OK(backend->ops->buffer_create(backend, 4096, &g->buffer, &err));
    g->weight = (dk_parameter){.name = "w", .value = dk_view_2d(g->buffer, 0, DK_F32, 3, 4), .version = 7};
    g->weight.gradient = dk_view_2d(g->buffer, 512, DK_F32, 3, 4);
    g->bias = (dk_parameter){.name = "b", .frozen = 1, .value = dk_view_1d(g->buffer, 1024, DK_F32, 3)};
    g->weights[0] = &g->weight;
    g->biases[0] = &g->bias;
    g->x = dk_view_2d(g->buffer, 2048, DK_F32, 2, 4);
    g->y = dk_view_2d(g->buffer, 3072, DK_F32, 2, 3);
    g->spec = (dk_linear_spec){.weights = g->weights, .biases = g->biases, .count = 1, .uses = DK_USE_ALL};
}

static void end(ground *g)
{
    CHECK(!g->weight.packed && !g->bias.packed); /* whoever was freed is no longer told */
    g->backend->ops->buffer_free(g->backend, g->buffer);
    dk_queue_close(&g->queue);
    dk_backend_free(g->backend);
}

static void refused(ground *g, int32_t code, const char *text)
{
    dk_error err = {0};
    CHECK_INT(dk_queue_wait(&g->queue, &err), code);
    CHECK_HAS(err.message, text);
}

static void check_spec(dk_backend *backend)
{
    ground g;
    dk_error err;
    dk_linear *linear = NULL;
    const dk_low_rank none = {0}, some = {.down = &g.weight, .up = &g.weight, .scale = 1};
    begin(&g, backend);
    const dk_ops *ops = backend->ops;
    g.spec.uses = 0;
    CHECK_INT(ops->linear_create(backend, &g.spec, &linear, &err), DK_E_INTERNAL);
    CHECK_HAS(err.message, "w has no use");
    g.spec.uses = DK_USE_FORWARD;
    g.spec.low_rank = &some;
    CHECK_INT(ops->linear_create(backend, &g.spec, &linear, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "w has a low-rank addend, which backend ");
    CHECK_HAS(err.message, backend->name);
    g.spec.low_rank = &none;
    g.spec.precisions = 1u << DK_PRECISION_FULL | 1u << DK_PRECISION_BF16;
    CHECK_INT(ops->linear_create(backend, &g.spec, &linear, &err), DK_E_UNSUPPORTED);
    CHECK_HAS(err.message, "has no products in precision bf16");
    CHECK(!linear);
    g.spec.precisions = 0;
    REQUIRE_OK(ops->linear_create(backend, &g.spec, &linear, &err));
    ops->linear_forward(&g.queue, linear, DK_PRECISION_BF16, g.x, g.y);
    refused(&g, DK_E_UNSUPPORTED, "linear_forward: w was not made for precision bf16");
    ops->linear_backward_input(&g.queue, linear, DK_PRECISION_FULL, g.y, g.x, 0);
    refused(&g, DK_E_INTERNAL, "linear_backward_input: w was not made for this use");
    ops->linear_backward_weight(&g.queue, linear, DK_PRECISION_FULL, g.x, g.y);
    refused(&g, DK_E_INTERNAL, "linear_backward_weight: w was not made for this use");
    ops->linear_forward(&g.queue, linear, DK_PRECISION_FULL, g.x, g.y);
    CHECK_OK(dk_queue_wait(&g.queue, &err));
    ops->linear_free(backend, linear);
    end(&g);
}

/* One refresh brings every object up to the value; a product behind a write without one is refused. */
static void check_versions(dk_backend *backend)
{
    ground g;
    dk_error err;
    dk_linear *a = NULL, *b = NULL, *c = NULL;
    begin(&g, backend);
    const dk_ops *ops = backend->ops;
    REQUIRE_OK(ops->linear_create(backend, &g.spec, &a, &err));
    REQUIRE_OK(ops->linear_create(backend, &g.spec, &b, &err));
    REQUIRE_OK(ops->linear_create(backend, &g.spec, &c, &err));
    ops->linear_free(backend, b); /* out of the middle of the list */
    g.weight.version++;
    ops->linear_forward(&g.queue, a, DK_PRECISION_FULL, g.x, g.y);
    refused(&g, DK_E_INTERNAL, "linear_forward: w has version 8, but was refreshed at 7");
    ops->linear_backward_input(&g.queue, c, DK_PRECISION_FULL, g.y, g.x, 0);
    refused(&g, DK_E_INTERNAL, "w has version 8");
    ops->refresh(&g.queue, &g.weight);
    CHECK_INT(g.weight.version, 9);
    ops->linear_forward(&g.queue, a, DK_PRECISION_FULL, g.x, g.y);
    ops->linear_forward(&g.queue, c, DK_PRECISION_FULL, g.x, g.y);
    CHECK_OK(dk_queue_wait(&g.queue, &err));
    g.bias.version++;
    ops->linear_forward(&g.queue, c, DK_PRECISION_FULL, g.x, g.y);
    refused(&g, DK_E_INTERNAL, "b has version 1");
    dk_queue_fail(&g.queue, DK_E_INTERNAL, "before");
    ops->refresh(&g.queue, &g.bias); /* behind a failure: does nothing */
    refused(&g, DK_E_INTERNAL, "before");
    CHECK_INT(g.bias.version, 1);
    ops->refresh(&g.queue, &g.bias);
    ops->linear_forward(&g.queue, c, DK_PRECISION_FULL, g.x, g.y);
    CHECK_OK(dk_queue_wait(&g.queue, &err));
    ops->linear_free(backend, a);
    ops->linear_free(backend, c);
    end(&g);
}

TEST(what_they_are_made_for)
{
    check_spec(fx_reference(DK_F32));
    check_spec(fx_cpu(DK_ISA_PORTABLE, 1));
}

TEST(versions)
{
    check_versions(fx_reference(DK_F32));
    check_versions(fx_cpu(DK_ISA_PORTABLE, 1));
}

TEST_MAIN(TEST_CASE(what_they_are_made_for) TEST_CASE(versions))
