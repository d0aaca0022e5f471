# Reference values of moments of incomplete rows and of models fitted to moments, by lavaan.
# Usage: Rscript site_moments.R FOLDER   (FOLDER holds rows.csv: x1..x3, m, y, therapist, with holes; pooled.json: matrix, n, names; models.json:
# factor, path, determined)   writes JSON
suppressMessages({library(lavaan); library(jsonlite)})
folder <- commandArgs(TRUE)[1]
rows <- read.csv(file.path(folder, "rows.csv"))
models <- fromJSON(file.path(folder, "models.json"))
names <- c("x1", "x2", "x3", "m", "y")
pairs <- combn(names, 2, paste, collapse = " ~~ ")
saturated <- paste(c(paste(names, "~~", names), pairs, paste(names, "~ 1")), collapse = "\n")
strict <- list(em.h1.tol = 1e-13, em.h1.iter.max = 20000)
fitted <- function(...) suppressWarnings(do.call("lavaan", c(list(model = saturated, missing = "ml", em.h1.tol = 1e-13, em.h1.iter.max = 20000,
                                                                  control = list(rel.tol = 1e-14)), list(...))))
free <- fitted(data = rows, cluster = "therapist", estimator = "MLR")
moments <- lavInspect(free, "sampstat")
vcov <- unclass(vcov(free))
two_stage <- function(model) {
  fit <- suppressWarnings(do.call("sem", c(list(model = model, data = rows, missing = "robust.two.stage", fixed.x = FALSE), strict)))
  list(parameters = parameterEstimates(fit)[c("lhs", "op", "rhs", "est", "se")],
       fit = as.list(fitMeasures(fit, c("chisq", "df", "chisq.scaled", "chisq.scaling.factor"))))
}
pooled <- fromJSON(file.path(folder, "pooled.json"))
S <- pooled$matrix; dimnames(S) <- list(pooled$names, pooled$names)
within <- sem(models$path, sample.cov = S, sample.nobs = pooled$n, fixed.x = FALSE)
standard <- standardizedSolution(within)
cat(toJSON(list(mean = as.list(moments$mean), covariance = unclass(moments$cov), vcov_names = colnames(vcov), vcov = vcov,
                two_stage = lapply(models[c("factor", "determined")], two_stage),
                within = cbind(parameterEstimates(within)[c("lhs", "op", "rhs", "est", "se")], std = standard$est.std, std_se = standard$se),
                within_fit = as.list(fitMeasures(within, c("chisq", "df", "cfi", "rmsea", "srmr")))), digits = NA, auto_unbox = TRUE, na = "null"))
