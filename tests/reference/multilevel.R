# Reference values of mixed models of nested data: lme4 and lmerTest; intervals of shares of variance from lme4's deviance function.
# Usage: Rscript multilevel.R FOLDER   (FOLDER holds models.json and the tables it names)   writes JSON
suppressMessages({library(lme4); library(lmerTest); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
models <- fromJSON(file.path(folder, "models.json"))
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5), check.conv.singular = "ignore", calc.derivs = FALSE)

common <- function(fit) {  # without effects that each site has of its own
  table <- coef(summary(fit)); keep <- !grepl("factor", rownames(table))
  variances <- as.data.frame(VarCorr(fit))
  list(estimate = I(unname(table[keep, "Estimate"])), std_error = I(unname(table[keep, "Std. Error"])), df = I(unname(table[keep, "df"])),
       p_value = I(unname(table[keep, "Pr(>|t|)"])), names = I(rownames(table)[keep]), vcov = unname(as.matrix(vcov(fit)[keep, keep, drop = FALSE])),
       level = variances$grp, term1 = variances$var1, term2 = variances$var2, vcov_random = variances$vcov,
       log_likelihood = as.numeric(logLik(fit)), n = nobs(fit))
}
difference <- function(fit) {
  weights <- as.numeric(names(fixef(fit)) == "x") - as.numeric(names(fixef(fit)) == "t")
  test <- contest1D(fit, weights)
  list(estimate = test$Estimate, std_error = test$`Std. Error`, df = test$df)
}
# lme4's restricted criterion: profiled, and as a function of relative standard deviations and the residual one
deviance_of <- function(formula, rows) {
  parsed <- lFormula(formula, rows, REML = TRUE, control = tight)
  f <- do.call(mkLmerDevfun, parsed); env <- environment(f)
  df <- nrow(parsed$X) - ncol(parsed$X)
  list(profiled = function(theta) f(theta), df = df,
       full = function(theta, sigma) { f(theta); env$pp$ldL2() + env$pp$ldRX2() + df * log(2 * pi * sigma^2) + (env$resp$wrss() + env$pp$sqrL(1)) / sigma^2 })
}
cross <- function(g, low, high) uniroot(g, c(low, high), tol = 1e-10)$root
# two levels of units: theta is that of the inner, then of the outer level
restricted_sd <- function(fit, formula, rows) {
  d <- deviance_of(formula, rows); theta <- getME(fit, "theta"); sigma <- sigma(fit)
  limit <- d$full(theta, sigma) + qchisq(.95, 1)
  sds <- c(theta * sigma, sigma)
  lapply(1:3, function(k) {
    trace <- function(value) {
      inner <- function(p) { s <- if (k == 3) value else exp(p[2]); th <- if (k == 3) abs(p) else numeric(2)
        if (k < 3) { th[k] <- value / s; th[3 - k] <- abs(p[1]) }
        d$full(th, s) }
      start <- if (k == 3) theta else c(theta[3 - k], log(sigma))
      one <- optim(start, inner, control = list(reltol = 1e-14, maxit = 4000)); optim(one$par, inner, control = list(reltol = 1e-15, maxit = 4000))$value - limit
    }
    low <- if (trace(1e-6) > 0) cross(trace, 1e-6, sds[k]) else 0
    c(low, cross(trace, max(sds[k], 1e-6), 4 * max(sds)))
  })
}
restricted_share <- function(fit, formula, rows) {
  d <- deviance_of(formula, rows); theta <- getME(fit, "theta")
  limit <- d$profiled(theta) + qchisq(.95, 1); share <- c(theta^2, 1) / (sum(theta^2) + 1)
  lapply(1:3, function(k) {
    trace <- function(value) {
      inner <- function(part) { s <- numeric(3); s[k] <- value; s[-k] <- (1 - value) * c(part, 1 - part); d$profiled(sqrt(s[1:2] / s[3])) }
      min(optimize(inner, c(0, 1 - 1e-9), tol = 1e-12)$objective, inner(0)) - limit
    }
    low <- if (trace(1e-9) > 0) cross(trace, 1e-9, share[k]) else 0
    c(low, cross(trace, max(share[k], 1e-9), 1 - 1e-7))
  })
}

result <- list()
for (name in names(models)) {
  rows <- read.csv(file.path(folder, paste0(models[[name]]$rows, ".csv")))
  formula <- as.formula(models[[name]]$formula)
  reml <- lmer(formula, rows, control = tight); ml <- lmer(formula, rows, REML = FALSE, control = tight)
  result[[name]] <- list(reml = common(reml), ml = common(ml))
  if (all(c("x", "t") %in% names(fixef(reml)))) result[[name]]$difference <- difference(reml)
  if (name %in% c("balanced", "unbalanced", "tiny", "client_slope", "therapists_only")) {
    profile <- suppressWarnings(suppressMessages(confint(profile(ml, which = "theta_", signames = FALSE), level = .95)))
    result[[name]]$confint <- lapply(seq_len(nrow(profile)), function(i) unname(profile[i, ])); result[[name]]$confint_names <- rownames(profile)
  }
  if (name %in% c("balanced", "unbalanced", "tiny")) {
    complete <- rows[!is.na(rows$y), ]
    result[[name]]$restricted_sd <- restricted_sd(reml, formula, complete)
    empty <- update(formula, . ~ . - x - t)
    result[[name]]$restricted_share <- restricted_share(lmer(empty, complete, control = tight), empty, complete)
  }
}
for (name in c("balanced", "unbalanced")) {  # exact interval: weighted means of Wald (1940)
  rows <- read.csv(file.path(folder, paste0("one_way_", name, ".csv")))
  n <- as.numeric(table(rows$therapist)); mean <- as.numeric(tapply(rows$y, rows$therapist, mean)); k <- length(n); N <- sum(n)
  within <- sum((rows$y - mean[match(rows$therapist, sort(unique(rows$therapist)))])^2) / (N - k)
  f <- function(ratio) { w <- n / (1 + n * ratio); sum(w * (mean - sum(w * mean) / sum(w))^2) / (k - 1) / within }
  bound <- function(p) { q <- qf(p, k - 1, N - k); if (f(0) <= q) 0 else { r <- uniroot(function(x) f(x) - q, c(0, 1e4), tol = 1e-12)$root; r / (1 + r) } }
  fit <- lmer(y ~ 1 + (1 | therapist), rows, control = tight); theta <- getME(fit, "theta")
  result$one_way[[name]] <- list(share = unname(theta^2 / (1 + theta^2)), ci_low = bound(.975), ci_high = bound(.025))
  if (name == "balanced") {  # psych's interval of ICC1 is that of Searle for balanced data
    wide <- do.call(rbind, split(rows$y, rows$therapist))
    icc <- psych::ICC(wide, lmer = FALSE)$results[1, ]
    result$one_way$psych <- list(ci_low = icc$`lower bound`, ci_high = icc$`upper bound`)
  }
}
cat(toJSON(result, digits = NA, auto_unbox = TRUE, na = "null"))
