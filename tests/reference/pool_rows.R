# Random-effects mean of site estimates as the pipeline pools them: REML, Hartung-Knapp with a variance factor of at least 1.
# Usage: Rscript pool_rows.R <CSV with effect, estimate, std_error>; prints JSON by effect.
suppressMessages({library(metafor); library(jsonlite)})
rows <- read.csv(commandArgs(TRUE)[1], colClasses = c(effect = "character"))
pooled <- lapply(split(rows, rows$effect), function(one) {
  fit <- rma.uni(one$estimate, sei = one$std_error, method = "REML", test = "adhoc", control = list(threshold = 1e-14, maxiter = 10000))
  between <- predict(fit)
  list(prediction_low = between$pi.lb, prediction_high = between$pi.ub, q_p = fit$QEp, i2 = fit$I2 / 100, estimate = as.numeric(fit$beta), se = fit$se, low = fit$ci.lb, high = fit$ci.ub, tau2 = fit$tau2, q = fit$QE, k = fit$k)
})
cat(toJSON(pooled, auto_unbox = TRUE, digits = NA), "\n")
