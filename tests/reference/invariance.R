# Reference values of measurement invariance by lavaan: fit, score tests of released equalities, means of factors.
# Usage: Rscript invariance.R FOLDER   (FOLDER holds cases.json and groups.csv, occasions.csv)   writes JSON to standard output
suppressMessages({library(lavaan); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
cases <- fromJSON(file.path(folder, "cases.json"), simplifyVector = FALSE)
rows <- list(groups = read.csv(file.path(folder, "groups.csv")), occasions = read.csv(file.path(folder, "occasions.csv")))
data(HolzingerSwineford1939, package = "lavaan")
rows$schools <- HolzingerSwineford1939

wanted <- c("chisq", "df", "pvalue", "cfi", "rmsea", "rmsea.ci.lower", "rmsea.ci.upper", "srmr")
# Each entry of "release" is a set of parameters (lhs, op, rhs) whose equalities are given up together.
released <- function(fit, sets) {
  table <- parTable(fit)
  equal <- table[table$op == "==", ]
  names_of <- paste(table$lhs, table$op, table$rhs)[match(equal$lhs, table$plabel)]
  vapply(sets, function(set) {
    which_ones <- which(names_of %in% unlist(set))
    tested <- suppressWarnings(lavTestScore(fit, release = which_ones))
    tested$test$X2[1]
  }, numeric(1))
}
one <- function(case) {
  settings <- list(model = case$model, data = rows[[case$rows]], std.lv = TRUE, meanstructure = TRUE,
                   check.gradient = FALSE)
  if (!is.null(case$group)) settings$group <- case$group
  if (length(case$group_equal)) settings$group.equal <- unlist(case$group_equal)
  if (length(case$group_partial)) settings$group.partial <- unlist(case$group_partial)
  # As tight as the optimiser can make it: where it stops short of a tolerance it calls that no convergence.
  for (tolerance in c(1e-14, 1e-13, 1e-12, 1e-11, 1e-10)) {
    settings$control <- list(rel.tol = tolerance, iter.max = 20000, eval.max = 20000)
    fit <- suppressWarnings(do.call("sem", settings))
    if (lavInspect(fit, "converged")) break
  }
  if (!lavInspect(fit, "converged")) stop("no convergence")
  estimates <- parameterEstimates(fit)
  means <- estimates[estimates$op == "~1" & estimates$lhs %in% lavNames(fit, "lv") & !is.na(estimates$z), ]
  group <- if (is.null(means$group)) rep(1L, nrow(means)) else means$group
  list(fit = as.list(unclass(fitMeasures(fit, wanted))), labels = I(if (is.null(case$group)) "1" else lavInspect(fit, "group.label")),
       scores = I(if (length(case$release)) released(fit, case$release) else numeric(0)),
       means = data.frame(factor = means$lhs, group = group, estimate = means$est, std_error = means$se))
}
# Fixed alignment (Asparouhov & Muthen, 2014) of one factor by a plain search: parameters in standard deviations of the items within groups.
alignment <- function(case) {
  data <- rows[[case$rows]]
  fit <- sem(case$model, data = data, group = case$group, std.lv = TRUE, meanstructure = TRUE)
  labels <- lavInspect(fit, "group.label"); n <- lavInspect(fit, "nobs"); G <- length(labels)
  items <- lavNames(fit, "ov"); estimates <- lavInspect(fit, "est")
  within <- Reduce(`+`, lapply(seq_len(G), function(g) (n[g] - 1) * cov(data[data[[case$group]] == labels[g], items]))) / (sum(n) - G)
  sd <- sqrt(diag(within))
  loadings <- t(sapply(estimates, function(e) e$lambda[items, 1])) / rep(sd, each = G)
  level <- t(sapply(estimates, function(e) e$nu[items, 1])) / rep(sd, each = G)
  placed <- function(free) {
    s <- c(1, exp(free[1:(G - 1)])); a <- c(0, free[G:(2 * G - 2)])
    l <- loadings / s
    list(l = l, v = level - a * l, s = s, a = a)
  }
  loss <- function(free) {
    now <- placed(free); total <- 0
    for (g in 1:(G - 1)) for (h in (g + 1):G) for (values in list(now$l, now$v))
      total <- total + sqrt(n[g] * n[h]) * sum(((values[g, ] - values[h, ])^2 + 0.01)^0.25)
    total
  }
  best <- NULL
  set.seed(1)
  for (start in 1:8) {
    found <- optim(if (start == 1) rep(0, 2 * G - 2) else rnorm(2 * G - 2, sd = 0.3), loss, method = "BFGS", control = list(maxit = 5000, reltol = 1e-15))
    if (is.null(best) || found$value < best$value) best <- found
  }
  now <- placed(best$par)
  list(loadings_before = unname(loadings), intercepts_before = unname(level), n = unname(n), loss = best$value / sum(n), mean = now$a,
       deviation = now$s, loadings = unname(now$l), intercepts = unname(now$v))
}
aligned <- vapply(cases, function(case) isTRUE(case$align), logical(1))
cat(toJSON(c(lapply(cases[!aligned], one), lapply(cases[aligned], alignment)), digits = NA, auto_unbox = TRUE, na = "null", null = "null"))
