# Reference values of indirect effects by lavaan: jackknife by full information maximum likelihood, bootstrap, unmeasured confounding.
# Usage: Rscript indirect.R FOLDER   (FOLDER holds rows.csv, holes.csv, models.json)   writes JSON to standard output
suppressMessages({library(lavaan); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
rows <- read.csv(file.path(folder, "rows.csv"))
holes <- read.csv(file.path(folder, "holes.csv"))
models <- fromJSON(file.path(folder, "models.json"))
values <- function(fit) {
  raw <- parameterEstimates(fit); standard <- standardizedSolution(fit)
  c(setNames(raw$est, paste0("raw:", raw$lhs, raw$op, raw$rhs)), setNames(standard$est.std, paste0("std:", raw$lhs, raw$op, raw$rhs)))
}
without <- function(model, data) sapply(unique(data$therapist), function(one)
  values(suppressWarnings(sem(model, data[data$therapist != one, ], missing = "ml", fixed.x = FALSE, em.h1.tol = 1e-10))))
spread <- function(x) as.list(sqrt((ncol(x) - 1) / ncol(x) * rowSums((x - rowMeans(x))^2)))

set.seed(1)
fit <- sem(models$saturated, rows, se = "none", test = "none")
wanted <- c("a", "b", "indirect", "total")
drawn <- bootstrapLavaan(fit, R = 800, FUN = function(fit) coef(fit, type = "user")[wanted])
colnames(drawn) <- wanted

# The residual covariance of mediator and outcome is held at a correlation rho.
at <- function(rho) {
  fit <- sem(sprintf("m ~ a*x + z\ny ~ b*m + c*x + z\nm ~~ vm*m\ny ~~ vy*y\nm ~~ cov*y\ncov == %.17g*sqrt(vm*vy)\nindirect := a*b", rho),
             rows, se = "none", test = "none", start = "simple", control = list(rel.tol = 1e-14, iter.max = 5000))
  coef(fit, type = "user")[["indirect"]]
}
rho <- c(-0.3, -0.1, 0.1, 0.3, 0.5)
zero <- uniroot(at, c(-0.1, 0.8), tol = 1e-10)$root
cat(toJSON(list(
  jackknife = list(latent = spread(without(models$latent, holes)), overidentified = spread(without(models$overidentified, holes))),
  bootstrap = list(draws = nrow(drawn), sd = as.list(apply(drawn, 2, sd)),
                   low = as.list(apply(drawn, 2, quantile, .025)), high = as.list(apply(drawn, 2, quantile, .975))),
  sensitivity = list(rho = rho, indirect = sapply(rho, at), zero = zero)), digits = NA, auto_unbox = TRUE))
