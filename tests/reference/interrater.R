# Reference values of intraclass correlations: psych for tables, components of variance of lme4 for unbalanced ratings.
# Usage: Rscript interrater.R FOLDER   (FOLDER holds tables of ratings, one column a rater)   writes JSON
suppressMessages({library(psych); library(lme4); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e5), check.conv.singular = "ignore", calc.derivs = FALSE)
components <- function(formula, rows) {
  fit <- lmer(formula, rows, control = tight); v <- as.data.frame(VarCorr(fit))
  c(as.list(setNames(v$vcov, v$grp)), log_likelihood = as.numeric(logLik(fit)))
}
of_psych <- function(x, lmer) {
  r <- suppressWarnings(suppressMessages(ICC(x, lmer = lmer)$results))
  list(estimate = setNames(as.list(r$ICC), r$type), low = setNames(as.list(r$`lower bound`), r$type), high = setNames(as.list(r$`upper bound`), r$type))
}
# Wald's exact intervals of a ratio of variances: the residual sum of squares with the tested factor random against that with it fixed
wald <- function(rows, tested, other) {
  y <- rows$value; n <- length(y); z <- model.matrix(reformulate(c(tested, "0")), rows); x <- if (other == "1") cbind(rep(1, n)) else model.matrix(reformulate(other), rows)
  full <- lm(reformulate(c(tested, other), "value"), rows); df2 <- df.residual(full); df1 <- n - qr(x)$rank - df2
  statistic <- function(ratio) { w <- chol(diag(n) + ratio * tcrossprod(z)); left <- deviance(lm.fit(backsolve(w, x, transpose = TRUE), backsolve(w, y, transpose = TRUE)) |> (\(f) structure(f, class = "lm"))())
    (left - deviance(full)) / df1 / (deviance(full) / df2) }
  lowest <- -1 / max(table(rows[[tested]])) * (1 - 1e-9)
  sapply(c(.975, .025), function(p) uniroot(function(r) statistic(r) - qf(p, df1, df2), c(lowest, 1e4), tol = 1e-13)$root)
}
# Each of the units left out in turn: standard error of ln(1 - ICC) of the average and its interval by t
jackknifed <- function(rows, unit, k) {
  value <- function(rows) { two <- components(value ~ (1 | target) + (1 | rater), rows); one <- components(value ~ (1 | target), rows)
    -log1p(k * c(one$target / one$Residual, two$target / two$Residual)) }
  without <- sapply(unique(unit), function(u) value(rows[unit != u, ])); g <- ncol(without); se <- sqrt((g - 1)^2 / g * apply(without, 1, var))
  list(std_error = se, low = 1 - exp(value(rows) + qt(.975, g - 1) * se), high = 1 - exp(value(rows) - qt(.975, g - 1) * se))
}
one <- function(file) {
  x <- as.matrix(read.csv(file)); complete <- !anyNA(x)
  rows <- data.frame(value = as.vector(x), target = factor(row(x)), rater = factor(col(x)))
  rows <- rows[!is.na(rows$value), ]
  result <- list(psych = of_psych(x, !complete), two_way = components(value ~ (1 | target) + (1 | rater), rows), one_way = components(value ~ (1 | target), rows))
  if (grepl("missing", file)) {
    result$wald <- list(one_way = wald(rows, "target", "1"), two_way = wald(rows, "target", "rater"), raters = wald(rows, "rater", "target"))
    result$jackknife <- jackknifed(rows, (as.integer(rows$target) - 1) %/% 6, 1 / mean(1 / table(rows$target)))
  }
  result
}
files <- list.files(folder, "[.]csv$", full.names = TRUE)
cat(toJSON(setNames(lapply(files, one), sub("[.]csv$", "", basename(files))), auto_unbox = TRUE, digits = NA))
