/*
 * metric_private.h
 *		Private header of src/metric: metrics and agents that report.
 */
#ifndef MALS_METRIC_PRIVATE_H
#define MALS_METRIC_PRIVATE_H

#include "mals_errors.h"

#include "utils/jsonb.h"

/* Kinds of metrics, by the names that Prometheus has for them. */
#define MALS_METRIC_COUNTER "counter"
#define MALS_METRIC_GAUGE "gauge"
#define MALS_METRIC_PRIVATE_HISTOGRAM "histogram"

/* Gives the argument name if it can be a metric's; else raises 22004 or 22023. */
extern char *mals_metric_name(FunctionCallInfo fcinfo, int arg);

/*
 * Gives the argument labels as an object of texts, without empty ones, which
 * are as good as none; NULL is {}. Raises 22023 for what cannot be labels of a
 * metric of this kind.
 */
extern Jsonb *mals_metric_labels(FunctionCallInfo fcinfo, int arg, const char *kind);

#endif /* MALS_METRIC_PRIVATE_H */
