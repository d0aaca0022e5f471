# Reference values of models fitted to correlations, by lavaan.
# Usage: Rscript correlation_structure.R FOLDER   (FOLDER holds cases.json: name to model, variables, r, v, n, std_lv)   writes JSON
suppressMessages({library(lavaan); library(jsonlite)})
source(file.path(dirname(sub("--file=", "", grep("^--file=", commandArgs(), value = TRUE))), "weighted_least_squares.R"))
cases <- fromJSON(file.path(commandArgs(TRUE)[1], "cases.json"))
values <- lapply(cases, function(case) {
  r <- case$r
  dimnames(r) <- list(case$variables, case$variables)
  fitted_model(case$model, r, case$v, case$n, case$std_lv)
})
cat(toJSON(values, digits = NA, auto_unbox = TRUE, na = "null"))
