# Reference values of influence, meta-regression, three-level meta-analysis, CR2, censored effects, equivalence and dependent correlations.
# Usage: Rscript pooling.R FOLDER   (FOLDER holds the tables that statistics_reference.py writes)   writes JSON to standard output
suppressMessages({library(metafor); library(clubSandwich); library(psych); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
table <- function(name) read.csv(file.path(folder, paste0(name, ".csv")))
exact <- list(rel.tol = 1e-11)
tight <- list(threshold = 1e-12, maxiter = 10000, tol = 1e-12)
methods <- c(reml = "REML", dersimonian_laird = "DL", paule_mandel = "PM", fixed = "EE")
intervals <- c(guarded_hartung_knapp = "adhoc", hartung_knapp = "knha", z = "z")
result <- list()

effects <- table("effects")
for (name in c("cooper", "homogeneous", "few", "wild")) for (tau2 in names(methods)) for (interval in names(intervals)) {
  one <- effects[effects$effect == name, ]
  found <- influence(suppressWarnings(rma(y, v, data = one, method = methods[[tau2]], test = intervals[[interval]], control = tight)))
  values <- unclass(found$inf)[c("rstudent", "dffits", "cook.d", "cov.r", "tau2.del", "QE.del", "hat", "weight")]
  names(values) <- c("rstudent", "dffits", "cook_d", "cov_r", "tau2_del", "qe_del", "hat", "weight")
  result$influence[[name]][[tau2]][[interval]] <- c(values, list(dfbs = unclass(found$dfbs)[[1]], influential = found$is.infl))
}

robust <- function(fit, cluster) {
  found <- as.data.frame(coef_test(fit, vcov = "CR2", cluster = cluster, test = "Satterthwaite"))
  limits <- as.data.frame(conf_int(fit, vcov = "CR2", cluster = cluster))
  list(std_error = found$SE, df = found$df_Satt, p_value = found$p_Satt, ci_low = limits$CI_L, ci_high = limits$CI_U)
}
moderated <- table("moderated")
formulas <- list(one = ~ mod1, three = ~ mod1 + year + setting)
for (name in names(formulas)) for (tau2 in names(methods)) for (interval in names(intervals)) {
  fit <- suppressWarnings(rma(y, v, mods = formulas[[name]], data = moderated, method = methods[[tau2]], test = intervals[[interval]], control = tight))
  out <- list(estimate = c(fit$beta), std_error = fit$se, statistic = c(fit$zval), p_value = c(fit$pval), ci_low = fit$ci.lb, ci_high = fit$ci.ub,
              qm = fit$QM, qm_p = fit$QMp, qe = fit$QE, qe_p = fit$QEp)
  if (tau2 != "fixed") {
    between <- confint(fit, control = list(tol = 1e-12, maxiter = 10000))$random
    out <- c(out, list(tau2 = fit$tau2, i2 = fit$I2, r2 = fit$R2, tau2_low = between[1, 2], tau2_high = between[1, 3]))
  }
  result$meta_regression[[name]][[tau2]][[interval]] <- out
  if (interval != "hartung_knapp") result$robust_regression[[name]][[tau2]][[interval]] <- robust(fit, moderated$region)
}
fit <- rma(y, v, mods = formulas$three, data = moderated, control = tight)
result$robust_regression_without_clusters <- robust(fit, seq_len(nrow(moderated)))

site_effects <- table("site_effects")
site_effects$effect <- seq_len(nrow(site_effects))
covariance <- as.matrix(table("covariance"))
dimnames(covariance) <- NULL
for (given in c("covariance", "variances")) {
  V <- if (given == "covariance") covariance else diag(site_effects$v)
  fits <- list(
    t = rma.mv(y, V, random = ~ 1 | site/effect, data = site_effects, test = "t", control = exact),
    contain = rma.mv(y, V, random = ~ 1 | site/effect, data = site_effects, test = "t", dfs = "contain", control = exact),
    z = rma.mv(y, V, random = ~ 1 | site/effect, data = site_effects, test = "z", control = exact))
  for (test in names(fits)) {
    fit <- fits[[test]]
    new <- predict(fit)
    result$three_level[[given]]$tests[[test]] <- list(estimate = c(fit$beta), std_error = fit$se, p_value = fit$pval, ci_low = fit$ci.lb,
      ci_high = fit$ci.ub, prediction_low = new$pi.lb, prediction_high = new$pi.ub)
  }
  fit <- fits$t
  W <- solve(V)
  X <- model.matrix(fit)
  P <- W - W %*% X %*% solve(t(X) %*% W %*% X) %*% t(X) %*% W
  share <- 100 * fit$sigma2 / (sum(fit$sigma2) + (fit$k - fit$p) / sum(diag(P)))
  # Metafor's confint() gives up where a variance is zero; this is the same profile of rma.mv's likelihood, by its own root finder.
  limit <- function(which, low, high) {
    excess <- function(value) {
      fixed <- c(NA, NA)
      fixed[which] <- value
      2 * c(logLik(fit) - logLik(rma.mv(y, V, random = ~ 1 | site/effect, data = site_effects, sigma2 = fixed))) - qchisq(.95, 1)
    }
    if (excess(low) < 0 && excess(high) < 0) 0 else uniroot(excess, c(low, high), tol = 1e-9)$root
  }
  limits <- lapply(1:2, function(which) c(if (fit$sigma2[which] < 1e-6) 0 else limit(which, 0, fit$sigma2[which]),
                                          limit(which, fit$sigma2[which] + 1e-8, fit$sigma2[which] + 1)))
  result$three_level[[given]]$model <- list(sigma2_site = fit$sigma2[1], sigma2_effect = fit$sigma2[2], q = fit$QE, q_p = fit$QEp,
    log_likelihood = c(logLik(fit)), i2_site = share[1], i2_effect = share[2], i2 = sum(share))
  result$three_level[[given]]$profile <- list(sigma2_site_low = limits[[1]][[1]], sigma2_site_high = limits[[1]][[2]],
    sigma2_effect_low = limits[[2]][[1]], sigma2_effect_high = limits[[2]][[2]])
  result$three_level[[given]]$robust <- robust(fit, site_effects$site)
  result$three_level[[given]]$robust_pairs <- robust(fit, site_effects$site %/% 2)
}

partly <- table("partly_reported")
for (name in unique(partly$set)) {
  one <- partly[partly$set == name, ]
  hidden <- one$hidden == 1
  bound <- qnorm(.975) * sqrt(one$v)
  deviance <- function(parameters, tau2 = exp(parameters[2])) {
    s <- sqrt(one$v + tau2)
    -sum(ifelse(hidden, log(pnorm(bound, parameters[1], s) - pnorm(-bound, parameters[1], s)), dnorm(one$y, parameters[1], s, log = TRUE)))
  }
  if (name == "common") {
    best <- optim(.2, function(mean) deviance(mean, 0), method = "BFGS", hessian = TRUE, control = list(reltol = 1e-15, ndeps = 1e-5))
    result$censored[[name]] <- list(estimate = best$par, std_error = sqrt(1 / best$hessian[1, 1]), tau2 = 0)
  } else {
    best <- optim(c(.2, log(.05)), deviance, method = "BFGS", hessian = TRUE, control = list(reltol = 1e-15, ndeps = c(1e-5, 1e-5)))
    result$censored[[name]] <- list(estimate = best$par[1], std_error = sqrt(solve(best$hessian)[1, 1]), tau2 = exp(best$par[2]))
  }
}
one <- partly[partly$set == "equal", ]
hidden <- one$hidden == 1
bound <- qnorm(.975) * sqrt(one$v)
# With equal variances the model is one normal distribution: expectation-maximisation, which uses no derivative of the likelihood.
parameters <- c(mean(one$y[!hidden]), sd(one$y[!hidden]))
for (step in 1:20000) {
  from <- (-bound - parameters[1]) / parameters[2]
  to <- (bound - parameters[1]) / parameters[2]
  inside <- pnorm(to) - pnorm(from)
  first <- parameters[1] + parameters[2] * (dnorm(from) - dnorm(to)) / inside
  variance <- parameters[2]^2 * (1 + (from * dnorm(from) - to * dnorm(to)) / inside - ((dnorm(from) - dnorm(to)) / inside)^2)
  mean <- mean(ifelse(hidden, first, one$y))
  parameters <- c(mean, sqrt(mean(ifelse(hidden, variance + (first - mean)^2, (one$y - mean)^2))))
}
result$censored$expectation_maximisation <- list(estimate = parameters[1], tau2 = parameters[2]^2 - one$v[1])

rows <- table("rows")
for (name in c("z", "x", "shifted")) {
  values <- if (name == "shifted") rows$x[1:40] + 0.35 else rows[[name]][1:40]
  above <- t.test(values, mu = -0.4, alternative = "greater")
  below <- t.test(values, mu = 0.4, alternative = "less")
  result$equivalence[[name]] <- list(p_above_lower = above$p.value, p_below_upper = below$p.value, p_difference = t.test(values)$p.value,
    ci_low = t.test(values, conf.level = .9)$conf.int[1], ci_high = t.test(values, conf.level = .9)$conf.int[2])
}

# Williams' and Steiger's tests of correlations of the same independent clients.
independent <- table("independent")
r <- cor(independent)
williams <- r.test(nrow(independent), r12 = r[1, 2], r13 = r[1, 3], r23 = r[2, 3])
steiger <- r.test(nrow(independent), r12 = r[1, 2], r34 = r[3, 4], r13 = r[1, 3], r14 = r[1, 4], r23 = r[2, 3], r24 = r[2, 4], pooled = FALSE)
result$dependent <- list(williams = williams$t, steiger = steiger$z)

residual <- function(d, y) resid(lm(d[[y]] ~ d$z))
contrasts <- list(
  correlations = function(d) cor(d$m, d$y) - cor(d$m, d$y2),
  partial = function(d) partial.r(d, c("m", "y"), "z")[1, 2] - partial.r(d, c("m", "y2"), "z")[1, 2],
  part = function(d) cor(d$m, residual(d, "y")) - cor(d$m, residual(d, "y2")))
columns <- c("m", "y", "y2", "z")
leave_out <- function(name, data, unit) {
  full <- contrasts[[name]](data[, columns])
  units <- unique(unit)
  without <- sapply(units, function(one) contrasts[[name]](data[unit != one, columns]))
  groups <- length(units)
  error <- sqrt((groups - 1) / groups * sum((without - mean(without))^2))
  df <- if (groups == nrow(data)) Inf else groups - 1
  margin <- qt(.975, df) * error
  list(estimate = full, std_error = error, ci_low = full - margin, ci_high = full + margin, p_value = 2 * pt(-abs(full / error), df), without = without)
}
for (name in names(contrasts)) {
  found <- leave_out(name, rows, rows$therapist)
  result$contrast[[name]] <- found[names(found) != "without"]
  few <- rows[rows$therapist < 4, ]
  found <- leave_out(name, few, seq_len(nrow(few)))
  result$contrast_of_few[[name]] <- found[names(found) != "without"]
}
deviations <- sapply(c("correlations", "partial"), function(name) { w <- leave_out(name, rows, rows$therapist)$without; w - mean(w) })
result$contrast_covariance <- sum(deviations[, 1] * deviations[, 2]) * (nrow(deviations) - 1) / nrow(deviations)

# The r of a residual gain: Fisher z, leaving out each therapist; with few therapists the spread of each client's influence, by numerical weights.
part_z <- function(d, w = rep(1, nrow(d))) {
  fit <- lm(y ~ z, d, weights = w)
  e <- d$y - cbind(1, d$z) %*% coef(fit)
  atanh(cov.wt(cbind(d$m, e), wt = w / sum(w), cor = TRUE)$cor[1, 2])
}
therapists <- unique(rows$therapist)
without <- sapply(therapists, function(one) part_z(rows[rows$therapist != one, ]))
result$part$clusters <- list(r = tanh(part_z(rows)), se_z = sqrt(29 / 30 * sum((without - mean(without))^2)))
few <- rows[rows$therapist < 4, ]
n <- nrow(few)
influence <- sapply(seq_len(n), function(i) {
  moved <- function(by) { w <- rep(1, n); w[i] <- w[i] + by; part_z(few, w) }
  (moved(1e-4) - moved(-1e-4)) / 2e-4
})
result$part$few <- list(r = tanh(part_z(few)), se_z = sqrt(sum(influence^2) * n / (n - 1)))
cat(toJSON(result, digits = NA, auto_unbox = TRUE, na = "null"))
