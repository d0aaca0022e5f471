# Reference values of structural equation models from rows by lavaan: robust errors and tests, clusters, missing values.
# Usage: Rscript structural_rows.R FOLDER   (FOLDER holds row_models.json and CSV files)   writes JSON to standard output
suppressMessages({library(lavaan); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
source(file.path(here, "polished.R"))
folder <- commandArgs(TRUE)[1]
cases <- fromJSON(file.path(folder, "row_models.json"), simplifyDataFrame = FALSE)
holzinger <- HolzingerSwineford1939[c(paste0("x", 1:9), "school", "ageyr")]
for (item in 1:9) holzinger[(seq_len(301) * (item + 2)) %% 11 == item, item] <- NA

wanted <- c("chisq", "df", "baseline.chisq", "baseline.df", "cfi", "tli", "rmsea", "srmr", "logl", "npar", "aic", "bic",
            "chisq.scaled", "pvalue.scaled", "chisq.scaling.factor", "baseline.chisq.scaled", "baseline.chisq.scaling.factor", "cfi.scaled",
            "tli.scaled", "rmsea.scaled", "rmsea.ci.lower.scaled", "rmsea.ci.upper.scaled", "rmsea.pvalue.scaled", "cfi.robust",
            "tli.robust", "rmsea.robust", "rmsea.ci.lower.robust", "rmsea.ci.upper.robust")
one <- function(case) {
  rows <- if (case$data == "holzinger") holzinger else read.csv(file.path(folder, paste0(case$data, ".csv")))
  settings <- c(case$settings, list(model = case$model, data = rows, fixed.x = FALSE))
  if (!is.null(settings$group.equal)) settings$group.equal <- unlist(settings$group.equal)
  if (identical(settings$missing, "ml")) settings$em.h1.tol <- 1e-12
  if (identical(settings$missing, "ml")) settings$em.h1.iter.max <- 20000
  fit <- polished(settings)
  fits[[length(fits) + 1]] <<- fit
  raw <- suppressWarnings(parameterEstimates(fit))
  standard <- suppressWarnings(standardizedSolution(fit))
  raw <- raw[raw$op != "==", ]
  standard <- standard[standard$op != "==", ]
  group <- if (is.null(raw$group)) rep(1, nrow(raw)) else raw$group
  measures <- suppressWarnings(fitMeasures(fit))
  list(parameters = data.frame(lhs = raw$lhs, op = raw$op, rhs = raw$rhs, group = group, estimate = raw$est, std_error = raw$se,
                               standardized = standard$est.std, std_error_standardized = standard$se),
       fit = as.list(measures[intersect(wanted, names(measures))]),
       rows = if (case$data == "holzinger") rows)
}
fits <- list()
invisible(capture.output(values <- lapply(cases, one)))
names(fits) <- names(cases)
if ("mlr_groups" %in% names(cases)) {
  difference <- suppressWarnings(lavTestLRT(fits$mlr_groups_free, fits$mlr_groups))
  values$difference <- list(chi2 = difference[2, "Chisq diff"], df = difference[2, "Df diff"], p_value = difference[2, "Pr(>Chisq)"])
}
cat(toJSON(values, digits = NA, auto_unbox = TRUE, na = "null", null = "null"))
