# Reference values of multivariate pooling by metafor's rma.mv.
# Usage: Rscript multivariate_meta.R FOLDER   (FOLDER holds cases.json: name to y (sites x p, null for none), v (sites x p x p), and settings)
# Writes JSON.
suppressMessages({library(metafor); library(jsonlite)})
cases <- fromJSON(file.path(commandArgs(TRUE)[1], "cases.json"), simplifyVector = FALSE)
number <- function(x) if (is.null(x)) NA_real_ else as.numeric(x)
one <- function(case) {
  y <- t(sapply(case$y, function(row) sapply(row, number)))
  if (length(case$y[[1]]) == 1) y <- t(y)
  p <- ncol(y)
  blocks <- lapply(seq_len(nrow(y)), function(i) {
    full <- matrix(sapply(case$v[[i]], function(row) sapply(row, number)), p)
    there <- which(!is.na(y[i, ]))
    full[there, there, drop = FALSE]
  })
  cell <- rep(seq_len(p), nrow(y)); site <- rep(seq_len(nrow(y)), each = p)
  flat <- as.numeric(t(y)); there <- !is.na(flat)
  data <- data.frame(y = flat[there], cell = factor(cell[there]), site = site[there])
  V <- bldiag(blocks)
  design <- if (p > 1) ~ cell - 1 else ~ 1
  # BFGS can step to variances without a likelihood; nlminb then finds the maximum.
  search <- function(control) suppressWarnings(rma.mv(y, V, mods = design, random = if (p > 1) ~ cell | site else ~ 1 | site, struct = case$struct, data = data,
                                                      method = case$method, control = control, cvvc = FALSE))
  fit <- tryCatch(search(list(optimizer = "optim", optmethod = "BFGS", reltol = 1e-14, maxit = 5000)), error = function(e) search(list(optimizer = "nlminb")))
  W <- solve(V); X <- model.matrix(fit)
  P <- W - W %*% X %*% solve(t(X) %*% W %*% X) %*% t(X) %*% W
  tau2 <- if (p > 1) fit$tau2 else fit$sigma2
  typical <- sapply(seq_len(p), function(j) { at <- which(data$cell == j); (length(at) - 1) / sum(diag(P)[at]) })
  list(estimate = I(as.numeric(fit$beta)), vcov = vcov(fit), tau2 = I(as.numeric(tau2)),
       rho = if (p > 1 && case$struct == "UN") I(as.numeric(fit$rho)), log_likelihood = as.numeric(logLik(fit)), q = fit$QE, q_p = fit$QEp,
       i2 = I(as.numeric(100 * tau2 / (tau2 + typical))), factor = sum((solve(fit$M) %*% (data$y - fitted(fit))) * (data$y - fitted(fit))) / (nrow(data) - p))
}
cat(toJSON(lapply(cases, one), digits = NA, auto_unbox = TRUE, na = "null", null = "null"))
