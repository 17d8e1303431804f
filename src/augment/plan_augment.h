/* plan_augment.h - what a pipeline would ask and take. Private to src/augment. */
#ifndef DI_AUGMENT_PLAN_AUGMENT_H
#define DI_AUGMENT_PLAN_AUGMENT_H

#include "augment/pipeline.h"
#include "augment/seeds.h"

/* {"kind":"augmentation_plan","samples","tried","written","tokens","seconds","prompts":[...]}: from a few samples that
 * go through the steps up to the first barrier. */
int32_t di_augment_estimate(di_pipeline *pipeline, di_seeds *seeds, int64_t samples, dk_strbuf *json, dk_error *err);

#endif
