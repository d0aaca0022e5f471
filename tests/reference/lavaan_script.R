# Runs every script that the pipeline wrote for a path model, each on its own, and prints what they found by name, as JSON.
suppressPackageStartupMessages({
  library(lavaan)
  library(jsonlite)
})
folder <- commandArgs(trailingOnly = TRUE)[1]
rows <- function(table, columns) as.data.frame(table)[intersect(columns, names(table))]
found_by <- function(script) {
  own <- new.env()
  sink(tempfile())
  on.exit(sink())
  source(script, local = own)
  together <- own$together
  list(
    estimates = rows(parameterEstimates(own$fit), c("lhs", "op", "rhs", "group", "est", "se")),
    standardised = rows(standardizedSolution(own$fit), c("lhs", "op", "rhs", "group", "est.std", "se")),
    fit = as.list(own$measures(own$fit, own$n)),
    groups = if (is.null(together) || inherits(together, "try-error")) NULL else list(
      n = lavInspect(together, "nobs"), fit = as.list(fitMeasures(together, c("chisq", "df"))),
      estimates = rows(parameterEstimates(together), c("lhs", "op", "rhs", "group", "est"))
    )
  )
}
scripts <- list.files(folder, pattern = "\\.R$")
found <- lapply(file.path(folder, scripts), found_by)
names(found) <- sub("\\.R$", "", scripts)
cat(toJSON(found, digits = NA, auto_unbox = TRUE, na = "null"))
