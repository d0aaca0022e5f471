# A model of correlations r (matrix with names) with sampling covariance v (of the pairs in the order of combn) by lavaan's WLS.
# lavaan weighs variances too; a large weight holds them at one. Its statistics and its RMSEA are on n - 1.
fitted_model <- function(model, r, v, n, std.lv = FALSE) {
  variables <- rownames(r)
  id <- t(combn(length(variables), 2))
  order <- lavNames(lavaanify(model, fixed.x = FALSE, auto = TRUE), "ov")
  at <- which(lower.tri(diag(length(order)), TRUE), arr.ind = TRUE)
  off <- at[, 1] != at[, 2]
  key <- function(a, b) apply(cbind(a, b), 1, function(x) paste(sort(x), collapse = "-"))
  where <- match(key(order[at[off, 1]], order[at[off, 2]]), key(variables[id[, 1]], variables[id[, 2]]))
  W <- diag(1e6, nrow(at))
  W[off, off] <- solve(v[where, where]) / (n - 1)
  settings <- list(model = model, sample.cov = r[order, order], sample.nobs = n, WLS.V = W, NACOV = solve(W), estimator = "WLS",
                   std.lv = std.lv, se = "standard", fixed.x = FALSE, sample.cov.rescale = FALSE)
  fit <- do.call("sem", settings)
  # The weight makes lavaan stop early; it goes on from where it stopped.
  for (again in 1:20) {
    settings$start <- parTable(fit)
    before <- fitMeasures(fit, "chisq")
    fit <- do.call("sem", settings)
    if (abs(before - fitMeasures(fit, "chisq")) < 1e-9) break
  }
  table <- standardizedSolution(fit)
  labels <- ifelse(table$op == ":=", table$lhs, paste0(table$lhs, table$op, table$rhs))
  wanted <- c("chisq", "df", "pvalue", "baseline.chisq", "baseline.df", "cfi", "tli", "rmsea", "rmsea.ci.lower", "rmsea.ci.upper", "srmr")
  list(estimate = as.list(setNames(table$est.std, labels)), std_error = as.list(setNames(table$se, labels)),
       fit = as.list(fitMeasures(fit, wanted)))
}
