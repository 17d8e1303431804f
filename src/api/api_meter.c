#include "api/handles.h"

#include <string.h>

_Static_assert((int)DI_ENERGY_MEASURED == (int)DISTILL_ENERGY_MEASURED &&
                   (int)DI_ENERGY_ESTIMATED == (int)DISTILL_ENERGY_ESTIMATED,
               "codes of meter/ and of the public header differ");

int32_t distill_meter_start(const distill_env *env, const distill_options *options, distill_meter **out,
                            distill_error *error)
{
    dk_error *err = di_err(error);
    distill_meter *handle = NULL;
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(env, "env", err));
    DK_TRY(di_check_pointer(out, "out", err));
    if (!(handle = di_handle_create(env, sizeof *handle, err))) return DK_E_NOMEM;
    DI_COMPUTE(di_meter_start(env->host, di_tree(options), 1, &handle->meter, err));
    *out = handle;
    return DK_OK;
out:
    distill_meter_free(handle);
    return rc;
}

/* What the caller's struct has room for. */
static void fill(const distill_meter *meter, const di_cost *from, distill_cost *out)
{
    const distill_cost cost = {.struct_size = out->struct_size,
                               .energy = (int32_t)from->energy,
                               .seconds = from->wall,
                               .cpu_seconds = from->cpu,
                               .joules = from->joules,
                               .idle_watts = meter->meter.idle_watts,
                               .eur = from->eur,
                               .usd = from->usd,
                               .peak_bytes = from->peak_memory,
                               .tokens = from->work.tokens,
                               .flops = from->work.flops};
    memcpy(out, &cost, out->struct_size < sizeof cost ? out->struct_size : sizeof cost);
}

int32_t distill_meter_read(distill_meter *meter, distill_cost *out, distill_error *error)
{
    dk_error *err = di_err(error);
    int32_t rc;
    dk_error_clear(err);
    DK_TRY(di_check_pointer(meter, "meter", err));
    DK_TRY(di_check_pointer(out, "out", err));
    DK_TRY(di_check_struct(out, "out", sizeof out->struct_size, err));
    const di_cost cost = di_meter_read(&meter->meter);
    fill(meter, &cost, out);
out:
    return rc;
}

int32_t distill_meter_report(distill_meter *meter, distill_report **out, distill_error *error)
{
    dk_error *err = di_err(error);
    dk_strbuf json;
    int32_t rc;
    dk_error_clear(err);
    if ((rc = di_check_pointer(meter, "meter", err)) != DK_OK) return rc;
    dk_strbuf_init(&json, meter->env->host);
    DK_TRY(di_check_pointer(out, "out", err));
    const di_cost cost = di_meter_read(&meter->meter);
    di_cost_json(&meter->meter, &cost, &json);
    DI_COMPUTE(di_report_handle(meter->env, &json, out, err));
out:
    dk_strbuf_free(&json);
    return rc;
}

void distill_meter_free(distill_meter *meter)
{
    if (!meter) return;
    di_meter_end(&meter->meter);
    di_handle_free(meter);
}
