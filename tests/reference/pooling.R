# Rubin's rules with the degrees of freedom of Barnard and Rubin, by mice.
suppressPackageStartupMessages(library(mice))
library(jsonlite)
cases <- fromJSON(file.path(commandArgs(trailingOnly = TRUE)[1], "cases.json"), simplifyDataFrame = FALSE)
pooled <- lapply(cases, function(case) {
  df <- if (is.null(case$complete_df)) Inf else case$complete_df
  one <- pool.scalar(case$estimates, case$variances, n = df + 1, k = 1)
  list(estimate = one$qbar, std_error = sqrt(one$t), df = one$df, missing_information = one$fmi, relative_increase = one$r)
})
cat(toJSON(pooled, digits = NA, auto_unbox = TRUE))
