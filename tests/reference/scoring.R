# Scores, alpha and item-rest correlations of WAI-S answers by psych.
# Usage: Rscript scoring.R FOLDER   (FOLDER holds complete.csv and holes.csv with columns i1..i12, and key.json)   writes JSON to standard output
suppressMessages({library(psych); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
key <- fromJSON(file.path(folder, "key.json"))
signed <- lapply(key$scales, function(items) ifelse(items %in% key$reverse, paste0("-i", items), paste0("i", items)))

described <- function(file) {
  rows <- read.csv(file.path(folder, file))
  scored <- scoreItems(signed, rows, impute = "none", min = key$min, max = key$max)
  turned <- rows
  for (item in key$reverse) turned[[paste0("i", item)]] <- key$min + key$max - turned[[paste0("i", item)]]
  lapply(setNames(names(key$scales), names(key$scales)), function(scale) {
    items <- turned[paste0("i", key$scales[[scale]])]
    fit <- suppressWarnings(alpha(items, check.keys = FALSE, warnings = FALSE))
    list(mean = unname(scored$scores[, scale]), alpha = fit$total$raw_alpha, item_rest = unname(fit$item.stats$r.drop))
  })
}
result <- list(complete = described("complete.csv"), holes = described("holes.csv"))
cat(toJSON(result, auto_unbox = TRUE, digits = 12, na = "null"))
