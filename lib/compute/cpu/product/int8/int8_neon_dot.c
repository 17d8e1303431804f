/* int8_neon_dot.c - quantised weights times quantised activations by SDOT of aarch64, on 16 bytes. */
#include "base/processor.h"
#include "compute/compute.h"
#include "compute/cpu/product/int8/int8_panel.h"

const dk_int8 dk_int8_neon_dot = {
    .name = "neon_dot",
    .lanes = DK_VF,
    .isa = DK_ISA_PORTABLE,
    .beside_cblas = 1,
    .has = dk_processor_has_neon_dot,
    .quantise = int8_quantise,
    .panel = int8_panel,
};
