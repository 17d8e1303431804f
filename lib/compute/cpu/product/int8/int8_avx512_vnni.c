/* int8_avx512_vnni.c - quantised weights times quantised activations by AVX512-VNNI: VPDPBUSD on 64 bytes. */
#include "base/processor.h"
#include "compute/compute.h"
#include "compute/cpu/product/int8/int8_panel.h"

const dk_int8 dk_int8_avx512_vnni = {
    .name = "avx512_vnni",
    .lanes = DK_VF,
    .isa = DK_ISA_AVX512,
    .has = dk_processor_has_avx512_vnni,
    .quantise = int8_quantise,
    .panel = int8_panel,
};
