/* int8_avx_vnni.c - quantised weights times quantised activations by AVX-VNNI: VPDPBUSD on 32 bytes. */
#include "base/processor.h"
#include "compute/compute.h"
#include "compute/cpu/product/int8/int8_panel.h"

const dk_int8 dk_int8_avx_vnni = {
    .name = "avx_vnni",
    .lanes = DK_VF,
    .isa = DK_ISA_AVX2,
    .has = dk_processor_has_avx_vnni,
    .quantise = int8_quantise,
    .panel = int8_panel,
};
