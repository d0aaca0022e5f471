# Reference values of components of variance of ratings: lme4, raters identified and not.
# Usage: Rscript generalizability.R FOLDER   (FOLDER holds ratings)   writes JSON
suppressMessages({library(lme4); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-12, maxfun = 1e5), check.conv.singular = "ignore", calc.derivs = FALSE)
components <- function(formula, rows) {
  fit <- lmer(formula, rows, control = tight); v <- as.data.frame(VarCorr(fit))
  c(as.list(setNames(v$vcov, v$grp)), log_likelihood = as.numeric(logLik(fit)))
}
coefficients_of <- function(rows, k, s) {
  v <- components(value ~ (1 | client) + (1 | target) + (1 | rater) + (1 | client:rater), rows); true <- v$client + v$target
  noise <- v$target / s + v$`client:rater` / k + v$Residual / (k * s)
  c(v$client / (v$client + noise), true / (true + (v$`client:rater` + v$Residual) / k))
}
jackknifed <- function(rows) {
  k <- 1 / mean(1 / table(rows$target)); s <- 1 / mean(1 / table(rows$client[!duplicated(rows$target)])); unit <- rows$client %/% 4
  here <- coefficients_of(rows, k, s)
  without <- sapply(unique(unit), function(u) log1p(-coefficients_of(rows[unit != u, ], k, s))); g <- ncol(without)
  se <- sqrt((g - 1)^2 / g * apply(without, 1, var)); margin <- qt(.975, g - 1) * se
  list(estimate = here, std_error = (1 - here) * se, low = 1 - (1 - here) * exp(margin), high = 1 - (1 - here) * exp(-margin))
}
one <- function(file) {
  rows <- read.csv(file)
  list(jackknife = if (grepl("balanced", file)) jackknifed(rows), crossed = components(value ~ (1 | client) + (1 | target) + (1 | rater) + (1 | client:rater), rows), nested = components(value ~ (1 | client) + (1 | target), rows))
}
files <- list.files(folder, "[.]csv$", full.names = TRUE)
cat(toJSON(setNames(lapply(files, one), sub("[.]csv$", "", basename(files))), auto_unbox = TRUE, digits = NA))
