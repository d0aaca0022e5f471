# Reference values of random-effects meta-analysis by metafor.
# Usage: Rscript meta_analysis.R FOLDER   (FOLDER holds effects.csv: effect, y, v)   writes JSON to standard output
suppressMessages({library(metafor); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
tight <- list(threshold = 1e-12, maxiter = 10000, tol = 1e-12)

pool <- function(y, v, method, test) {
  fit <- suppressWarnings(rma(y, v, method = method, test = test, control = tight))
  out <- list(estimate = c(fit$beta), std_error = fit$se, ci_low = fit$ci.lb, ci_high = fit$ci.ub, statistic = c(fit$zval), p_value = c(fit$pval),
              i2 = fit$I2, h2 = fit$H2, q = fit$QE, q_p = fit$QEp, weights = as.numeric(weights(fit)) / 100)
  if (method != "EE") {
    between <- confint(fit, control = list(tol = 1e-12, maxiter = 10000))$random
    out <- c(out, list(tau2 = fit$tau2, tau2_low = between[1, 2], tau2_high = between[1, 3]))
  }
  if (method != "EE" && test != "z") {
    new <- predict(fit)
    out <- c(out, list(prediction_low = new$pi.lb, prediction_high = new$pi.ub))
  }
  out
}

methods <- c(reml = "REML", dersimonian_laird = "DL", paule_mandel = "PM", fixed = "EE")
intervals <- c(guarded_hartung_knapp = "adhoc", hartung_knapp = "knha", z = "z")
effects <- read.csv(file.path(folder, "effects.csv"))
result <- list()
for (name in unique(effects$effect)) {
  one <- effects[effects$effect == name, ]
  for (tau2 in names(methods)) for (interval in names(intervals))
    result[[name]][[tau2]][[interval]] <- pool(one$y, one$v, methods[[tau2]], intervals[[interval]])
  without <- leave1out(rma(one$y, one$v, method = "REML", test = "knha", control = tight))
  result[[name]]$leave_one_out <- list(estimate = without$estimate, std_error = without$se, tau2 = without$tau2)
}
cat(toJSON(result, digits = NA, auto_unbox = TRUE, na = "null"))
