/* preset.c - losses as other tools compute them: they stand alone, at the tool's own temperature and T squared, and
 * divide by what the tool divides by. */
#include "loss/loss_parts.h"

static const di_builtin *preset_of(const di_term *term)
{
    return term->entry->builtin && term->entry->builtin->tool ? term->entry->builtin : NULL;
}

const di_builtin *di_loss_preset(const di_loss *loss) { return preset_of(&loss->terms[0]); }

static int32_t is_constant(const di_number *number, double value)
{
    return number->course.kind == DI_CONSTANT && number->from == value;
}

int32_t di_preset_check(const di_loss *loss, dk_error *err)
{
    for (int64_t i = 0; i < loss->all_count; i++) { /* also those whose weight is 0: it may be raised later */
        const di_term *term = &loss->all[i];
        const di_builtin *preset = preset_of(term);
        if (!preset) continue;
        if (loss->count > 1 || loss->terms[0].entry != term->entry || !is_constant(&term->numbers[0], 1))
            return dk_fail(err, DK_E_OPTION,
                           "loss %s is all that %s computes, divisor included: it stands alone, without other losses, "
                           "weight or hard_label_weight",
                           preset->name, preset->tool);
        if (term->t_squared >= 0 && term->t_squared != preset->t_squared)
            return dk_fail(err, DK_E_OPTION, "loss %s: loss.t_squared is %s there; leave it out", preset->name,
                           preset->t_squared ? "always on" : "never on");
    }
    return DK_OK;
}

int32_t di_preset_refuse(const di_loss *loss, dk_error *err)
{
    const di_builtin *preset = di_loss_preset(loss);
    if (!preset) return DK_OK;
    return dk_fail(err, DK_E_UNSUPPORTED,
                   "loss %s has the divisor of %s, and a trainer's windows have one of their own: only a call on rows "
                   "(distill_loss_eval) takes it; for training take %s",
                   preset->name, preset->tool, preset->instead);
}

int32_t di_preset_check_divisor(const di_loss *loss, double divisor, dk_error *err)
{
    if (divisor != 0 && !di_loss_preset(loss))
        return dk_fail(err, DK_E_INVALID,
                       "args.divisor is of presets, which divide as another tool does; of other losses the sum is "
                       "given, and grad_scale");
    if (!(divisor >= 0 && divisor <= 1e300))
        return dk_fail(err, DK_E_INVALID, "args.divisor must be above 0, or 0 for the rows that count");
    return DK_OK;
}

double di_preset_divisor(const di_loss *loss, double said, int64_t count)
{
    if (!di_loss_preset(loss)) return 1;
    if (said > 0) return said;
    return count > 0 ? (double)count : 1;
}
