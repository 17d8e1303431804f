/* int8_portable.c - quantised weights times quantised activations in plain C. */
#include "compute/compute.h"
#include "compute/cpu/product/int8/int8_panel.h"

const dk_int8 dk_int8_portable = {
    .name = "portable",
    .lanes = DK_VF,
    .isa = DK_ISA_PORTABLE,
    .quantise = int8_quantise,
    .panel = int8_panel,
};
