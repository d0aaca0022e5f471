# Runs a script that the pipeline wrote for a path model and prints what it found, as JSON.
suppressPackageStartupMessages({
  library(lavaan)
  library(jsonlite)
})
script <- commandArgs(trailingOnly = TRUE)[1]
sink(tempfile())
source(script)
sink()
rows <- function(table, columns) as.data.frame(table)[intersect(columns, names(table))]
estimates <- rows(parameterEstimates(fit), c("lhs", "op", "rhs", "group", "est", "se"))
standardised <- rows(standardizedSolution(fit), c("lhs", "op", "rhs", "group", "est.std", "se"))
found <- list(
  version = as.character(packageVersion("lavaan")), warnings = length(warnings()), estimates = estimates,
  standardised = standardised, fit = as.list(measures(fit, n)),
  groups = if (!exists("together") || inherits(together, "try-error")) NULL else list(
    n = lavInspect(together, "nobs"), fit = as.list(fitMeasures(together, c("chisq", "df"))),
    estimates = rows(parameterEstimates(together), c("lhs", "op", "rhs", "group", "est"))
  )
)
cat(toJSON(found, digits = NA, auto_unbox = TRUE, na = "null"))
