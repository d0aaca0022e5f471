# Reference values of mediation within clients with random slopes: both equations stacked, residual variances of their own (nlme).
# Usage: Rscript random_slopes.R FOLDER   (FOLDER holds one table a data set)   writes JSON
suppressMessages({library(nlme); library(jsonlite)})
options(warn = -1)
folder <- commandArgs(TRUE)[1]
control <- lmeControl(maxIter = 500, msMaxIter = 500, msMaxEval = 5000, niterEM = 100, tolerance = 1e-9, msTol = 1e-12, opt = "nlminb")
fitted <- function(d) {
  n <- nrow(d)
  held <- "t" %in% names(d)
  centred <- function(v) v - ave(v, d$client)
  # predictors are what the held variable leaves of deviations, so that no common trend is multiplied by a client's slope
  around <- function(v) if (held) residuals(lm(centred(v) ~ 0 + centred(d$t))) else centred(v)
  s <- data.frame(client = factor(rep(d$client, 2)), eq = factor(rep(c("m", "y"), each = n)), z = c(d$m, d$y),
                  a = c(around(d$x), rep(0, n)), b = c(rep(0, n), around(d$m)), c = c(rep(0, n), around(d$x)))
  if (held) { s$tm <- c(d$t, rep(0, n)); s$ty <- c(rep(0, n), d$t) }
  # intercepts of their own for every client and equation
  formula <- if (held) z ~ 0 + a + b + c + tm + ty + client:eq else z ~ 0 + a + b + c + client:eq
  fit <- lme(formula, data = s, random = list(client = pdSymm(~ 0 + a + b + c)), weights = varIdent(form = ~ 1 | eq), method = "REML",
             control = control)
  ratio <- coef(fit$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)
  x <- model.matrix(formula, s)
  list(slopes = unname(fixef(fit)[c("a", "b", "c")]), vcov = unname(vcov(fit)[c("a", "b", "c"), c("a", "b", "c")]),
       covariance = unname(as.matrix(unclass(getVarCov(fit)))), residual = unname((fit$sigma * ratio[c("m", "y")])^2),
       # the likelihood of what the fixed effects leave, in orthonormal coordinates
       loglik = as.numeric(logLik(fit)) + as.numeric(determinant(crossprod(x))$modulus) / 2)
}
out <- list()
for (file in sort(list.files(folder, "csv$"))) out[[sub(".csv", "", file, fixed = TRUE)]] <- fitted(read.csv(file.path(folder, file)))
cat(toJSON(out, digits = NA, auto_unbox = TRUE))
