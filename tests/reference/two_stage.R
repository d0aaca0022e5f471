# Reference values of two-stage structural equation models: metafor for the first stage, lavaan for the second.
# Usage: Rscript two_stage.R FOLDER   (FOLDER holds matrices.csv: study, n, row, col, r; variables.json; models.json)   writes JSON
suppressMessages({library(metafor); library(lavaan); library(jsonlite)})
source(file.path(dirname(sub("--file=", "", grep("^--file=", commandArgs(), value = TRUE))), "weighted_least_squares.R"))
folder <- commandArgs(TRUE)[1]
long <- read.csv(file.path(folder, "matrices.csv"))
long <- long[!is.na(long$r), ]
variables <- fromJSON(file.path(folder, "variables.json"))
models <- fromJSON(file.path(folder, "models.json"))
p <- length(variables)
id <- t(combn(p, 2))
cells <- paste(variables[id[, 1]], variables[id[, 2]], sep = "-")
long$cell <- factor(paste(long$row, long$col, sep = "-"), cells)
long <- long[order(long$study, long$cell), ]

full <- function(r) { m <- diag(p); m[id] <- r; m[id[, 2:1]] <- r; dimnames(m) <- list(variables, variables); m }
R <- full(tapply(long$r * long$n, long$cell, sum) / tapply(long$n, long$cell, sum))
V <- matrix(0, nrow(id), nrow(id))
for (a in seq_len(nrow(id))) for (b in seq_len(nrow(id))) {
  i <- id[a, 1]; j <- id[a, 2]; k <- id[b, 1]; l <- id[b, 2]
  V[a, b] <- .5 * R[i, j] * R[k, l] * (R[i, k]^2 + R[i, l]^2 + R[j, k]^2 + R[j, l]^2) + R[i, k] * R[j, l] + R[i, l] * R[j, k] -
    (R[i, j] * R[i, k] * R[i, l] + R[j, i] * R[j, k] * R[j, l] + R[k, i] * R[k, j] * R[k, l] + R[l, i] * R[l, j] * R[l, k])
}
# Cells of one study with different n count as nested samples.
within <- bldiag(lapply(split(long, long$study), function(x) V[as.integer(x$cell), as.integer(x$cell), drop = FALSE] / (outer(x$n, x$n, pmax) - 1)))

result <- list()
for (method in c("REML", "ML")) {
  fit <- rma.mv(r, within, mods = ~ cell - 1, random = ~ cell | study, struct = "DIAG", data = long, method = method)
  result[[tolower(method)]] <- list(estimate = as.numeric(fit$beta), std_error = fit$se, tau2 = fit$tau2, log_likelihood = as.numeric(logLik(fit)))
  if (method == "REML") first <- fit
}
pooled <- full(as.numeric(first$beta))
n <- sum(tapply(long$n, long$study, max))
result$models <- lapply(models, fitted_model, r = pooled, v = vcov(first), n = n)
cat(toJSON(result, digits = NA, auto_unbox = TRUE, na = "null"))
