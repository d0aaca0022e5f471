# Reference values of structural equation models by lavaan.
# Usage: Rscript structural.R FOLDER   (FOLDER holds models.json and simulated.csv)   writes JSON to standard output
suppressMessages({library(lavaan); library(jsonlite)})
here <- dirname(sub("--file=", "", grep("--file=", commandArgs(), value = TRUE)))
source(file.path(here, "polished.R"))
folder <- commandArgs(TRUE)[1]
cases <- fromJSON(file.path(folder, "models.json"), simplifyDataFrame = FALSE)
simulated <- read.csv(file.path(folder, "simulated.csv"))
data(HolzingerSwineford1939, PoliticalDemocracy, Demo.growth, package = "lavaan")

wanted <- c("chisq", "df", "pvalue", "baseline.chisq", "baseline.df", "cfi", "tli", "rmsea", "rmsea.ci.lower", "rmsea.ci.upper",
            "rmsea.pvalue", "srmr", "logl", "npar", "aic", "bic")
scores <- function(fit) {
  added <- modindices(fit)
  added <- added[is.finite(added$mi), ]
  table <- data.frame(lhs = added$lhs, op = added$op, rhs = added$rhs, group = if (is.null(added$group)) 1 else added$group,
                      chi2 = added$mi, change = added$epc, standardized = added$sepc.all)
  equal <- NULL
  if (any(parTable(fit)$op == "==")) {
    tested <- lavTestScore(fit)$uni
    table_of <- parTable(fit)
    at <- match(tested$rhs, table_of$plabel)
    equal <- data.frame(lhs = table_of$lhs[at], op = table_of$op[at], rhs = table_of$rhs[at], group = table_of$group[at], chi2 = tested$X2)
    equal <- equal[!is.na(at), ]
  }
  list(added = table, equal = equal)
}
one <- function(case) {
  rows <- get(case$data)
  settings <- case$settings
  settings$model <- case$model
  settings$data <- rows
  fit <- polished(settings)
  raw <- suppressWarnings(parameterEstimates(fit))
  standard <- suppressWarnings(standardizedSolution(fit))
  keep <- raw$op != "=="
  raw <- raw[keep, ]
  standard <- standard[standard$op != "==", ]
  group <- function(table) if (is.null(table$group)) rep(1, nrow(table)) else table$group
  parameters <- data.frame(lhs = raw$lhs, op = raw$op, rhs = raw$rhs, group = group(raw), estimate = raw$est, std_error = raw$se)
  standardized <- data.frame(lhs = standard$lhs, op = standard$op, rhs = standard$rhs, group = group(standard),
                             standardized = standard$est.std, std_error_standardized = standard$se)
  labels <- if (is.null(settings$group)) "1" else lavInspect(fit, "group.label")
  names <- lavNames(fit)
  moments <- lapply(labels, function(label) {
    part <- if (is.null(settings$group)) rows else rows[as.character(rows[[settings$group]]) == label, ]
    list(n = nrow(part), names = names, covariance = unname(cov(part[names])), mean = unname(colMeans(part[names])))
  })
  latent <- lavInspect(fit, "cov.lv")
  if (length(labels) == 1) latent <- list(latent)
  list(moments = moments, parameters = parameters, standardized = standardized,
       fit = as.list(unclass(suppressWarnings(fitMeasures(fit, wanted)))), scores = if (isTRUE(case$scores)) scores(fit),
       latent = unname(lapply(latent, function(one) unclass(unname(one)))))
}
# lavaan prints matrices that are not positive definite.
invisible(capture.output(values <- lapply(cases, one)))
cat(toJSON(values, digits = NA, auto_unbox = TRUE, na = "null", null = "null"))
