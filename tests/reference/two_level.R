# Reference values of saturated models of two levels and of mediation within and between clients (lavaan).
# Usage: Rscript two_level.R FOLDER   (FOLDER holds one table a data set; Demo.twolevel comes with lavaan)   writes JSON
suppressMessages({library(lavaan); library(jsonlite)})
options(warn = -1)
folder <- commandArgs(TRUE)[1]
plain <- function(m) unname(unclass(as.matrix(m)))
rows_of <- function(fit, pick) {
  t <- parameterEstimates(fit)
  t <- t[pick(t), ]
  setNames(lapply(seq_len(nrow(t)), function(i) list(est = t$est[i], se = t$se[i])),
           ifelse(t$op == ":=", t$lhs, paste0(t$lhs, t$op, t$rhs, ".", t$level)))
}
once <- function(model, d, cluster, ...) {
  # lavaan's searches end before the maximum, now one and now another: the best of those that converged, each begun where the last ended
  best <- NULL
  fine <- list(nlminb = list(rel.tol = 1e-10), BFGS = list(reltol = 1e-15, maxit = 5000))
  for (method in c("nlminb", "BFGS", "nlminb")) {
    fit <- tryCatch(sem(model, d, cluster = cluster, h1 = FALSE, baseline = FALSE, fixed.x = FALSE, information = "observed",
                        start = if (is.null(best)) "default" else best, optim.method = method, control = fine[[method]], ...),
                    error = function(e) NULL)
    better <- !is.null(fit) && lavInspect(fit, "converged") && (is.null(best) || as.numeric(logLik(fit)) > as.numeric(logLik(best)))
    if (better) best <- fit
  }
  best
}
fitted <- function(model, d, cluster, robust = FALSE) {
  fit <- once(model, d, cluster)
  implied <- lapply(lavInspect(fit, "implied"), function(level) {
    order <- intersect(c("x", "m", "y", "t"), colnames(level$cov))
    if (length(order)) plain(level$cov[order, order]) else plain(level$cov)
  })
  out <- list(converged = lavInspect(fit, "converged"), loglik = as.numeric(logLik(fit)), n = lavInspect(fit, "ntotal"),
              within = implied[[1]], between = implied[[2]], rows = rows_of(fit, function(t) t$op %in% c("~", "~~", ":=")))
  if (robust) {
    mlr <- sem(model, d, cluster = cluster, h1 = FALSE, baseline = FALSE, fixed.x = FALSE, information = "observed", start = fit,
               estimator = "MLR", control = list(rel.tol = 1e-10))
    out$robust <- rows_of(mlr, function(t) t$op == ":=")
  }
  out
}
both <- "
level: 1
 m ~ aw*x
 y ~ bw*m + cw*x
level: 2
 m ~ ab*x
 y ~ bb*m + cb*x
iw := aw*bw
tw := cw + aw*bw
ib := ab*bb
tb := cb + ab*bb
"
above <- "
level: 1
 y ~ bw*m
level: 2
 m ~ ab*x
 y ~ bb*m + cb*x
ib := ab*bb
tb := cb + ab*bb
"
given <- "
level: 1
 y ~ bw*m
level: 2
 m ~ ab*x + z
 y ~ bb*m + cb*x + z
 x ~ z
ib := ab*bb
"
held <- "
level: 1
 m ~ aw*x + t
 y ~ bw*m + cw*x + t
 x ~ t
level: 2
 m ~ ab*x
 y ~ bb*m + cb*x
iw := aw*bw
ib := ab*bb
"
data(Demo.twolevel, package = "lavaan")
demo <- "
level: 1
 y1 ~ x1 + x2 + x3
 y2 ~ x1 + x2 + x3
 y3 ~ x1 + x2 + x3
 y1 ~~ y2 + y3
 y2 ~~ y3
level: 2
 y1 ~ w1 + w2
 y2 ~ w1 + w2
 y3 ~ w1 + w2
 y1 ~~ y2 + y3
 y2 ~~ y3
"
read <- function(name) read.csv(file.path(folder, paste0(name, ".csv")))
out <- list(demo = fitted(demo, Demo.twolevel, "cluster"))
x <- Demo.twolevel[c("x1", "x2", "x3")]
# the log-likelihood of the variables within given those held constant
out$demo$loglik_given <- out$demo$loglik - sum(sapply(list(x), function(v) {
  s <- cov(v) * (nrow(v) - 1) / nrow(v); -nrow(v) / 2 * (ncol(v) * (log(2 * pi) + 1) + log(det(s))) }))
for (name in c("both_balanced", "both_unbalanced")) out[[name]] <- fitted(both, read(name), "client", robust = TRUE)
for (name in c("above_balanced", "above_unbalanced")) out[[name]] <- fitted(above, read(name), "client", robust = TRUE)
out$held <- fitted(held, read("held"), "client")
out$given <- fitted(given, read("given"), "client", robust = TRUE)
cat(toJSON(out, digits = NA, auto_unbox = TRUE))
