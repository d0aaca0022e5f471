# Reference values of the factor models of the measurement question by lavaan.
# Usage: Rscript factor_models.R FOLDER   (FOLDER holds models.json and CSV files)   writes JSON to standard output
suppressMessages({library(lavaan); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
source(file.path(here, "polished.R"))
folder <- commandArgs(TRUE)[1]
cases <- fromJSON(file.path(folder, "models.json"), simplifyDataFrame = FALSE)
wanted <- c("chisq", "df", "pvalue", "cfi", "tli", "rmsea", "rmsea.ci.lower", "rmsea.ci.upper", "srmr", "aic", "bic", "chisq.scaled",
            "pvalue.scaled", "cfi.robust", "tli.robust", "rmsea.robust", "rmsea.ci.lower.robust", "rmsea.ci.upper.robust")
fitted <- function(case) {
  settings <- list(model = case$model, data = read.csv(file.path(folder, paste0(case$data, ".csv"))), std.lv = TRUE,
                   orthogonal = isTRUE(case$orthogonal))
  if (isTRUE(case$ordinal)) {
    settings$ordered <- TRUE
    settings$estimator <- "ULS"
    return(suppressWarnings(do.call("cfa", settings)))
  }
  if (isTRUE(case$cluster)) settings <- c(settings, list(cluster = "therapist", estimator = "MLR"))
  polished(settings)
}
fits <- lapply(cases, fitted)
one <- function(fit) {
  raw <- suppressWarnings(parameterEstimates(fit))
  standard <- suppressWarnings(standardizedSolution(fit))
  list(standardized = standard[standard$op %in% c("=~", "~~"), c("lhs", "op", "rhs", "est.std", "se", "ci.lower", "ci.upper")],
       defined = raw[raw$op == ":=", c("lhs", "est", "se")], fit = as.list(unclass(suppressWarnings(fitMeasures(fit, wanted)))))
}
values <- lapply(fits, one)
for (name in names(cases)) {
  against <- cases[[name]]$against
  if (is.null(against)) next
  test <- suppressWarnings(lavTestLRT(fits[[against]], fits[[name]], method = "satorra.bentler.2001"))
  values[[name]]$difference <- list(chi2 = test[["Chisq diff"]][2], df = test[["Df diff"]][2], p_value = test[["Pr(>Chisq)"]][2])
}
# Correlations of scales, factors by weighted least squares: minimised by R's general optimiser, slopes by differences.
weighted <- function(given) {
  r <- matrix(unlist(given$correlation), length(given$factor))
  v <- matrix(unlist(given$vcov), nrow(r) * (nrow(r) - 1) / 2)
  pairs <- t(combn(nrow(r), 2))
  of <- unlist(given$factor)
  observed <- r[pairs]
  implied <- function(free) {
    phi <- ifelse(of[pairs[, 1]] == of[pairs[, 2]], 1, free[length(free)])
    free[pairs[, 1]] * free[pairs[, 2]] * phi
  }
  away <- function(free) {
    left <- observed - implied(free)
    sum(left * solve(v, left))
  }
  start <- optim(c(rep(0.6, nrow(r)), 0.5), away, method = "BFGS", control = list(maxit = 5000, reltol = 1e-15))
  free <- nlm(away, start$par, gradtol = 1e-12, steptol = 1e-14, iterlim = 5000)$estimate
  slope <- sapply(seq_along(free), function(at) {
    step <- replace(numeric(length(free)), at, 1e-6)
    (implied(free + step) - implied(free - step)) / 2e-6
  })
  list(estimate = free, std_error = sqrt(diag(solve(t(slope) %*% solve(v) %*% slope))), chi2 = away(free))
}
values$weighted <- weighted(fromJSON(file.path(folder, "correlations.json"), simplifyVector = FALSE))
cat(toJSON(values, digits = NA, auto_unbox = TRUE, na = "null", null = "null"))
