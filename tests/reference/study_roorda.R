# Two-stage path model relation -> engagement -> achievement over correlation matrices with holes.
# Stage 1: metafor's multivariate random effects (REML, a variance for each correlation), sampling covariances after Olkin and Finn at the
# mean correlations weighted by n. Stage 2: three correlations determine three paths, so the paths follow in closed form, errors by delta.
# Usage: Rscript study_roorda.R <folder of the real data sets>; prints JSON.
suppressMessages({library(metafor); library(lavaan); library(jsonlite)})
data <- read.csv(file.path(commandArgs(TRUE)[1], "metasem_corr_matrices", "Roorda11_long.csv"))
data <- data[data$row != "neg" & data$col != "neg" & !is.na(data$r), ]
data$cell <- paste(data$row, data$col)
cells <- c("pos enga", "pos achiev", "enga achiev")
data <- data[order(data$study, match(data$cell, cells)), ]
common <- sapply(cells, function(cell) with(data[data$cell == cell, ], sum(r * n) / sum(n)))
R <- diag(3); dimnames(R) <- list(c("pos", "enga", "achiev"), c("pos", "enga", "achiev"))
for (cell in cells) { k <- strsplit(cell, " ")[[1]]; R[k[1], k[2]] <- R[k[2], k[1]] <- common[[cell]] }
olkin_finn <- function(one, two) {
  s <- one[1]; t <- one[2]; u <- two[1]; v <- two[2]
  0.5 * R[s, t] * R[u, v] * (R[s, u]^2 + R[s, v]^2 + R[t, u]^2 + R[t, v]^2) + R[s, u] * R[t, v] + R[s, v] * R[t, u] -
    (R[s, t] * R[s, u] * R[s, v] + R[t, s] * R[t, u] * R[t, v] + R[u, s] * R[u, t] * R[u, v] + R[v, s] * R[v, t] * R[v, u])
}
V <- matrix(0, nrow(data), nrow(data))
for (i in seq_len(nrow(data))) for (j in seq_len(nrow(data))) if (data$study[i] == data$study[j])
  V[i, j] <- olkin_finn(strsplit(data$cell[i], " ")[[1]], strsplit(data$cell[j], " ")[[1]]) / (data$n[i] - 1)
data$cell <- factor(data$cell, cells)
fit <- rma.mv(r, V, mods = ~ 0 + cell, random = ~ cell | study, struct = "DIAG", method = "REML", data = data,
              control = list(optimizer = "optim", optmethod = "BFGS", reltol = 1e-14, maxit = 5000))
pooled <- setNames(as.numeric(coef(fit)), cells); vcov <- vcov(fit)
x <- pooled[["pos enga"]]; y <- pooled[["pos achiev"]]; z <- pooled[["enga achiev"]]
paths <- list(a = quote(x), b = quote((z - x * y) / (1 - x^2)), c = quote((y - x * z) / (1 - x^2)), indirect = quote(x * (z - x * y) / (1 - x^2)))
results <- lapply(paths, function(e) {
  f <- eval(deriv(e, c("x", "y", "z"))); g <- as.numeric(attr(f, "gradient"))
  list(estimate = as.numeric(f), se = sqrt(drop(t(g) %*% vcov %*% g)))
})
sites <- list()
for (study in unique(data$study)) {
  rows <- data[data$study == study, ]
  if (nrow(rows) < 3) next
  S <- diag(3); dimnames(S) <- dimnames(R)
  for (i in 1:3) { k <- strsplit(as.character(rows$cell[i]), " ")[[1]]; S[k[1], k[2]] <- S[k[2], k[1]] <- rows$r[i] }
  one <- sem("enga ~ a*pos\nachiev ~ b*enga + c*pos\nindirect := a*b", sample.cov = S, sample.nobs = rows$n[1], fixed.x = FALSE)
  std <- standardizedSolution(one)
  sites[[sprintf("study-%02d", study)]] <- lapply(setNames(names(paths), names(paths)), function(label) {
    i <- match(label, std$label); list(estimate = std$est.std[i], se = std$se[i])
  })
}
cat(toJSON(list(r = as.character(getRversion()), n_sites = length(unique(data$study)), n_clients = sum(tapply(data$n, data$study, max)),
                pooled = as.list(pooled), pooled_se = setNames(as.list(fit$se), cells), tau2 = setNames(as.list(fit$tau2), cells),
                k = as.list(table(data$cell)), paths = results, sites = sites), auto_unbox = TRUE, digits = NA, pretty = 1), "\n")
